"""The choice of draft depths in simulation: chips × acceptance × lengths, against plain decoding and every fixed depth.

    python -m gemma_mlx.benchmarks.draft_depth --seeds 20 --out result.jsonl

The same text, and so the same luck, meets every fixed depth and the controller, which begins without knowing costs, or
with what an earlier session remembers. The controller sees times with noise, the score is without.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gemma_mlx.benchmarks.draft_world import ACCEPTANCE, CHIPS, CONTEXTS, Cell, Noise, Price, Text, clock, text
from gemma_mlx.benchmarks.record import append, command, line
from gemma_mlx.generation.adaptive import Adaptive
from gemma_mlx.generation.costs import Costs
from gemma_mlx.generation.depth import MOST, Depths, Round

ANSWERS = (256, 700, 2000)  # tokens
NOISE = Noise()
PLAIN_BAR, BEST_BAR = 0.98, 0.95  # throughput over plain decoding and over the best fixed depth


def fixed(price: Price, text: Text, depth: int) -> float:
    """Time that a text takes at one depth."""
    at, time, tokens = 0, 0.0, len(text.right)
    while at < tokens:
        drafts = min(depth, tokens - at - 1)
        time += price(drafts, at)
        at += text.accepted(at, drafts) + 1
    return time


def adaptive(depths: Depths, price: Price, text: Text, clock: Callable[[float], float]) -> float:
    """Time that it takes where `depths` chooses. As in the loop, the step after a plain step is chosen before that one
    is recorded, and no more is drafted than may follow."""
    at, time, tokens = 0, 0.0, len(text.right)
    depth = depths.choose(0)
    while at < tokens:
        drafts = min(depth, tokens - at - 1)
        accepted = text.accepted(at, drafts)
        seconds = price(drafts, at)
        done = Round(drafts, accepted, clock(seconds), at)
        at, time = at + accepted + 1, time + seconds
        if drafts:
            depths.record(done)
        depth = depths.choose(at)
        if not drafts:
            depths.record(done)
    return time


def known(price: Price) -> Costs:
    """What an earlier session remembers of a chip."""
    return Costs({depth: cost for depth, cost in enumerate(price.costs) if depth}, 0)


def runs(cell: Cell, seeds: int, noise: Noise) -> Iterator[tuple[float, list[float]]]:
    """For each seed: time that the controller takes, and each fixed depth."""
    price = Price(CHIPS[cell.chip], *CONTEXTS[cell.context])
    for seed in range(seeds):
        written = text(cell, seed)
        depths = Adaptive(known(price) if cell.cached else None)
        yield (
            adaptive(depths, price, written, clock(noise, seed)),
            [fixed(price, written, depth) for depth in range(MOST + 1)],
        )


@dataclass(frozen=True)
class Score:
    """Throughput over plain decoding and over the best fixed depth: in the mean of the runs (the depth that is best in
    the mean), against the best depth of each run, and in the worst run."""

    plain: float
    best: float
    best_of_each: float
    worst_plain: float
    worst_best: float
    runs_below_plain: int  # runs below 0.98 of plain
    best_depth: int


def score(cell: Cell, seeds: int, noise: Noise = NOISE) -> Score:
    """Simulate a cell."""
    found = list(runs(cell, seeds, noise))
    plains = [by_depth[0] / ours for ours, by_depth in found]
    eachs = [min(by_depth) / ours for ours, by_depth in found]
    rates = [statistics.fmean(by_depth[0] / by_depth[depth] for _, by_depth in found) for depth in range(MOST + 1)]
    ours = statistics.fmean(plains)
    return Score(
        plain=ours,
        best=ours / max(rates),
        best_of_each=statistics.fmean(eachs),
        worst_plain=min(plains),
        worst_best=min(eachs),
        runs_below_plain=sum(plain < 0.98 for plain in plains),
        best_depth=rates.index(max(rates)),
    )


LONG = [  # answers in which the context grows to 32k
    Cell(chip, acceptance, 32768, context=context)
    for chip in ("M5 Max", "M1 Ultra", "M2 Pro")
    for acceptance in ("0.1", "0.7", "0.98", "alternating 200")
    for context in ("dear", "cheap")
]


GRIDS: dict[str, list[list[Cell]]] = {  # each list is a line of results
    grid: [
        [Cell(chip, acceptance, tokens, grid == "known") for chip in CHIPS for acceptance in ACCEPTANCE]
        for tokens in ANSWERS
    ]
    for grid in ("first", "known")  # without known costs, with them
} | {"growing": [LONG]}


def summary(scores: Sequence[tuple[Cell, Score]], seeds: int) -> dict[str, object]:
    """What holds: the lowest means and single runs, and every cell below a bar."""
    below = [(cell, score) for cell, score in scores if score.plain < PLAIN_BAR or score.best < BEST_BAR]
    return {
        "cells": len(scores),
        "seeds": seeds,
        "runs": len(scores) * seeds,
        "lowest_over_plain": round(min(score.plain for _, score in scores), 3),
        "lowest_over_best": round(min(score.best for _, score in scores), 3),
        "lowest_over_best_of_each_run": round(min(score.best_of_each for _, score in scores), 3),
        "mean_over_best": round(statistics.fmean(score.best for _, score in scores), 3),
        "worst_run_over_plain": round(min(score.worst_plain for _, score in scores), 3),
        "worst_run_over_best": round(min(score.worst_best for _, score in scores), 3),
        "runs_below_0.98_of_plain": sum(score.runs_below_plain for _, score in scores),
        "cells_below_0.95_of_best_of_each_run": sum(score.best_of_each < BEST_BAR for _, score in scores),
        "plain_best_worst_plain_best_depth": {
            f"{cell.chip}, {cell.acceptance}" + (f", {cell.context}" if cell.context != "short" else ""): [
                round(score.plain, 3),
                round(score.best, 3),
                round(score.worst_plain, 3),
                score.best_depth,
            ]
            for cell, score in scores
        },
        "cells_below_a_bar": [asdict(cell) | rounded(score) for cell, score in below],
    }


def rounded(score: Score) -> dict[str, float]:
    """A score to three places."""
    return {name: round(value, 3) for name, value in asdict(score).items()}


def main(arguments: Sequence[str]) -> None:
    """Simulate everything: a line for each length of answers, without known costs and with them, and one for contexts
    that grow."""
    parser = argparse.ArgumentParser(description="The choice of draft depths in simulation.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--grid", choices=sorted(GRIDS), help="only this one")
    parser.add_argument("--out", type=Path, help="append results to this file of JSON lines")
    given = parser.parse_args(arguments)
    shown = command("gemma_mlx.benchmarks.draft_depth", arguments)
    for name in [given.grid] if given.grid else GRIDS:
        for cells in GRIDS[name]:
            scores = [(cell, score(cell, given.seeds)) for cell in cells]
            fields = {"grid": name, "noise": asdict(NOISE), **summary(scores, given.seeds)}
            append(given.out, line("draft_depth", shown, fields))


if __name__ == "__main__":
    main(sys.argv[1:])
