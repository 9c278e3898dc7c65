"""Predicted against counted peak memory of random models and conversations, with and without drafter, on MLX's CPU
backend.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx.benchmarks.memory import Result, Scenario, measure, scenario

OVER, UNDER = 1.10, 0.97
ATTEMPTS = 4
SMALL = 1000  # bytes of constants that are no weights


@pytest.fixture(autouse=True)
def _cpu() -> Iterator[None]:
    """The formulas under test are those of this backend, wherever the tests run."""
    device = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(device)


def _measured(run: Scenario, folder: Path) -> Result:
    """Once more if the count is low: while other programs take the processors, MLX queues less ahead."""
    for attempt in range(1, ATTEMPTS):
        place = folder / str(attempt)
        place.mkdir()
        result = measure(run, place, rounds=attempt)
        if result.ratio <= OVER:
            break
    return result


@pytest.mark.parametrize("seed", range(20))
def test_the_peak_is_as_predicted(seed: int, tmp_path: Path) -> None:
    result = _measured(scenario(seed, 250, (96, 128)), tmp_path)
    assert 0 <= result.measured_weights - result.parts["weights"] - result.parts["drafter"] < SMALL
    assert UNDER <= result.ratio <= OVER, result


@pytest.mark.parametrize("depth", [1, 2, 5, 8])
def test_the_peak_of_drafting_is_as_predicted(depth: int, tmp_path: Path) -> None:
    """A short question, so that nothing takes more than the choice among so many logits."""
    run = replace(scenario(depth, 0, (64,)), depth=depth, written=14)
    run.text.update(vocab_size=32768)
    result = _measured(run, tmp_path)
    assert result.moment == "writing"
    assert result.parts["working space"] > 32 * (depth + 1) * 32768
    assert UNDER <= result.ratio <= OVER, result
