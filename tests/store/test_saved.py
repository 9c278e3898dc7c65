"""A conversation while it goes on: what is on the disk after each step. A stand-in takes the chat's place."""

import gc
import json
import re
import stat
import weakref
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.errors import StoreError
from gemma_mlx.inputs.message import Message, Text
from gemma_mlx.models import find_model
from gemma_mlx.store import home
from gemma_mlx.store.caches import CACHES
from gemma_mlx.store.saved import UNANSWERED, SavedChat
from gemma_mlx.store.store import Store
from tests.store.talk import StandIn, assistant, every_kind, followed, picture, recording, same_messages, user

AGAIN = "holiday is read again with the next message: "


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "chats")


def resumed(store: Store, name: str) -> tuple[SavedChat, StandIn, list[str]]:
    opened, talk = store.open(name), StandIn()
    return opened, talk, opened.restore(talk.chat())


def names(store: Store) -> list[str]:
    return [summary.name for summary in store.summaries()]


def test_every_kind_of_message_comes_back(store: Store) -> None:
    kept = store.create("holiday")
    talk = followed(kept)
    talk.enable_thinking, talk.dropped, talk.tools = True, 2, ({"name": "look", "parameters": {}},)
    talk.pending = (recording(5), picture(6))
    talk.say(*every_kind())
    kept.close()
    opened, again, notices = resumed(store, "holiday")
    same_messages(again.history, talk.history)
    same_messages((Message("user", again.pending),), (Message("user", talk.pending),))
    assert (again.enable_thinking, again.dropped, again.tools) == (True, 2, ({"name": "look", "parameters": {}},))
    assert notices == [f"{AGAIN}it has no caches"]
    before = (store.path("holiday") / "conversation.json").read_bytes()
    assert again.keep is not None
    again.keep(again.history, again.pending)
    assert (store.path("holiday") / "conversation.json").read_bytes() == before
    opened.close()


def test_nothing_is_kept_before_something_is_said(store: Store) -> None:
    kept = store.create()
    talk = followed(kept)
    talk.say(Message.of("system", "Be brief."))
    assert (kept.name, kept.conversation, store.directory.exists()) == (None, None, False)
    assert kept.save_caches(talk.chat()) is None
    talk.say(user("Hello!"))
    assert kept.name is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{4}-hello", kept.name)
    talk.history = talk.history[:1]  # taken back
    kept.save(talk.chat())
    assert store.read(kept.name).turns == 0


def test_a_crash_while_the_prompt_was_read_leaves_the_question(store: Store) -> None:
    kept = store.create("holiday")
    talk = followed(kept, user("One"), assistant("Yes"))
    talk.pending = (picture(), Text("Two"))  # as `reply` tells it before it reads
    talk.say()
    kept.close()
    opened, again, notices = resumed(store, "holiday")
    same_messages(again.history, (*talk.history, Message("user", talk.pending)))
    assert again.pending == ()
    assert notices == [UNANSWERED, f"{AGAIN}it has no caches"]
    again.say(assistant("Two as well"))
    opened.close()
    assert resumed(store, "holiday")[2] == [f"{AGAIN}it has no caches"]


def test_what_was_attached_stays_attached(store: Store) -> None:
    kept = store.create("holiday")
    talk = followed(kept)
    talk.pending = (picture(),)
    talk.say()
    kept.close()
    _, again, notices = resumed(store, "holiday")
    assert (len(again.pending), again.history, notices) == (1, (), [])


def test_caches(store: Store) -> None:
    kept = store.create("holiday")
    talk = followed(kept, user("One"), assistant("Yes"))
    assert kept.save_caches(talk.chat()) is None
    assert not (store.path("holiday") / CACHES).exists()  # nothing was read
    talk.context.keys = [1, 2, 3]
    assert kept.save_caches(talk.chat()) is None
    assert stat.S_IMODE((store.path("holiday") / CACHES).stat().st_mode) == 0o600
    kept.close()
    opened, again, notices = resumed(store, "holiday")
    assert (notices, again.context.keys) == ([], [1, 2, 3])
    again.context.before_save = lambda path: pytest.fail("nothing has changed")
    assert opened.save_caches(again.chat()) is None
    again.context.keys = [1, 2, 3, 4]
    again.context.before_save = lambda path: None
    assert opened.save_caches(again.chat()) is None
    (store.path("holiday") / CACHES).unlink()  # as another program does that makes room
    assert opened.save_caches(again.chat()) is None
    opened.close()
    assert resumed(store, "holiday")[1].context.keys == [1, 2, 3, 4]


def test_saving_caches_saves_what_reading_did_not(store: Store) -> None:
    kept = store.create("holiday")
    talk = followed(kept, user("One"), assistant("Yes"), user("Two"), assistant("No"))
    talk.history = talk.history[:2]  # taken back
    kept.save_caches(talk.chat())
    assert store.read("holiday").turns == 1


