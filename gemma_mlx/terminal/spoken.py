"""What other threads have for the one at the prompt: that a spoken turn is over, and lines to show.

Knows threads: no terminal, no microphone, no conversation.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gemma_mlx.terminal.meter import Meter
from gemma_mlx.terminal.words import count

MOST_LINES = 32  # that wait


class Spoken(Enum):
    """What a surface's `ask` returns in place of a line: somebody has spoken instead."""

    SPOKEN = auto()


SPOKEN: Final = Spoken.SPOKEN


@dataclass(frozen=True)
class Live:
    """A microphone beside a prompt. `echo`: its level is shown, not only its state; `push`: begins and ends a
    recording, None where it listens by itself. Both are called on the thread of the prompt."""

    meter: Callable[[], Meter]
    echo: bool = False
    push: Callable[[], None] | None = None


class Calls:
    """Any thread calls, one takes. `ring` is called after each call, on the caller's thread: whoever waits looks."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring, self._lock = ring, threading.Lock()
        self._woken, self._left_out = False, 0
        self._lines = deque[str]()

    def wake(self) -> None:
        """A spoken turn is over. Twice before it is taken is once."""
        with self._lock:
            self._woken = True
        self._ring()

    def say(self, line: str) -> None:
        """A line for the person; of more than `MOST_LINES` the oldest are left out."""
        with self._lock:
            if len(self._lines) == MOST_LINES:
                self._lines.popleft()
                self._left_out += 1
            self._lines.append(line)
        self._ring()

    @property
    def woken(self) -> bool:
        """Whether `take_wake` would take one."""
        return self._woken

    @property
    def talking(self) -> bool:
        """Whether `take_lines` would take some."""
        return bool(self._lines)

    def take_wake(self) -> bool:
        """Take the wake, if there is one."""
        with self._lock:
            taken, self._woken = self._woken, False
        return taken

    def take_lines(self) -> list[str]:
        """Take the lines, the oldest first."""
        with self._lock:
            lines, left_out = list(self._lines), self._left_out
            self._lines.clear()
            self._left_out = 0
        return [f"{count(left_out, 'earlier notice')} left out", *lines] if left_out else lines
