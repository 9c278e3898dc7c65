"""Lines that are redrawn in place, on a terminal that is emulated, against a list of lines."""

import os
import random
from collections.abc import Sequence

import pyte
import pytest

from gemma_mlx.terminal.region import Region
from tests.terminal.terminal import Screen


class Paper:
    """An emulated terminal as a stream, with its size."""

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = Screen(columns, lines)
        self.stream = pyte.Stream(self.screen)
        self.written = ""

    def write(self, text: str) -> None:
        self.written += text
        self.stream.feed(text.replace("\n", "\r\n"))  # as the system's terminal driver does

    def flush(self) -> None:
        pass

    def size(self) -> os.terminal_size:
        return os.terminal_size((self.screen.columns, self.screen.lines))


def region(paper: Paper) -> Region:
    return Region(paper, paper.size)  # type: ignore[arg-type]


def blanks_off(lines: Sequence[str]) -> list[str]:
    left = [line.rstrip() for line in lines]
    while left and not left[-1]:
        left.pop()
    return left


@pytest.mark.parametrize("seed", range(25))
def test_what_is_printed_and_drawn_is_what_stands_there(seed: int) -> None:
    rng = random.Random(seed)
    paper = Paper(rng.choice((3, 8, 20)), rng.choice((2, 3, 5, 12)))
    lines = region(paper)
    printed: list[str] = []
    drawn: list[str] = []
    for _ in range(60):
        fresh = [rng.choice("abc夜") * rng.randint(0, paper.screen.columns // 2) for _ in range(rng.randint(0, 9))]
        some = rng.choice((fresh, drawn, [*drawn, *fresh], drawn[: len(drawn) // 2], [*drawn[:-1], *fresh]))
        if rng.random() < 0.3:
            lines.print(some)
            printed, drawn = [*printed, *some], []
        else:
            lines.draw(some)
            drawn = some
        assert paper.screen.text == blanks_off([*printed, *drawn[-(paper.screen.lines - 1) :]])


def test_only_lines_that_changed_are_written_again() -> None:
    paper = Paper(20, 10)
    lines = region(paper)
    lines.draw(["one", "two", "th"])
    paper.written = ""
    lines.draw(["one", "two", "three"])
    assert "three" in paper.written
    assert "one" not in paper.written
    assert "two" not in paper.written
    paper.written = ""
    lines.draw(["one", "two", "three"])
    assert paper.written == ""
    lines.draw(["one", "two", "three", "four"])
    assert paper.written == "\nfour"


def test_lines_of_full_width_are_one_row() -> None:
    paper = Paper(5, 10)
    lines = region(paper)
    lines.draw(["12345", "abcde"])
    lines.draw(["12345", "ABCDE", "x"])
    lines.print(["12345", "done"])
    assert paper.screen.text == ["12345", "done"]


def test_a_window_that_became_narrower_is_counted_anew() -> None:
    paper = Paper(10, 10)
    lines = region(paper)
    lines.print(["first"])
    lines.draw(["1234567890"])
    paper.screen.reset()  # what terminals do that break lines anew: two rows
    paper.screen.resize(10, 5)
    paper.stream.feed("first\r\n12345\r\n67890")
    lines.draw(["ab", "cd"])
    assert paper.screen.text == ["first", "ab", "cd"]
