"""Turns of conversations, as tuples of messages."""

import pytest

from gemma_mlx.conversation import history as turns
from gemma_mlx.conversation.history import History
from gemma_mlx.errors import InputError
from gemma_mlx.inputs.message import Message, Part, Role, Text, ToolCall
from tests.chats import audio, image

LETTERS: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant", "c": "assistant", "t": "tool"}


def told(letters: str) -> History:
    """A message for each letter: system, user, assistant, assistant that calls, tool that answers the call before."""
    messages: list[Message] = []
    for number, letter in enumerate(letters):
        calls = (ToolCall("f", {}, f"call-{number}"),) if letter == "c" else ()
        answers = f"call-{number - 1}" if letter == "t" else None
        thinking = "hm" if letter in "ac" else None
        messages.append(Message(LETTERS[letter], (Text(str(number)),), thinking, calls, answers))
    return tuple(messages)


@pytest.mark.parametrize(
    ("letters", "starts", "first"),
    [("", [], 0), ("s", [], 1), ("u", [0], 0), ("su", [1], 1), ("suauacta", [1, 3], 1), ("uus", [0, 1], 0)],
)
def test_turns(letters: str, starts: list[int], first: int) -> None:
    assert turns.turn_starts(told(letters)) == starts
    assert turns.beginning(told(letters)) == first
    assert turns.steps(told(letters)) == letters.count("u") + letters.count("t")


@pytest.mark.parametrize(
    ("letters", "asked", "before"), [("u", "u", ""), ("suaua", "suau", "sua"), ("suacta", "su", "s"), ("uu", "uu", "u")]
)
def test_the_last_turn(letters: str, asked: str, before: str) -> None:
    history = told(letters)
    assert turns.asked(history) == history[: len(asked)]
    assert turns.before_last_turn(history) == history[: len(before)]


@pytest.mark.parametrize("letters", ["", "s"])
def test_nothing_was_asked(letters: str) -> None:
    for cut in (turns.asked, turns.before_last_turn):
        with pytest.raises(InputError, match="nothing was asked"):
            cut(told(letters))


PICTURE, SOUND = image(), audio()
A, B = Text("a"), Text("b")


@pytest.mark.parametrize(
    ("parts", "kept"),
    [
        ((A,), ("new",)),
        ((), ("new",)),
        ((PICTURE, A), (PICTURE, "new")),
        ((A, SOUND), ("new", SOUND)),
        ((A, PICTURE, B, SOUND), (PICTURE, "new", SOUND)),
        ((PICTURE, SOUND), (PICTURE, SOUND, "new")),
    ],
)
def test_another_text_keeps_the_media(parts: tuple[Part, ...], kept: tuple[Part | str, ...]) -> None:
    found = turns.with_text(Message("user", parts), "new")
    assert tuple(part.text if isinstance(part, Text) else part for part in found) == kept
    without = turns.with_text(Message("user", parts), " ")
    assert without == tuple(part for part in kept if part != "new")


@pytest.mark.parametrize(
    ("letters", "waiting", "goes_on", "number"),
    [
        ("", 0, False, 1),
        ("ua", 0, False, 1),
        ("uc", 1, True, 2),
        ("uct", 0, True, 2),
        ("ucta", 0, False, 2),
        ("uctc", 1, True, 4),
        ("uctau", 0, False, 2),
    ],
)
def test_calls(letters: str, waiting: int, goes_on: bool, number: int) -> None:
    history = told(letters)
    assert len(turns.unanswered(history)) == waiting
    assert turns.goes_on(history) == goes_on
    assert turns.next_call(history) == number


def test_numbers_of_foreign_ids() -> None:
    calls = tuple(ToolCall("f", {}, name) for name in ("", "x", "call-", "call-9", "9-", "call-²"))
    assert turns.next_call((Message("assistant", (), calls=calls),)) == 10


@pytest.mark.parametrize(
    ("letters", "thoughts"),
    [("uaua", ""), ("uauc", "3"), ("uactuact", "56"), ("uctcta", ""), ("suct", "2"), ("ucu", "")],
)
def test_only_a_turn_that_goes_on_keeps_its_thoughts(letters: str, thoughts: str) -> None:
    read = turns.as_read(told(letters))
    assert "".join(message.text for message in read if message.thinking) == thoughts
    assert [message.text for message in read] == [message.text for message in told(letters)]


def test_dropping_turn_by_turn() -> None:
    history, dropped, seen = told("suauactauu"), 0, list[int]()
    while (more := turns.without_oldest_turn(history, dropped)) is not None:
        dropped = more
        seen.append(dropped)
    assert seen == [2, 7, 8]
    assert [message.text for message in turns.as_read(history, 2)] == ["0", *"3456789"]
    assert turns.without_oldest_turn(told("ua"), 0) is None
    assert turns.without_oldest_turn((), 0) is None
