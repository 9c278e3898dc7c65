"""Undo, edit, regenerate, branch: they change history only, and the next read costs what changed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gemma_mlx.chat import Chat
from gemma_mlx.errors import CheckpointError, InputError, MemoryPlanError
from gemma_mlx.generation.events import Notice
from gemma_mlx.inputs.message import Text
from gemma_mlx.loading import Gemma
from gemma_mlx.model import cache
from gemma_mlx.model.cache import SLACK
from tests import chats
from tests.chats import GREEDY, answers_like_a_cold_chat, cold_copy, end_of, image, notices, settled
from tests.states import failing


@pytest.fixture(scope="module", name="demo")
def _demo() -> Gemma:
    return chats.demo()


def _talk(gemma: Gemma, *questions: str, answer: int = 8) -> Chat:
    """A settled conversation."""
    chat = Chat(gemma)
    for question in questions:
        end_of(chat.reply(question, GREEDY, max_tokens=answer))
        chat.settle()
    return chat


def _texts(chat: Chat) -> list[str]:
    return [message.text for message in chat.history if message.role == "user"]


def test_undo_takes_back_one_turn_after_the_other(demo: Gemma) -> None:
    chat = _talk(demo, "one", "two", "three")
    chat.add(Text("four"))
    for left, taken in ((3, "four"), (2, "three"), (1, "two"), (0, "one")):
        message = chat.undo()
        assert message is not None
        assert (message.role, message.text) == ("user", taken)
        assert (_texts(chat), chat.pending) == (["one", "two", "three"][:left], ())
    assert chat.undo() is None
    assert chat.history == ()
    answers_like_a_cold_chat(chat, "Hello!")


def test_undo_leaves_the_system_message(demo: Gemma) -> None:
    chat = Chat(demo, "Be brief.")
    assert chat.undo() is None
    end_of(chat.reply("Hello!", GREEDY))
    assert chat.undo() is not None
    assert [message.role for message in chat.history] == ["system"]


def test_undo_right_after_an_interrupted_answer(demo: Gemma) -> None:
    chat = _talk(demo, "one")
    events = chat.reply("two", GREEDY)
    next(events)
    taken = chat.undo()
    assert taken is not None
    assert taken.text == "two"
    assert list(events) == []
    assert _texts(chat) == ["one"]
    answers_like_a_cold_chat(chat, "two")


def test_edit_keeps_the_media_and_opens_the_turn(demo: Gemma) -> None:
    chat = _talk(demo, "one")
    chat.add(image())
    end_of(chat.reply("what?", GREEDY))
    chat.edit("What do you see?")
    assert _texts(chat) == ["one"]
    assert [type(part).__name__ for part in chat.pending] == ["Image", "Text"]
    answers_like_a_cold_chat(chat, None)
    chat.edit("")
    assert [type(part).__name__ for part in chat.pending] == ["Image"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda chat: chat.edit("x"), "nothing was asked"),
        (lambda chat: chat.regenerate(), "nothing was asked"),
    ],
)
def test_nothing_to_change(demo: Gemma, change: Callable[[Chat], object], words: str) -> None:
    chat = Chat(demo)
    with pytest.raises(InputError, match=words):
        change(chat)
    chat.add(Text("open"))
    with pytest.raises(InputError, match="the next turn is open already"):
        change(chat)
    assert len(chat.pending) == 1


def test_an_edit_to_nothing_changes_nothing(demo: Gemma) -> None:
    chat = _talk(demo, "one")
    with pytest.raises(InputError, match="the text is empty"):
        chat.edit(" ")
    assert (_texts(chat), len(chat.history)) == (["one"], 2)


def test_regenerate_replaces_the_last_reply(demo: Gemma) -> None:
    chat = _talk(demo, "one", "What is MLX?", answer=30)
    before = chat.history
    end = end_of(chat.regenerate(GREEDY, max_tokens=30))
    assert [message.text for message in chat.history] == [message.text for message in before]
    assert end.usage.prompt_tokens - end.usage.cached_tokens <= 6  # an empty thought
    settled(chat)


def test_what_cannot_be_made_again_is_not_dropped(demo: Gemma) -> None:
    chat = _talk(demo, "one")
    with pytest.raises(InputError, match="max-tokens"):
        chat.regenerate(GREEDY, max_tokens=0)
    assert len(chat.history) == 2


def test_a_branch_goes_its_own_way(demo: Gemma) -> None:
    chat = _talk(demo, "one", "two")
    told: list[object] = []
    chat.keep = lambda *given: told.append(given)
    chat.add(image())
    told.clear()
    other = chat.branch()
    assert (other.history, other.pending) == (chat.history, chat.pending)
    assert other.context.caches is not chat.context.caches
    held = len(chat.context.keys)
    assert end_of(other.reply("three", GREEDY)).usage.cached_tokens == held
    assert told == []
    assert _texts(chat) == ["one", "two"]
    assert end_of(chat.reply("four", GREEDY)).usage.cached_tokens == held
    for each in (chat, other):
        answers_like_a_cold_chat(each, "Why?")


def test_a_branch_ends_an_open_reply(demo: Gemma) -> None:
    chat = Chat(demo)
    events = chat.reply("Hello!", GREEDY)
    next(events)
    other = chat.branch()
    assert list(events) == []
    assert other.history == chat.history
    answers_like_a_cold_chat(other, "Why?")


def test_a_branch_that_does_not_fit(demo: Gemma) -> None:
    chat = _talk(demo, "one")

    def admit(positions: int, piece: int, held: int) -> None:
        raise MemoryPlanError("full")

    chat.context.admit, admitting = admit, chat.context.admit
    with pytest.raises(MemoryPlanError):
        chat.branch()
    chat.context.admit = admitting
    answers_like_a_cold_chat(chat, "Why?")


@pytest.mark.parametrize("snapshots", [2, 0])
def test_what_is_read_again_is_told(snapshots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a mark only the turn is read; without one everything before it as well, and the reply begins with that."""
    monkeypatch.setattr(cache, "STEP", 8)
    chat = _talk(chats.with_snapshots(chats.noise(), snapshots), "one " * 60, "two", answer=120)
    held = len(chat.context.keys)
    chat.undo()
    events = list(chat.reply("three", GREEDY, max_tokens=2))
    usage = end_of(iter(events)).usage
    if snapshots:
        assert notices(events) == []
        assert usage.prompt_tokens - usage.cached_tokens < 30
    else:
        (line,) = notices(events)
        assert isinstance(events[0], Notice)
        number, _, words = line.partition(" ")
        assert 0 <= usage.prompt_tokens - int(number) < 30
        assert words.startswith("tokens are read again")
        assert usage.cached_tokens == 0
    assert held > usage.prompt_tokens
    settled(chat)


