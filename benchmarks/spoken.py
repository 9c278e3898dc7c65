"""Utterances of a given length, and a microphone that hears them in real time: what benchmarks of listening play.

The end of speech is known, since it is made here. Knows samples and a clock: no voice activity and no model.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gemma_mlx.capture.ring import Block
from gemma_mlx.demo import samples_directory
from gemma_mlx.errors import InputError
from gemma_mlx.inputs.audio import SAMPLE_RATE, decode

BLOCK = 320  # samples that the microphone hands over at once
GAP_SECONDS = 0.15  # between recordings: too short to end a turn
BEFORE_SECONDS, AFTER_SECONDS = 0.5, 2.0  # of the noise of a quiet room
_NOISE = 16.0  # standard deviation: 66 dB below full scale
_STEP = SAMPLE_RATE // 100
_QUIET = 0.02  # of the loudest 10 ms: what is quieter at the ends is no speech


@dataclass(frozen=True, eq=False)
class Scene:
    """What the microphone hears."""

    samples: np.ndarray  # int16 (n,), whole blocks
    end: int  # one past the last sample of speech

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def speech_seconds(self) -> float:
        return self.end / SAMPLE_RATE - BEFORE_SECONDS


class Player:
    """A microphone in real time, for a `Listener` with the same clock: a block comes when its last sample was heard.
    After the last one nothing comes."""

    def __init__(self, samples: np.ndarray, clock: Callable[[], float] = time.monotonic) -> None:
        self._samples, self._clock = samples, clock
        self._began = 0.0
        self._next = 0  # block
        self._over = threading.Event()

    def open(self) -> None:
        self._began = self._clock()

    def close(self) -> None:
        self._over.set()

    def when(self, samples: int) -> float:
        """When so many samples have been heard."""
        return self._began + samples / SAMPLE_RATE

    def read(self, timeout: float) -> Block | None:
        first = self._next * BLOCK
        wait = timeout
        if there := first + BLOCK <= len(self._samples):
            wait = min(timeout, self.when(first + BLOCK) - self._clock())
        if self._over.wait(max(0.0, wait)) or not there or self._clock() < self.when(first + BLOCK):
            return None
        self._next += 1
        return Block(self._next - 1, self._samples[first : first + BLOCK], self.when(first + BLOCK))


def recordings(places: Sequence[Path]) -> list[np.ndarray]:
    """What sound files say, and the .wav files of directories; without any, the file that comes with the package.
    float32 (n,) each, without quiet ends."""
    files = [file for place in places for file in (sorted(place.glob("*.wav")) if place.is_dir() else [place])]
    if places and not files:
        raise InputError(f"{places[0]} holds no .wav file: name recordings, or a directory with some")
    return [bare(decode(file)) for file in files or [samples_directory() / "recording.wav"]]


def bare(samples: np.ndarray) -> np.ndarray:
    """Without its quiet ends, to 10 ms."""
    count = len(samples) // _STEP
    loudness = np.sqrt(np.square(samples[: count * _STEP]).reshape(count, _STEP).mean(1))
    (loud,) = np.nonzero(loudness > _QUIET * loudness.max(initial=0))
    if not loud.size:
        raise InputError("a recording is silent: choose one with speech")
    return samples[int(loud[0]) * _STEP : int(loud[-1] + 1) * _STEP]


def utterance(said: Sequence[np.ndarray], seconds: float, first: int) -> np.ndarray:
    """Recordings one after the other, beginning with number `first`, cut at that length; a gap at its end falls off."""
    wanted, gap = round(seconds * SAMPLE_RATE), np.zeros(round(GAP_SECONDS * SAMPLE_RATE), np.float32)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < wanted:
        parts += [said[(first + len(parts) // 2) % len(said)], gap]
    return bare(np.concatenate(parts)[:wanted])


def scene(speech: np.ndarray, seed: int) -> Scene:
    """Somebody speaks in a quiet room."""
    before = round(BEFORE_SECONDS * SAMPLE_RATE)
    end = before + len(speech)
    blocks = -(-(end + round(AFTER_SECONDS * SAMPLE_RATE)) // BLOCK)
    heard = np.random.default_rng(seed).normal(0, _NOISE, blocks * BLOCK)
    heard[before:end] += speech * 32768
    return Scene(heard.round().clip(-32768, 32767).astype(np.int16), end)
