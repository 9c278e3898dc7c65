"""What a stream of samples says about the microphone: its level, silence, clipping and pace.

Pure: samples and times in, verdicts out. Knows no device and reads no clock. Sources: a microphone that may be heard is
never exactly zero for long (its converter has noise), one that macOS withholds always is (python-sounddevice issues 196
and 267); PortAudio's converter on macOS is not rebuilt when the device changes its rate, which shows as a wrong pace.
"""

import math
from dataclasses import dataclass

import numpy as np

FULL_SCALE = 32768
_CLIPPED = 32760  # converters stop a little below the end of the scale


@dataclass(frozen=True)
class Level:
    """How loud samples are, as shares of full scale."""

    rms: float
    peak: float

    @property
    def rms_db(self) -> float:
        """In dBFS, -inf for exact silence."""
        return _decibels(self.rms)

    @property
    def peak_db(self) -> float:
        """In dBFS, -inf for exact silence."""
        return _decibels(self.peak)


def level(samples: np.ndarray) -> Level:
    """Of int16 samples `(n,)`; none are silent."""
    if not samples.size:
        return Level(0.0, 0.0)
    values = samples / FULL_SCALE  # float64: the square of int16 overflows, and -32768 has no positive twin
    return Level(float(np.sqrt(np.mean(values**2))), float(np.abs(values).max()))


class Silence:
    """Whether every sample was exactly zero for so many samples in a row."""

    def __init__(self, samples: int) -> None:
        self._limit, self._zeros = samples, 0

    def push(self, samples: np.ndarray) -> bool:
        """Whether the samples until now end in that much silence; runs are counted by whole blocks."""
        self._zeros = 0 if samples.any() else self._zeros + samples.size
        return self._zeros >= self._limit


class Clipping:
    """Whether one in a hundred of the last so many samples is at the end of the scale."""

    def __init__(self, samples: int) -> None:
        self._limit, self._seen, self._clipped = samples, 0, 0
        self._verdict = False

    def push(self, samples: np.ndarray) -> bool:
        """The verdict on the last whole stretch of samples."""
        self._seen += samples.size
        self._clipped += int(np.count_nonzero((samples >= _CLIPPED) | (samples <= -_CLIPPED)))
        if self._seen >= self._limit:
            self._verdict = self._clipped * 100 >= self._seen
            self._seen = self._clipped = 0
        return self._verdict


class Pace:
    """Samples against the wall clock, by stretches of some seconds.

    A thread that comes late makes samples look late, never early, so that each stretch is stood for by the block that
    was the earliest for its position. A change counts only if it goes on in the same direction: samples that the system
    lost move the times once.
    """

    def __init__(self, rate: int, seconds: float, tolerance: float) -> None:
        self._rate, self._seconds, self._tolerance = rate, seconds, tolerance
        self._end: float | None = None  # of the stretch that is measured
        self._best = (0, math.inf)  # of this stretch: position and time of its earliest block
        self._last: tuple[int, float] | None = None  # the same of the stretch before
        self._before = 0  # the direction in which that one was off

    def push(self, position: int, time: float) -> int | None:
        """The samples up to `position` had arrived at `time`: samples a second if that is wrong for long, else None."""
        if self._end is None:
            self._end = time + self._seconds
        if time < self._end or self._best[1] == math.inf:
            self._best = min(self._best, (position, time), key=self._delay)
            return None
        last, best = self._last, self._best
        self._end, self._last, self._best = time + self._seconds, best, (position, time)
        return None if last is None else self._compare(last, best)

    def _delay(self, at: tuple[int, float]) -> float:
        return at[1] - at[0] / self._rate

    def _compare(self, last: tuple[int, float], best: tuple[int, float]) -> int | None:
        samples, seconds = best[0] - last[0], best[1] - last[1]
        share = samples / (seconds * self._rate) - 1 if seconds > 0 else math.inf
        off = int(math.copysign(1, share)) if abs(share) > self._tolerance else 0
        wrong, self._before = off != 0 and off == self._before and seconds > 0, off
        return round(samples / seconds) if wrong else None


def _decibels(share: float) -> float:
    return 20 * math.log10(share) if share > 0 else -math.inf