def test_another_model_goes_on(store: Store, tmp_path: Path) -> None:
    kept = store.create("holiday")
    talk = followed(kept, user("One"), assistant("Yes"))
    talk.context.keys = [1]
    kept.save_caches(talk.chat())
    kept.close()
    other = tmp_path / "fine-tune"
    other.mkdir()
    (other / "config.json").write_text("{}")
    for file in find_model("demo").glob("*.safetensors*"):
        (other / file.name).write_bytes(file.read_bytes())
    opened, again = store.open("holiday"), StandIn()
    again.gemma.path = other
    path = store.path("holiday") / CACHES
    assert opened.restore(again.chat()) == [
        f"holiday was held with demo, {other} goes on with it",
        f"{AGAIN}{path} is of other weights",
    ]
    assert (path.exists(), again.context.keys) == (True, [])
    again.gemma.path = tmp_path / "gone"
    again.context.keys = [1, 2]
    line = f"holiday is read again when it is resumed: {tmp_path / 'gone'} cannot be read (No such file or directory)"
    assert opened.save_caches(again.chat()) == line


def test_a_full_disk_ends_no_conversation(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    kept = store.create("holiday")
    talk = followed(kept)
    fault = (
        f"the conversation cannot be saved in {store.directory} (No space left on device): "
        "make room, or let it be written"
    )
    with monkeypatch.context() as patch:
        patch.setattr(home, "write", full)
        talk.say(user("One"))
        assert (kept.fault, kept.conversation, names(store)) == (fault, None, [])
        assert list(store.directory.iterdir()) == []
    talk.say(assistant("Yes"))
    assert (kept.fault, names(store)) == (None, ["holiday"])
    with monkeypatch.context() as patch:
        patch.setattr(home, "write", full)
        talk.say(user("Two", picture()))
        assert kept.fault == fault
        assert len(store.read("holiday").messages) == 2
    kept.save(talk.chat())
    assert kept.fault is None
    assert len(store.read("holiday").messages) == 3


@pytest.mark.parametrize("place", ["write", "move"])
def test_an_interrupt_while_it_begins_leaves_nothing(store: Store, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    kept = store.create("holiday")
    talk = followed(kept)
    with monkeypatch.context() as patch:
        patch.setattr(home.Home, place, interrupt)
        with pytest.raises(KeyboardInterrupt):
            talk.say(user("One"))
    assert list(store.directory.iterdir()) == []
    talk.say()
    assert names(store) == ["holiday"]
    assert store.read("holiday").turns == 1


def test_after_the_end_nothing_is_kept(store: Store) -> None:
    kept = store.create("holiday")
    talk = followed(kept, user("One"))
    kept.close()
    kept.close()
    talk.say(assistant("Yes"))
    talk.context.keys = [1]
    assert kept.save_caches(talk.chat()) is None
    assert kept.name == "holiday"
    assert len(store.read("holiday").messages) == 1
    store.open("holiday").close()


def test_one_program_at_a_time(store: Store) -> None:
    kept = store.create("holiday")
    followed(kept, user("One"))
    for ask in (store.open, store.delete):
        with pytest.raises(StoreError, match="holiday is open in another program"):
            ask("holiday")
    assert store.read("holiday").turns == 1
    kept.close()
    store.delete("holiday")
    assert names(store) == []


def test_private(store: Store) -> None:
    kept = store.create("holiday")
    talk = followed(kept, user("Look", picture()))
    talk.context.keys = [1]
    kept.save_caches(talk.chat())
    found = [store.directory, *store.directory.rglob("*")]
    assert len(found) == 7
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_times(store: Store) -> None:
    kept = store.create("holiday")
    followed(kept, user("One"))
    first = store.read("holiday")
    path = store.path("holiday") / "conversation.json"
    fields = json.loads(path.read_bytes())
    path.write_text(
        json.dumps(fields | {"created": "2025-01-01T00:00:00+00:00", "updated": "2025-01-02T00:00:00+00:00"})
    )
    kept.close()
    resumed(store, "holiday")[1].say(assistant("Yes"))
    last = store.read("holiday")
    assert last.created.year == 2025
    assert last.updated >= first.updated


def test_a_chat_is_freed_when_nobody_has_it(store: Store) -> None:
    kept = store.create("holiday")
    talk = followed(kept, user("One"))
    keep, watched = talk.keep, weakref.ref(talk)
    gc.disable()
    try:
        del talk
        assert watched() is None
    finally:
        gc.enable()
    assert keep is not None
    keep((), ())
    assert store.read("holiday").turns == 1


def test_damaged_media_stop_a_resume_before_anything_changes(store: Store) -> None:
    kept = store.create("holiday")
    followed(kept, user("Look", picture()), assistant("Yes"))
    kept.close()
    (medium,) = (store.path("holiday") / "media").iterdir()
    medium.write_bytes(b"")
    opened, talk = store.open("holiday"), StandIn()
    with pytest.raises(StoreError, match=f"{medium} is damaged"):
        opened.restore(talk.chat())
    assert (talk.history, talk.keep) == ((), None)
