"""What a microphone hears, in a short text: the state in a word, the level as a bar and a figure.

Knows values only: no microphone, no terminal but its width. The bar is ASCII and nothing is told by colour, so that it
reads the same everywhere.
"""

from collections.abc import Callable
from typing import Literal, Protocol

QUIETEST = -60.0  # of full scale, in dB, where the bar begins
_WORD = 9  # columns of the longest state
_BARS = ((20, True), (10, True), (10, False), (5, False))  # columns within the brackets, with a figure or without
_STATUS = 25  # columns that the status needs to say how much of the context is used
_BETWEEN = " · "
_MUTED = "muted: /mute off listens again"


class Meter(Protocol):
    """What is shown of a microphone now."""

    @property
    def state(self) -> Literal["listening", "hearing", "thinking", "answering"]:
        """What is going on."""

    @property
    def level_db(self) -> float:
        """The level in dB of full scale, -inf for silence."""

    @property
    def muted(self) -> bool:
        """Whether what it hears does not count."""


def word(meter: Meter) -> str:
    """The state in a word."""
    return "muted" if meter.muted else meter.state


def level(meter: Meter, width: int) -> str:
    """State and level in at most `width` columns: the figure is left out first, then the bar."""
    texts = (_MUTED,) if meter.muted else tuple(_drawn(meter, *bar) for bar in _BARS)
    return next((text for text in texts if len(text) <= width), word(meter)[:width])


def waiting(meter: Meter) -> str:
    """The line of a reply before its first token: whatever the microphone said last, the model is at it."""
    return "thinking … (muted)" if meter.muted else "thinking …"


def below(meter: Meter, echo: bool, status: Callable[[int], str], width: int) -> str:
    """The line below the prompt: the state, with `echo` the level as well, and the status where there is room."""
    if echo:
        beside = width - _STATUS - len(_BETWEEN)
        shown = level(meter, beside if beside >= len(_drawn(meter, *_BARS[-1])) else width)
    else:
        shown = word(meter)[:width]
    room = width - len(shown) - len(_BETWEEN)
    return f"{shown}{_BETWEEN}{status(room)}" if room >= _STATUS else shown


def _drawn(meter: Meter, columns: int, figure: bool) -> str:
    loudness = meter.level_db if meter.level_db > float("-inf") else None  # nor is "not a number" one
    share = 0.0 if loudness is None else 1 - loudness / QUIETEST
    filled = round(columns * min(max(share, 0.0), 1.0))
    bar = f"{meter.state:{_WORD}} [{'#' * filled}{'.' * (columns - filled)}]"
    if not figure:
        return bar
    return f"{bar} {'   -' if loudness is None else f'{round(min(max(loudness, -99.0), 0.0)):4}'} dB"
