"""A reply on an emulated terminal, with a clock that is set by hand."""

import io
from collections.abc import Iterator, Sequence

import pytest
from rich.console import Console

from gemma_mlx.generation.events import Event, Finished, TextDelta
from gemma_mlx.terminal.reply import READING, ReplyView
from tests.terminal.test_region import Paper, region


class Stand:
    """A view of replies on paper."""

    def __init__(self, columns: int = 30, lines: int = 6) -> None:
        self.paper, self.now = Paper(columns, lines), 0.0
        console = Console(file=io.StringIO(), width=columns, force_terminal=True, color_system="standard")
        self.view = ReplyView(console, region(self.paper), lambda text: len(text.split()), lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return self.paper.screen.text


def test_something_stands_there_until_the_first_token_comes() -> None:
    stand = Stand()

    def events() -> Iterator[Event]:
        assert stand.lines == [READING]
        stand.now += 1
        yield TextDelta("so")
        assert stand.lines == ["so"]
        stand.now += 1
        yield TextDelta("on")
        assert stand.lines == ["soon"]
        yield Finished("stop", "soon")

    assert stand.view.show(events()) == Finished("stop", "soon")
    assert stand.lines == ["soon"]


def test_after_a_long_drawing_the_model_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand()
    draw = stand.view.region.draw

    def slowly(lines: Sequence[str]) -> None:
        draw(lines)
        stand.now += 1

    def events() -> Iterator[Event]:
        yield TextDelta("a")
        assert stand.lines == ["a"]
        stand.now += 3.9
        yield TextDelta("b")
        assert stand.lines == ["a"]
        stand.now += 0.2
        yield TextDelta("c")
        assert stand.lines == ["abc"]

    monkeypatch.setattr(stand.view.region, "draw", slowly)
    assert stand.view.show(events()) is None


def test_nothing_stays_of_a_reply_that_never_came() -> None:
    stand = Stand()
    assert stand.view.show(iter(())) is None
    assert stand.lines == []


def test_a_thought_is_dim_and_then_a_line() -> None:
    stand = Stand(columns=50)

    def events() -> Iterator[Event]:
        stand.now += 1
        yield TextDelta("one two", "thought")
        assert stand.lines == ["one two"]
        assert "\x1b[2m" in stand.paper.written
        stand.now += 12.4
        yield TextDelta(" three", "thought")
        yield TextDelta("Answer.")
        assert stand.lines == ["thought for 12 s, 3 tokens (/think show)", "Answer."]
        stand.now += 1
        yield TextDelta(" More.")
        yield TextDelta("again", "thought")
        yield TextDelta("End.")

    stand.view.show(events())
    assert stand.lines == [
        "thought for 12 s, 3 tokens (/think show)",
        "Answer. More.",
        "thought for 0 s, 1 token (/think show)",
        "End.",
    ]


def test_drawing_is_spared_where_nobody_would_see_it() -> None:
    stand = Stand()
    stand.view.show(TextDelta(str(number % 10)) for number in range(20))
    assert stand.lines == ["01234567890123456789"]
    assert stand.paper.written.count("0") <= 4


def test_how_a_reply_ended_is_told() -> None:
    stand = Stand(columns=100)
    stand.view.show([TextDelta("a"), Finished("loop", "a", notice="it repeats itself")])
    stand.view.show([TextDelta("b"), Finished("length", "b", tokens=(1,))])
    assert stand.lines == [
        "a",
        "[stopped: it repeats itself]",
        "b",
        "[cut off after 1 token: raise --max-tokens, or --context if the conversation is long]",
    ]


def test_the_same_view_shows_one_reply_after_the_other() -> None:
    stand = Stand()
    for text in ("one\n\ntwo", "three"):
        stand.view.show([TextDelta(text), Finished("stop", text)])
    assert stand.lines == ["one", "", "two", "three"]
