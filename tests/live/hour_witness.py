"""An inbox that compares what passes through it with what was to be heard, and counts.

On its way in, each turn must be the samples that were played from somewhere in the last seconds on; on its way out, the
same but for what it reports as left out. Knows an inbox and the course of an hour: no model.
"""

import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from gemma_mlx.capture.vad import FRAME_SAMPLES
from gemma_mlx.live.inbox import Closed, Inbox, Item, Opened, Paused, Resumed, Sound, Told, Withdrawn
from tests.live.hour_script import Course
from tests.live.simulation import RATE

_BACK = 3 * RATE  # samples within which a turn began when its first ones come
_SURE = round(0.35 * RATE)  # samples of speech that are a turn however they lie
_EDGE = RATE // 10  # samples of doubt about when the microphone was muted


@dataclass
class _Turn:
    """A turn on its way in, in positions of the course."""

    start: int | None = None
    size: int = 0
    kept: list[tuple[int, np.ndarray]] = field(default_factory=list)  # what had room, and where in the turn
    ended: bool = False  # with a frame that was not heard to its end


class Witness(Inbox):
    """`over`: what the turns that are over must be for the model; `closed`: where they lie in the course; `untold`:
    notices that have not reached the person; `lost`, `lost_told`: samples."""

    def __init__(self, most_samples: int, course: Course, position: Callable[[], int]) -> None:
        super().__init__(most_samples)
        self.over = deque[np.ndarray]()
        self.closed: list[tuple[int, int]] = []
        self.untold = set[str]()
        self.lost = self.lost_told = 0
        self.counts = Counter[str]()
        self.taken_at = time.monotonic()
        self._course, self._position = course, position
        self._in: _Turn | None = None
        self._promised = deque[np.ndarray]()
        self._out: list[np.ndarray] = []

    @property
    def backlog(self) -> float:
        """Seconds of sound that wait."""
        return self._samples / RATE

    def put(self, item: Item) -> None:
        with self._changed:
            if not self.waiting:
                self.taken_at = time.monotonic()
            before = self._samples
            if isinstance(item, Told):
                self.untold.add(item.text)
            elif isinstance(item, Opened):
                self._in = _Turn()
            super().put(item)
            if self._in is not None and isinstance(item, Sound):
                self._follow(self._in, item.samples, self._samples - before)
            elif self._in is not None and isinstance(item, Closed | Withdrawn):
                self._end(self._in, item)
                self._in = None

    def take(self, timeout: float) -> Item | None:
        with self._changed:
            item = super().take(timeout)
            self.taken_at = time.monotonic()
            self.counts["pauses seen"] += isinstance(item, Paused)
            self.counts["returns seen"] += isinstance(item, Resumed)
            match item:
                case Opened():
                    self._out = []
                case Sound(samples):
                    self._out.append(samples)
                case Told(text) if found := re.match(r"([\d.]+) s of what was said were left out", text):
                    self.lost_told += round(float(found[1]) * RATE)
                    self.counts["losses told"] += 1
                case Closed(stop):
                    heard = np.concatenate(self._out)[:stop]
                    wanted = self._promised.popleft()
                    assert np.array_equal(heard, wanted), f"a turn of {wanted.size} samples came as {heard.size}"
                    self.over.append(heard)
                    self._out = []
            return item

    def _follow(self, turn: _Turn, samples: np.ndarray, kept: int) -> None:
        assert not turn.ended, "a turn goes on after what was not heard"
        if turn.start is None:
            turn.start = self._found(samples)
        first = turn.start + turn.size
        other = np.flatnonzero(samples != self._course.heard(first, first + samples.size))
        turn.ended = turn.ended or other.size > 0
        cut = other.size == 0 or (samples.size - other[0] < FRAME_SAMPLES and not samples[other[0] :].any())
        assert cut, f"a turn goes on with other samples than those from {first} on"
        turn.kept.append((turn.size, samples[:kept]))
        turn.size += samples.size
        self.lost += samples.size - kept

    def _found(self, samples: np.ndarray) -> int:
        """Where these were played."""
        newest = self._position() // FRAME_SAMPLES * FRAME_SAMPLES
        oldest = max(0, newest - _BACK)
        played = self._course.heard(oldest, newest + samples.size)
        for first in range(newest, oldest - 1, -FRAME_SAMPLES):
            if np.array_equal(samples, played[first - oldest : first - oldest + samples.size]):
                return first
        raise AssertionError(f"the {samples.size} samples of a turn before {newest} were not played")

    def _end(self, turn: _Turn, item: Closed | Withdrawn) -> None:
        if isinstance(item, Withdrawn) or turn.start is None:
            self.counts["withdrawn"] += 1
            return
        self.counts["turns"] += 1
        self.closed.append((turn.start, turn.start + item.stop))
        kept = np.concatenate([samples[: max(0, item.stop - at)] for at, samples in turn.kept])
        if kept.size:
            self._promised.append(kept)

    def unheard(self, deaf: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Pieces of speech that are in no turn although they are long enough, while nothing was muted. Where the
        device broke off, a turn may miss less than a frame: it is made of whole ones."""
        pieces = list[tuple[int, int]](self._course.spoken)
        for first, last in deaf:
            pieces = _without(pieces, first - _EDGE, last + _EDGE)
        for first, last in self.closed:
            pieces = [piece for piece in pieces if not (first <= piece[0] and piece[1] <= last)]
        pieces = [piece for piece in pieces if piece[1] - piece[0] >= _SURE]
        for first, last in self.closed:  # what several turns have together
            pieces = _without(pieces, first, last)
        return [piece for piece in pieces if piece[1] - piece[0] >= FRAME_SAMPLES or not self._course.breaks & {*piece}]


def _without(pieces: Iterable[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """The pieces but for these samples."""
    left = list[tuple[int, int]]()
    for start, end in pieces:
        left += [(low, high) for low, high in ((start, min(end, first)), (max(start, last), end)) if low < high]
    return left
