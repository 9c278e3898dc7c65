"""The level meter and the line below the prompt."""

import math

import pytest

from gemma_mlx.terminal.meter import below, level, waiting, word
from tests.terminal.live_stage import Meter

HEARING = Meter("hearing", -30.0)


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (80, "hearing   [##########..........]  -30 dB"),
        (40, "hearing   [##########..........]  -30 dB"),
        (39, "hearing   [#####.....]  -30 dB"),
        (30, "hearing   [#####.....]  -30 dB"),
        (29, "hearing   [#####.....]"),
        (21, "hearing   [##...]"),
        (20, "hearing   [##...]"),
        (17, "hearing   [##...]"),
        (16, "hearing"),
        (7, "hearing"),
        (6, "hearin"),
        (1, "h"),
        (0, ""),
    ],
)
def test_what_is_less_important_is_left_out_first(width: int, text: str) -> None:
    assert level(HEARING, width) == text


@pytest.mark.parametrize(
    ("loudness", "shown"),
    [
        (-math.inf, "[..........]    - dB"),
        (math.nan, "[..........]    - dB"),
        (-500.0, "[..........]  -99 dB"),
        (-60.0, "[..........]  -60 dB"),
        (-48.0, "[##........]  -48 dB"),
        (-6.0, "[#########.]   -6 dB"),
        (-0.4, "[##########]    0 dB"),
        (0.0, "[##########]    0 dB"),
        (3.0, "[##########]    0 dB"),
    ],
)
def test_the_bar_goes_from_its_quietest_level_to_full_scale(loudness: float, shown: str) -> None:
    assert level(Meter("answering", loudness), 30) == f"answering {shown}"


def test_every_text_is_ascii_and_fits() -> None:
    for muted in (False, True):
        for width in range(90):
            text = level(Meter("listening", -12.0, muted), width)
            assert text.isascii()
            assert len(text) <= width


def test_a_muted_microphone_says_so_and_how_it_is_not() -> None:
    muted = Meter("listening", -3.0, True)
    assert level(muted, 30) == "muted: /mute off listens again"
    assert level(muted, 29) == word(muted) == "muted"
    assert (waiting(muted), waiting(HEARING)) == ("thinking … (muted)", "thinking …")


def status(width: int) -> str:
    return "12 of 64 tokens · demo"[:width]


@pytest.mark.parametrize(
    ("echo", "width", "text"),
    [
        (True, 80, "hearing   [##########..........]  -30 dB · 12 of 64 tokens · demo"),
        (True, 68, "hearing   [##########..........]  -30 dB · 12 of 64 tokens · demo"),
        (True, 67, "hearing   [#####.....]  -30 dB · 12 of 64 tokens · demo"),
        (True, 45, "hearing   [##...] · 12 of 64 tokens · demo"),
        (True, 44, "hearing   [##########..........]  -30 dB"),
        (True, 40, "hearing   [##########..........]  -30 dB"),
        (True, 20, "hearing   [##...]"),
        (False, 80, "hearing · 12 of 64 tokens · demo"),
        (False, 35, "hearing · 12 of 64 tokens · demo"),
        (False, 34, "hearing"),
        (False, 3, "hea"),
    ],
)
def test_the_line_below_the_prompt(echo: bool, width: int, text: str) -> None:
    assert below(HEARING, echo, status, width) == text


def test_the_line_below_the_prompt_is_never_too_wide() -> None:
    for echo in (False, True):
        for muted in (False, True):
            for width in range(120):
                meter = Meter("answering", -20.0, muted)
                assert len(below(meter, echo, lambda room: ("x" * 200)[:room], width)) <= width
