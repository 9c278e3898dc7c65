"""The overhead of a speculative round, bounded loosely: the figure itself is the benchmark's."""

import pytest

from gemma_mlx.benchmarks.round_overhead import SIZE, figures, measure

pytestmark = pytest.mark.alone

LIMIT_MS = 1.0
LOOSE = 5  # other programs may be running


def test_a_greedy_round_costs_little_beside_the_networks() -> None:
    spent = measure(SIZE, depth=4, rounds=20)
    assert len(spent) == 20
    found = figures(spent)
    assert 0 < found["host"]["min"] <= LOOSE * LIMIT_MS
    assert 0 < found["both"]["min"] <= LOOSE * LIMIT_MS
