"""The choice of depths against its bars, on a part of the grid of `benchmarks/draft_depth.py`."""

from itertools import pairwise

import pytest

from gemma_mlx.benchmarks.draft_depth import BEST_BAR, PLAIN_BAR, fixed, score
from gemma_mlx.benchmarks.draft_world import CHIPS, Cell, Noise, Price, Text, text
from gemma_mlx.generation.depth import MOST

SEEDS = 6
WORST_RUN = 0.95  # of plain decoding: what a single answer may lose, luck and stalls included
GRID = [
    (chip, acceptance)
    for chip in ("M5 Max", "M3 Ultra", "M1 Ultra", "M2 Pro", "M3 Max rows")
    for acceptance in ("0.1", "0.5", "0.98", "0.71 falling", "bursts of 10", "step up", "step down", "alternating 64")
]


@pytest.mark.parametrize("cached", [False, True], ids=["first", "known"])
@pytest.mark.parametrize(("chip", "acceptance"), GRID)
def test_bars(chip: str, acceptance: str, cached: bool) -> None:
    found = score(Cell(chip, acceptance, 256, cached), SEEDS)
    assert found.plain >= PLAIN_BAR
    assert found.best >= BEST_BAR
    assert found.worst_plain >= WORST_RUN


@pytest.mark.parametrize("chip", ["M5 Max", "M1 Ultra", "M2 Pro, step at 6 rows"])
@pytest.mark.parametrize("acceptance", ["0.1", "0.7", "ramp up", "ramp down", "alternating 200"])
def test_bars_of_long_answers(chip: str, acceptance: str) -> None:
    found = score(Cell(chip, acceptance, 2000), 2)
    assert found.plain >= PLAIN_BAR
    assert found.best >= BEST_BAR


@pytest.mark.parametrize("context", ["dear", "cheap"])
@pytest.mark.parametrize("chip", ["M5 Max", "M2 Pro"])
def test_bars_while_the_context_grows(chip: str, context: str) -> None:
    found = score(Cell(chip, "0.7", 16384, context=context), 1)
    assert found.plain >= PLAIN_BAR
    assert found.best >= BEST_BAR


def test_without_noise_too() -> None:
    found = score(Cell("M1 Ultra", "0.9", 700), SEEDS, Noise(jitter=0.0, stalls=0.0))
    assert found.plain >= PLAIN_BAR
    assert found.best >= BEST_BAR


def test_the_published_costs_are_in_the_curves() -> None:
    assert [round(CHIPS[chip][3], 2) for chip in ("M5 Max", "M3 Ultra", "M1 Ultra")] == [1.28, 1.51, 2.71]
    assert all(len(costs) == MOST + 1 and costs[0] == 1.0 for costs in CHIPS.values())
    assert all(list(costs) == sorted(costs) for costs in CHIPS.values())


def test_fixed_depths_take_what_they_must() -> None:
    price = Price(CHIPS["M3 Ultra"])
    always, never = Text((MOST,) * 100), Text((0,) * 100)
    assert fixed(price, never, 0) == 100
    assert fixed(price, always, 4) == pytest.approx(20 * price(4, 0))
    assert fixed(price, never, 4) == pytest.approx(96 * price(4, 0) + sum(price(depth, 0) for depth in range(4)))


def test_simulated_texts_are_accepted_as_often_as_they_say() -> None:
    found = text(Cell("M5 Max", "0.71 falling", 20_000), 0).right
    reached = [sum(right >= place for right in found) / len(found) for place in range(4)]
    assert [after / before for before, after in pairwise(reached)] == pytest.approx(
        [0.71, 0.71 * 0.86, 0.71 * 0.86**2], abs=0.02
    )
