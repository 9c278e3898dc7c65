"""Costs of rounds: lines through what is known, corrections near what is measured, and stalls that change nothing."""

from itertools import pairwise

import pytest

from gemma_mlx.generation.costs import Costs, Stopwatch
from gemma_mlx.generation.depth import MOST


def watch(*rounds: tuple[int, float], known: Costs | None = None, position: int = 0) -> Stopwatch:
    found = Stopwatch(known or Costs())
    for depth, seconds in rounds:
        found.add(depth, seconds, position)
    return found


def test_the_known_are_joined_by_lines() -> None:
    curve = Costs({2: 1.2, 4: 1.6}).curve()
    assert curve == pytest.approx((1, 1.1, 1.2, 1.4, 1.6, 1.75, 1.9, 2.05, 2.2))


def test_nothing_known_is_a_line_too() -> None:
    curve = Costs().curve()
    assert len(curve) == MOST + 1
    assert curve[0] == 1
    assert {round(after - before, 6) for before, after in pairwise(curve)} == {0.25}


def test_deeper_is_never_cheaper() -> None:
    curve = Costs({1: 1.0, 2: 3.0, 3: 2.0}).curve()
    assert all(before < after for before, after in pairwise(curve))


def test_measured_ratios_stand_and_their_neighbours_follow() -> None:
    curve = watch((0, 0.1), (4, 0.14), known=Costs({1: 1.2, 8: 2.6})).curve
    assert curve[4] == pytest.approx(1.4)
    assert curve[2] == pytest.approx(1.2)
    assert curve[8] == pytest.approx(1.8)


def test_without_a_plain_step_the_known_ratios_give_it() -> None:
    known = Costs({2: 1.2, 8: 1.8})
    assert watch((4, 0.14), known=known).curve == pytest.approx(known.curve())


def test_the_median_of_the_last_five_counts() -> None:
    found = watch((0, 0.1), *[(1, 0.12)] * 9, *[(1, 0.13)] * 2)
    assert found.curve[1] == pytest.approx(1.2)
    found.add(1, 0.13, 0)
    assert found.curve[1] == pytest.approx(1.3)


def test_a_first_round_that_is_late_is_doubted_until_the_next() -> None:
    found = watch((0, 0.1), (2, 10.0))
    assert found.doubtful == {2}
    assert found.curve[2] == pytest.approx(1.5 * 1.5)
    assert found.costs() == Costs()
    found.add(2, 0.12, 0)
    assert not found.doubtful
    assert found.curve[2] == pytest.approx(1.2)


def test_a_plain_step_that_was_late_is_seen_by_shorter_rounds() -> None:
    assert watch((0, 5.0), (2, 0.12), (4, 0.14)).curve[4] < 1.25


def test_far_away_ratios_stay_and_seconds_go() -> None:
    found = watch((0, 0.1), (1, 0.12), (3, 0.16), position=10)
    assert found.costs() == Costs({1: 1.2, 3: 1.6}, 10)
    found.add(3, 0.32, 5000)
    assert found.costs().position == 5000
    assert found.curve[1] == pytest.approx(1.2)
    found.add(0, 0.16, 5001)
    assert found.curve[3] == pytest.approx(2.0)


def test_drafts_alone_say_no_ratio() -> None:
    assert watch((1, 0.1), (2, 0.2)).costs() == Costs()