def test_within_the_slack_nothing_is_read_again_without_any_mark(demo: Gemma) -> None:
    chat = _talk(chats.with_snapshots(demo, 0), "one", "two")
    assert len(chat.context.keys) < SLACK + demo.config.text_config.sliding_window
    chat.undo()
    end = end_of(chat.reply("two", GREEDY))
    assert end.usage.cached_tokens >= len(_talk(demo, "one").context.keys)


@pytest.mark.parametrize("call", range(2))
def test_an_interrupt_while_a_change_is_read(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "STEP", 8)
    noise = chats.noise()
    for change in (lambda chat: chat.edit("two"), Chat.undo, lambda chat: chat.regenerate()):
        chat = _talk(noise, "one " * 40, "two", answer=30)
        change(chat)
        with failing(noise.model, 2, call, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
            list(chat.reply(None if chat.pending or chat.history[-1].role == "user" else "more", GREEDY))
        answers_like_a_cold_chat(chat, "Why?")


def test_a_resumed_conversation_is_warm(demo: Gemma, tmp_path: Path) -> None:
    chat = _talk(demo, "one", "two")
    chat.context.save(tmp_path / "talk.safetensors", "weights")
    other = cold_copy(chat)
    with pytest.raises(CheckpointError, match="other weights"):
        other.context.load(tmp_path / "talk.safetensors", "others")
    assert other.context.keys == []
    other.context.load(tmp_path / "talk.safetensors", "weights")
    assert end_of(other.reply("three", GREEDY)).usage.cached_tokens == len(chat.context.keys)
    answers_like_a_cold_chat(other, "Why?")
