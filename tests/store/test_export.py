"""A conversation for other programs."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gemma_mlx.errors import StoreError
from gemma_mlx.inputs.message import Text, ToolCall
from gemma_mlx.store.export import export, markdown
from gemma_mlx.store.record import Conversation, Medium, StoredMessage, encode
from gemma_mlx.store.store import Store
from tests.store.talk import MEDIUM, StandIn, every_kind, followed, same_messages

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FILE = MEDIUM.files[0]
SOUND, FRAME = "1" * 32 + ".wav", "2" * 32 + ".png"


def told(*messages: StoredMessage, **more: object) -> str:
    """The Markdown after its head."""
    conversation = replace(Conversation("demo", NOW, NOW, messages), **more)  # type: ignore[arg-type]
    head, start, rest = markdown(conversation, "holiday").partition("\n\n## ")
    assert head == f"# holiday\n\nWith demo, {NOW.astimezone():%Y-%m-%d %H:%M}."
    return start[2:] + rest


def test_text_and_media() -> None:
    video = Medium("video", "c.mp4", (FRAME, FILE), (0.0, 12.345))
    assert told(
        StoredMessage("system", (Text("Be brief."),)),
        StoredMessage("user", (MEDIUM, Text("What\n\n*is* it?\n"), Medium("audio", "b [1]\n.wav", (SOUND,)), video)),
        StoredMessage("assistant", (Text("It is."),)),
        pending=(MEDIUM,),
    ) == (
        "## System\n\nBe brief.\n\n"
        f"## You\n\n![a.png](media/{FILE})\n\nWhat\n\n*is* it?\n\n[b \\[1\\] .wav](media/{SOUND})\n\n"
        f"![c.mp4 at 0.0 s](media/{FRAME})\n![c.mp4 at 12.3 s](media/{FILE})\n\n"
        "## Gemma\n\nIt is.\n\n"
        f"## You, not sent yet\n\n![a.png](media/{FILE})\n"
    )


def test_thoughts_and_tools() -> None:
    calls = (ToolCall("look", {"at": ["ü", 1, None]}, "1"), ToolCall("wait", {}, "2"))
    assert told(
        StoredMessage("assistant", (Text(" "),), "Hm.\n", calls),
        StoredMessage("tool", (), answers="1", value={"seen": True}),
        StoredMessage("tool", (Text("```\nx"), MEDIUM), answers="2"),
        StoredMessage("tool", (Text(""),), answers="3"),
    ) == (
        "## Gemma\n\n<details><summary>Thought</summary>\n\nHm.\n\n</details>\n\n"
        'Calls `look`:\n\n```json\n{\n  "at": [\n    "ü",\n    1,\n    null\n  ]\n}\n```\n\n'
        "Calls `wait`:\n\n```json\n{}\n```\n\n"
        '## Result of `look`\n\n```json\n{\n  "seen": true\n}\n```\n\n'
        f"## Result of `wait`\n\n````\n```\nx\n````\n\n![a.png](media/{FILE})\n\n"
        "## Result of `a tool`\n"
    )


def test_times_and_places() -> None:
    later = replace(Conversation("demo", NOW, NOW.replace(hour=13)), messages=(StoredMessage("user", (MEDIUM,)),))
    text = markdown(later, "holiday", "/a (b)/media")
    assert f"{NOW.astimezone():%Y-%m-%d %H:%M} to " in text
    assert f"![a.png](</a (b)/media/{FILE}>)" in text


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "chats")
    saved = store.create("holiday")
    followed(saved, *every_kind())
    saved.close()
    return store


def exported(store: Store, output: Path, *, as_json: bool = False, force: bool = False) -> tuple[Path, list[str]]:
    return export(store.path("holiday"), store.read("holiday"), output, as_json=as_json, force=force)


def test_markdown_with_its_media(store: Store, tmp_path: Path) -> None:
    file, gone = exported(store, tmp_path / "new" / "place")
    assert (file, gone) == (tmp_path / "new" / "place" / "conversation.md", [])
    text = file.read_text()
    media = {path.name: path.read_bytes() for path in (file.parent / "media").iterdir()}
    assert media == {path.name: path.read_bytes() for path in (store.path("holiday") / "media").iterdir()}
    assert all(f"(media/{name})" in text for name in media)
    assert len(media) == 6


def test_json_is_a_conversation_again(store: Store, tmp_path: Path) -> None:
    file, _ = exported(store, tmp_path / "out", as_json=True)
    assert file.read_bytes() == encode(store.read("holiday"))
    other = Store(tmp_path / "chats of another")
    shutil.copytree(file.parent, other.directory / "copied")
    talk = StandIn()
    other.open("copied").restore(talk.chat())
    same_messages(talk.history, every_kind())


def test_nothing_is_overwritten_unless_it_may_be(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    exported(store, tmp_path / "empty")
    out = tmp_path / "out"
    out.mkdir()
    (out / "conversation.md").write_text("mine")
    (out / "other").write_text("mine")
    words = f"{out} exists: choose another place with -o, or write into it with --force"
    with pytest.raises(StoreError) as found:
        exported(store, out)
    assert str(found.value) == words
    assert (out / "conversation.md").read_text() == "mine"
    exported(store, out, force=True)
    assert (out / "conversation.md").read_text().startswith("# holiday")
    assert (out / "other").read_text() == "mine"
    for force in (False, True):
        with pytest.raises(StoreError, match="other exists: choose another place"):
            exported(store, out / "other", force=force)
    with pytest.raises(StoreError, match=r"cannot be exported to .* \(Not a directory\): choose another place"):
        exported(store, out / "other" / "below")


def test_not_where_the_conversation_is_kept(store: Store) -> None:
    home = store.path("holiday")
    before = (home / "conversation.json").read_bytes()
    for place in (home, home / "media", home / "new"):
        with pytest.raises(StoreError, match="is where the conversation is kept: choose another place with -o"):
            exported(store, place, as_json=True, force=True)
    assert (home / "conversation.json").read_bytes() == before
    assert not (home / "new").exists()


def test_media_that_are_gone_are_told(store: Store, tmp_path: Path) -> None:
    first, *_ = sorted((store.path("holiday") / "media").iterdir())
    first.unlink()
    _, gone = exported(store, tmp_path / "out")
    assert gone == [first.name]
    assert len(list((tmp_path / "out" / "media").iterdir())) == 5
