"""What rounds cost, in plain steps: measured where there are measurements, foretold where there are none.

Pure: seconds come in, ratios go out. Knows nothing of acceptance or of what is chosen.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from gemma_mlx.generation.depth import MOST

_SLOPE = 0.25  # what a draft and its row add to a plain step where nothing is known yet
_BRIGHT = 0.85  # of what they seem to add beyond the deepest known depth: flat steps may follow steep ones
_LEAST = 0.02  # the least that they add: no round is cheaper than a shallower one
_FEW = 5  # measurements of a depth that count
_STALL = 1.5  # times what was expected; what goes beyond was the caller, or a kernel's first use
_REACH = 2048  # positions after which measurements are only remembered as ratios

Points = list[tuple[int, float]]  # a value at some depths, in order


@dataclass(frozen=True)
class Costs:
    """Seconds of a round at some depths over those of a plain step, and the positions in the caches when measured."""

    ratios: Mapping[int, float] = field(default_factory=dict)
    position: int = 0

    def curve(self) -> tuple[float, ...]:
        """Ratios at depth 0 to MOST; between and beyond the known ones on straight lines."""
        known = [(0, 1.0), *sorted(self.ratios.items())]
        if len(known) == 1:
            known.append((1, 1 + _SLOPE))
        return _increasing([_on_lines(known, depth) for depth in range(MOST + 1)])


class Stopwatch:
    """The last measured rounds, and what is known from before.

    `curve`: ratios at depth 0 to MOST. `doubtful`: depths whose only round took so long that it says little.
    """

    def __init__(self, known: Costs) -> None:
        self._known, self._base = known, known.curve()
        self._position: int | None = None  # where the measurements begin
        self._seconds: tuple[deque[float], ...] = tuple(deque(maxlen=_FEW) for _ in range(MOST + 1))
        self.curve = self._base
        self.doubtful: set[int] = set()

    def add(self, depth: int, seconds: float, position: int) -> None:
        """Take the seconds of a round. Measurements from far away make room, their ratios stay."""
        if self._position is None or abs(position - self._position) > _REACH:
            self._known, self._position = self.costs(), position
            self._base = self._known.curve()
            self.doubtful.clear()
            for measured in self._seconds:
                measured.clear()
        plain = self._plain()
        most = seconds if plain is None else _STALL * plain * self.curve[depth]
        if seconds > most and not self._seconds[depth]:
            self.doubtful.add(depth)
        else:
            self.doubtful.discard(depth)
        self._seconds[depth].append(min(seconds, most))
        self.curve = self._measured_curve()

    def costs(self) -> Costs:
        """What is known now, to be remembered."""
        if not self._seconds[0] and not self._known.ratios:
            return self._known
        measured = {depth for depth in range(1, MOST + 1) if self._seconds[depth]} - self.doubtful
        ratios = {**self._known.ratios, **{depth: round(self.curve[depth], 4) for depth in measured}}
        return Costs(dict(sorted(ratios.items())), self._position or 0) if measured else self._known

    def _measured_curve(self) -> tuple[float, ...]:
        """The known curve, corrected by measured depths: one without measurements is off as those near it are."""
        base, plain, middles = self._base, self._plain(), self._middles()
        off = [
            (depth, (middles[depth] / plain - 1) / (base[depth] - 1)) for depth in sorted(middles) if plain and depth
        ]
        if not off:
            return base
        found = [1 + (ratio - 1) * _between(off, depth) for depth, ratio in enumerate(base)]
        deepest = max(off[-1][0], *self._known.ratios, 0)
        beyond = [found[deepest] + _BRIGHT * (ratio - found[deepest]) for ratio in found[deepest + 1 :]]
        return _increasing(found[: deepest + 1] + beyond)

    def _plain(self) -> float | None:
        """Seconds of a plain step: measured, or from other rounds by what is known."""
        middles = self._middles()
        if 0 in middles:
            return middles[0]
        return min((seconds / self._base[depth] for depth, seconds in middles.items()), default=None)

    def _middles(self) -> dict[int, float]:
        """Seconds at the measured depths. No round takes longer than a deeper one: if it did, it was disturbed."""
        found: dict[int, float] = {}
        least = math.inf
        for depth in range(MOST, -1, -1):
            if self._seconds[depth]:
                found[depth] = least = min(least, _middle(self._seconds[depth]))
        return found


def _middle(measured: deque[float]) -> float:
    """The median, the lower of two: what disturbs a round makes it longer."""
    return sorted(measured)[(len(measured) - 1) // 2]


def _increasing(ratios: list[float]) -> tuple[float, ...]:
    """The same from 1 on, each at least a little more than the one before."""
    found = [1.0]
    for ratio in ratios[1:]:
        found.append(max(ratio, found[-1] + _LEAST))
    return tuple(found)


def _on_lines(points: Points, depth: int) -> float:
    """Linear between points; beyond the last as from the first to the last."""
    for (left, low), (right, high) in pairwise(points):
        if left <= depth <= right:
            return low + (high - low) * (depth - left) / (right - left)
    (left, low), (right, high) = points[0], points[-1]
    return high + (high - low) * (depth - right) / (right - left)


def _between(points: Points, depth: int) -> float:
    """Linear between points, constant before the first and beyond the last."""
    if depth <= points[0][0]:
        return points[0][1]
    return points[-1][1] if depth >= points[-1][0] else _on_lines(points, depth)
