"""Bars are for terminals, and for work that takes long enough to watch."""

import io

from gemma_mlx.progress import byte_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _shown(stream: io.StringIO, *steps: tuple[int, int]) -> str:
    with byte_bar("loading", stream) as progress:
        for done, total in steps:
            progress(done, total)
    return stream.getvalue()


def test_a_pipe_gets_nothing() -> None:
    assert _shown(io.StringIO(), (1, 7_000_000_000), (7_000_000_000, 7_000_000_000)) == ""


def test_a_terminal_gets_what_it_is_and_how_far() -> None:
    text = _shown(Terminal(), (1_500_000_000, 6_700_000_000), (6_700_000_000, 6_700_000_000))
    assert "loading" in text
    assert "6.7 GB" in text


def test_what_is_short_shows_no_bar() -> None:
    assert "loading" not in _shown(Terminal(), (1_500_000, 2_000_000), (2_000_000, 2_000_000))
