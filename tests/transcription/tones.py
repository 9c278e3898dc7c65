"""Recordings in which each word is a tone of its own, and a recogniser that knows the words by their tones.

It judges by the samples alone, and by other rules than the cutter: a word that was cut is heard as two, or not at all.
"""

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gemma_mlx.generation.events import Finished
from gemma_mlx.inputs.message import Audio
from tests.demo_model.words import SPOKEN

RATE = 16000
LOUD = 0.3
_STEP = 160  # samples of which a level is taken
_GAPS = (0.24, 0.3, 0.5, 1.3, 4.0)  # seconds, and how often
_SHARES = (0.5, 0.3, 0.14, 0.05, 0.01)


def hertz(word: str) -> int:
    return 300 + 100 * SPOKEN.index(word)


def tone(word: str, seconds: float) -> np.ndarray:
    """A word, float32."""
    return (LOUD * np.sin(2 * np.pi * hertz(word) * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def spoken(rng: np.random.Generator, seconds: float, hiss: float = 0.001) -> Iterator[tuple[str, np.ndarray]]:
    """Words with the samples of each and of the pause before it; together at least so long."""
    made = 0.0
    while made < seconds:
        word, gap = SPOKEN[rng.integers(len(SPOKEN))], rng.choice(_GAPS, p=_SHARES)
        samples = np.concatenate([np.zeros(round(gap * RATE), np.float32), tone(word, rng.uniform(0.2, 0.7))])
        samples += rng.normal(0, hiss, len(samples)).astype(np.float32)
        made += len(samples) / RATE
        yield word, samples


def record(path: Path, seconds: float) -> list[str]:
    """Write a recording of about so long; its words."""
    words = []
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        for word, samples in spoken(np.random.default_rng(0), seconds):
            words.append(word)
            out.writeframes((samples * 32767).astype("<i2").tobytes())
    return words


def words_in(samples: np.ndarray) -> list[str]:
    """What is said in them: a run of loud steps of 10 ms is a word, whatever its length."""
    steps = np.pad(samples, (0, -len(samples) % _STEP)).reshape(-1, _STEP)
    loud = np.abs(steps).max(1) > LOUD / 2
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int))).reshape(-1, 2)
    found = []
    for first, end in edges:
        spectrum = np.abs(np.fft.rfft(samples[first * _STEP : end * _STEP], RATE))
        found.append(SPOKEN[round((int(np.argmax(spectrum)) - 300) / 100)])
    return found


def recognise(audio: Audio) -> Finished:
    """What a model would answer."""
    return Finished("stop", " ".join(words_in(audio.samples)))
