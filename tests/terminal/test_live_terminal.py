"""Exact screens of the chat with a microphone under a pseudo-terminal; both pretend (see `live_stage`)."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from gemma_mlx.terminal.commands import PUSH_KEYS
from gemma_mlx.terminal.repl import SPOKEN_LINE
from tests.terminal.terminal import Terminal

ENTER, LEFT, CTRL_D, CTRL_R = "\r", "\x1b[D", "\x04", "\x12"
SPOKE = [SPOKEN_LINE, "It takes a while."]


class Room:
    """The terminal, and what happens at the microphone."""

    def __init__(self, terminal: Terminal, orders: TextIO) -> None:
        self.terminal, self.orders = terminal, orders
        self.type = terminal.type

    def order(self, line: str) -> None:
        self.orders.write(line + "\n")
        self.orders.flush()

    def until(self, *lines: str) -> None:
        """Wait until these stand above the line below the prompt, and nothing else."""
        self.terminal.until(lambda shown: _above(shown) == list(lines))

    def until_below(self, line: str) -> None:
        """Wait until this is the line below the prompt."""
        self.terminal.until(lambda shown: len(shown) == self.terminal.screen.lines and shown[-1] == line)


def _above(shown: list[str]) -> list[str]:
    above = shown[:-1]
    while above and not above[-1]:
        above.pop()
    return above


Open = Callable[..., Room]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Open]:
    """Opens a chat with a microphone at its prompt."""
    orders = tmp_path / "orders"
    os.mkfifo(orders)
    opened: list[Room] = []

    def start(*words: str, columns: int = 60, lines: int = 20) -> Room:
        terminal = Terminal(
            "-m", "tests.terminal.live_stage", orders, *words, columns=columns, lines=lines, home=tmp_path
        )
        opened.append(Room(terminal, orders.open("w")))
        terminal.until(lambda shown: shown[:1] == [">"] and len(shown) == lines)
        return opened[-1]

    yield start
    for each in opened:
        each.orders.close()
        each.terminal.child.close(force=True)


def test_a_spoken_turn_at_an_empty_prompt(room: Open) -> None:
    it = room()
    it.until_below("listening · 12 of 64 tokens · demo")
    it.order("wake")
    it.until(*SPOKE, ">")
    it.order("wake")
    it.until(*SPOKE, *SPOKE, ">")
    it.type("hello" + ENTER)
    it.until(*SPOKE, *SPOKE, "> hello", "You said: hello", ">")
    it.type(CTRL_D)
    assert it.terminal.end() == 0


def test_what_is_half_written_stands_in_the_next_prompt(room: Open) -> None:
    it = room()
    it.type("a lion and a bear" + 4 * LEFT)
    it.until("> a lion and a bear")
    it.order("wake")
    it.until(*SPOKE, "> a lion and a bear")
    it.type("polar " + ENTER)
    it.until(*SPOKE, "> a lion and a polar bear", "You said: a lion and a polar bear", ">")


def test_what_is_written_during_the_answer_follows_what_was_written_before(room: Open) -> None:
    it = room()
    it.type("one\x1b\rtw")
    it.until("> one", "  tw")
    it.order("wake")
    it.terminal.until(lambda shown: "It takes" in shown)
    it.type("o")
    it.until(*SPOKE, "> one", "  two")


def test_a_turn_that_is_spoken_during_an_answer_is_answered_after_it(room: Open) -> None:
    it = room()
    it.type("slow" + ENTER)
    it.terminal.until(lambda shown: "It takes" in shown)
    it.order("wake")
    it.until("> slow", "It takes a while.", *SPOKE, ">")


def test_a_spoken_turn_ends_a_search(room: Open) -> None:
    it = room()
    it.type("hello" + ENTER)
    it.until("> hello", "You said: hello", ">")
    it.type(CTRL_R + "hel")
    it.terminal.until(lambda shown: "I-search backward: hel" in shown)
    it.order("wake")
    it.until("> hello", "You said: hello", *SPOKE, ">")
    it.type("new" + ENTER)
    it.until("> hello", "You said: hello", *SPOKE, "> new", "You said: new", ">")


def test_a_spoken_turn_waits_for_the_end_of_an_edit(room: Open) -> None:
    it = room()
    it.type("hello" + ENTER)
    it.until("> hello", "You said: hello", ">")
    it.type("/edit" + ENTER)
    before = ["> hello", "You said: hello", "> /edit"]
    it.until(*before, "> hello")
    it.order("wake")
    it.order("say a notice")
    it.until(*before, "a notice", "> hello")
    it.type(" again" + ENTER)
    it.until(*before, "a notice", "> hello again", "You said: hello again", *SPOKE, ">")


def test_a_notice_stands_above_what_is_half_written(room: Open) -> None:
    it = room()
    it.type("half a line" + 4 * LEFT)
    it.until("> half a line")
    it.order("say the first notice")
    it.order("say the second notice, which is much longer than this terminal is wide")
    notices = ["the first notice", "the second notice, which is much longer than this terminal", "is wide"]
    it.until(*notices, "> half a line")
    it.type("whole ")
    it.until(*notices, "> half a whole line")


def test_a_notice_does_not_tear_an_answer(room: Open) -> None:
    it = room()
    it.type("slow" + ENTER)
    it.terminal.until(lambda shown: "It takes" in shown)
    it.order("say a notice")
    it.until("> slow", "a notice", "It takes a while.", ">")


def test_space_and_enter_push_to_talk_on_an_empty_line_only(room: Open) -> None:
    it = room("push")
    it.until_below("listening · 12 of 64 tokens · demo")
    it.type(" ")
    it.until_below("hearing · 12 of 64 tokens · demo")
    it.type(ENTER)
    it.until_below("listening · 12 of 64 tokens · demo")
    it.type("a b " + ENTER)
    it.until("> a b", "You said: a b", ">")
    it.type(ENTER)
    gone = "the microphone is gone: plug it in"
    it.until("> a b", "You said: a b", gone, ">")
    it.type("x\x7f ")  # the line is empty again
    it.until_below("listening · 12 of 64 tokens · 21.2 tokens/s")
    it.type("/help" + ENTER)
    it.terminal.until(lambda shown: PUSH_KEYS in " ".join(_above(shown)).replace("  ", " "))


@pytest.mark.parametrize("key", [" ", ENTER])
def test_a_push_stops_an_answer_and_what_is_typed_behind_it_stays(room: Open, key: str) -> None:
    it = room("push")
    it.type("slow" + ENTER)
    it.terminal.until(lambda shown: "It takes" in shown)
    it.type(key + "and then")
    it.until("> slow", "It takes a while.", "[stopped: you spoke]", "> and then")
    it.until_below("hearing · 12 of 64 tokens · 21.2 tokens/s")


def test_what_is_typed_while_an_answer_comes_is_no_push(room: Open) -> None:
    it = room("push")
    it.type("slow" + ENTER)
    it.terminal.until(lambda shown: "It takes" in shown)
    it.type("and then ")
    it.until("> slow", "It takes a while.", "> and then")
    it.until_below("listening · 12 of 64 tokens · 21.2 tokens/s")


def test_without_push_to_talk_space_and_enter_are_what_they_were(room: Open) -> None:
    it = room()
    it.type(ENTER)
    it.until(">", ">")
    it.type(" a" + ENTER)
    it.until(">", ">  a", "You said: a", ">")
    it.type("/mute" + ENTER)
    it.until_below("muted · 12 of 64 tokens · 21.2 tokens/s")


@pytest.mark.parametrize(
    ("columns", "silent", "loud"),
    [
        (
            80,
            "listening [....................]    - dB · 12 of 64 tokens · demo",
            "hearing   [##########..........]  -30 dB · 12 of 64 tokens · demo",
        ),
        (40, "listening [....................]    - dB", "hearing   [##########..........]  -30 dB"),
        (20, "listening [.....]", "hearing   [##...]"),
    ],
)
def test_the_meter(room: Open, columns: int, silent: str, loud: str) -> None:
    it = room("echo", columns=columns)
    it.until_below(silent)
    it.order("hear -30")
    it.until_below(loud)
    it.type("wait" + ENTER)
    it.terminal.until(lambda shown: shown == ["> wait", "thinking …"])
    it.until("> wait", "You said: wait", ">")


def test_without_the_meter_an_answer_begins_as_ever(room: Open) -> None:
    it = room()
    it.type("wait" + ENTER)
    it.terminal.until(lambda shown: shown == ["> wait", "reading …"])
