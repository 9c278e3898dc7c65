"""The last lines of a terminal, redrawn in place while what they show is in progress.

Only lines that changed are written again, so nothing flickers; only lines that are on the screen are ever redrawn, so
nothing in the scrollback is. Knows lines and a size: not what they say.
"""

import os
from collections.abc import Callable, Sequence
from typing import TextIO

from gemma_mlx.terminal.markdown import cells

_CLEAR_BELOW = "\x1b[J"


class Region:
    """Lines at the end of `out`, the cursor at the end of the last. `size` is asked each time, since windows change."""

    def __init__(self, out: TextIO, size: Callable[[], os.terminal_size]) -> None:
        self.out, self.size = out, size
        self._shown: list[str] = []

    @property
    def width(self) -> int:
        return max(1, self.size().columns)

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines in place of what was drawn; only the last ones if not all fit the screen."""
        room = max(1, self.size().lines - 1)
        kept: list[str] = []
        for line in reversed(lines):
            room -= self._rows([line])
            if room < 0 and kept:
                break
            kept.insert(0, line)
        self._replace(kept, "")

    def print(self, lines: Sequence[str]) -> None:
        """Print lines for good in place of what was drawn; the next ones come below."""
        self._replace(lines, "\n" if lines else "")
        self._shown = []

    def _replace(self, lines: Sequence[str], end: str) -> None:
        same = _common_prefix(self._shown, lines)
        if 0 < same == len(lines) < len(self._shown):
            same -= 1  # the cursor must end up behind the last line, not below it
        if same == len(self._shown) == len(lines):
            text = end
        elif same == len(self._shown) and same:
            text = "\n" + "\n".join(lines[same:]) + end
        else:
            text = self._back_to(same) + "\n".join(lines[same:]) + end
        self._shown = list(lines)
        if text:
            self.out.write(text)
            self.out.flush()

    def _back_to(self, line: int) -> str:
        """What moves the cursor to the start of a shown line and clears from there."""
        if not self._shown:
            return ""
        up = self._rows(self._shown[line:]) - 1
        return (f"\x1b[{up}A" if up > 0 else "") + "\r" + _CLEAR_BELOW

    def _rows(self, lines: Sequence[str]) -> int:
        """How many rows of the screen the lines take, also where the window has become narrower than they were."""
        return sum(max(1, -(-cells(line) // self.width)) for line in lines)


def _common_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    for number, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return number
    return min(len(a), len(b))
