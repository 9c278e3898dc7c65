"""Level, silence, clipping and pace, on arrays and times."""

import math

import numpy as np
import pytest

from gemma_mlx.capture.watch import Clipping, Level, Pace, Silence, level

BLOCK = 320


def constant(value: int, count: int = BLOCK) -> np.ndarray:
    return np.full(count, value, np.int16)


@pytest.mark.parametrize(
    ("samples", "rms", "peak"),
    [
        (constant(0), 0.0, 0.0),
        (np.zeros(0, np.int16), 0.0, 0.0),
        (constant(-32768), 1.0, 1.0),
        (constant(16384), 0.5, 0.5),
        (np.array([0, 0, 0, 16384], np.int16), 0.25, 0.5),
    ],
)
def test_levels_are_shares_of_full_scale(samples: np.ndarray, rms: float, peak: float) -> None:
    assert level(samples) == Level(rms, peak)


def test_levels_in_decibels() -> None:
    assert level(constant(-16384)).peak_db == pytest.approx(-6.02, abs=0.01)
    assert level(constant(-16384)).rms_db == pytest.approx(-6.02, abs=0.01)
    assert level(constant(0)).rms_db == -math.inf


def test_silence_is_exact_and_long_enough() -> None:
    silence = Silence(3 * BLOCK)
    assert [silence.push(constant(0)) for _ in range(4)] == [False, False, True, True]
    almost = constant(0)
    almost[7] = -1
    assert not silence.push(almost)
    assert [silence.push(constant(0)) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(("clipped", "verdict"), [(9, False), (10, True)])
@pytest.mark.parametrize("value", [32767, -32768])
def test_clipping_is_one_in_a_hundred(clipped: int, verdict: bool, value: int) -> None:
    watch = Clipping(1000)
    samples = constant(20_000, 1000)
    samples[:clipped] = value
    assert not watch.push(samples[:500])  # only whole stretches are judged
    assert watch.push(samples[500:]) is verdict
    assert watch.push(constant(value, 1000))
    assert not watch.push(constant(100, 1000))  # each stretch by itself


def paces(times: list[float]) -> list[int | None]:
    """What a watch of 1000 samples a second says when each time has 100 samples more, and always one is past 1 s."""
    pace = Pace(1000, 1.0, 0.03)
    return [said for n, at in enumerate(times) if (said := pace.push(n * 100, at)) is not None]


def test_the_right_pace_is_no_news() -> None:
    assert paces([n * 0.1 for n in range(100)]) == []
    assert paces([n * 0.1 / 1.025 for n in range(100)]) == []


@pytest.mark.parametrize("factor", [0.5, 0.95, 1.05, 1.5])
def test_a_wrong_pace_is_measured_after_three_stretches(factor: float) -> None:
    said = paces([n * 0.1 / factor for n in range(100)])
    assert said
    assert all(rate == pytest.approx(1000 * factor, rel=0.01) for rate in said if rate is not None)
    assert paces([n * 0.1 / factor for n in range(round(25 * factor))]) == []


def test_a_thread_that_comes_late_and_catches_up_is_no_wrong_pace() -> None:
    times = [n * 0.1 for n in range(100)]
    for late in range(30, 45):  # 1.5 s of blocks arrive at once
        times[late] = 4.5
    assert paces(times) == []


def test_lateness_that_shrinks_is_no_wrong_pace() -> None:
    """Every other block is late, by less and less: by the ends of the stretches alone the pace would be too high."""
    late = [max(0.0, 0.9 - n * 0.01) if n % 2 else 0.0 for n in range(100)]
    times = [n * 0.1 + each for n, each in enumerate(late)]
    assert paces([max(times[: n + 1]) if n % 2 else times[n] for n in range(100)]) == []


def test_lost_samples_move_the_times_once_and_are_no_wrong_pace() -> None:
    assert paces([n * 0.1 + (0.5 if n > 40 else 0) for n in range(100)]) == []
