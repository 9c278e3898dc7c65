"""The choice of depths: rests and comes back, is bounded, is a function of its inputs, and stands stalls."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from gemma_mlx.generation.adaptive import Adaptive
from gemma_mlx.generation.costs import Costs
from gemma_mlx.generation.depth import MOST, Counted, Depths, Fixed, Round
from gemma_mlx.generation.events import Draft

CHEAP = tuple(1 + 0.1 * depth for depth in range(MOST + 1))
DEAR = tuple(1 + 0.76 * depth for depth in range(MOST + 1))
Seconds = Callable[[int, int], float]  # of a depth and the number of the round


@dataclass(frozen=True)
class Capped:
    """Never more drafts than `most`, as the loop does near the end of an answer."""

    depths: Depths
    most: int

    def choose(self, position: int) -> int:
        return min(self.most, self.depths.choose(position))

    def record(self, done: Round) -> None:
        self.depths.record(done)


def play(
    depths: Depths, rounds: int, seconds: Seconds, chance: float, rng: random.Random, start: int = 0
) -> list[Round]:
    """Rounds in which every draft has the same chance."""
    done, position = [], start
    for number in range(rounds):
        depth = depths.choose(position)
        accepted = next((place for place in range(depth) if rng.random() >= chance), depth)
        done.append(Round(depth, accepted, seconds(depth, number), position))
        depths.record(done[-1])
        position += accepted + 1
    return done


def steady(costs: tuple[float, ...]) -> Seconds:
    return lambda depth, _: 0.05 * costs[depth]


def mean_depth(rounds: list[Round]) -> float:
    return sum(done.depth for done in rounds) / len(rounds)


def tokens_over_time(rounds: list[Round]) -> float:
    return 0.05 * sum(done.accepted + 1 for done in rounds) / sum(done.seconds for done in rounds)


def test_begins_with_a_plain_step_and_a_shallow_round() -> None:
    done = play(Adaptive(), 3, steady(CHEAP), 1.0, random.Random(0))
    assert [each.depth for each in done] == [0, 2, 6]


def test_known_costs_are_used_at_once() -> None:
    cheap = Costs({depth: CHEAP[depth] for depth in range(1, MOST + 1)})
    dear = Costs({depth: 3.0 * DEAR[depth] for depth in range(1, MOST + 1)})
    assert Adaptive(cheap).choose(0) == MOST
    assert Adaptive(dear).choose(0) == 0


def test_known_costs_of_some_depths_are_enough() -> None:
    assert Adaptive(Costs({3: 1.28})).choose(0) == MOST


def test_wrong_known_costs_are_found_out() -> None:
    believed = Costs({depth: CHEAP[depth] for depth in range(1, MOST + 1)})
    depths = Adaptive(believed)
    play(depths, 300, steady(DEAR), 0.3, random.Random(1))
    late = play(depths, 500, steady(DEAR), 0.3, random.Random(2))
    assert tokens_over_time(late) > 0.98


@pytest.mark.parametrize("costs", [CHEAP, DEAR])
@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_never_beyond_the_most(costs: tuple[float, ...], chance: float) -> None:
    done = play(Adaptive(), 500, steady(costs), chance, random.Random(3))
    assert all(0 <= each.depth <= MOST for each in done)


def test_rests_and_comes_back() -> None:
    depths, rng = Adaptive(), random.Random(4)
    costs = steady(tuple(1 + 0.5 * depth for depth in range(MOST + 1)))
    play(depths, 200, costs, 0.05, rng)
    resting = play(depths, 300, costs, 0.05, rng)
    assert mean_depth(resting) < 0.1
    play(depths, 300, costs, 0.95, rng)
    back = play(depths, 100, costs, 0.95, rng)
    assert mean_depth(back) > 3
    assert tokens_over_time(back) > 1.3


def test_comes_back_within_a_hundred_tokens_where_drafts_are_cheap() -> None:
    depths, rng = Adaptive(), random.Random(5)
    play(depths, 500, steady(CHEAP), 0.0, rng)
    play(depths, 60, steady(CHEAP), 0.95, rng)
    assert mean_depth(play(depths, 50, steady(CHEAP), 0.95, rng)) > 5


def test_goes_as_deep_as_everything_pays() -> None:
    done = play(Adaptive(), 100, steady(CHEAP), 1.0, random.Random(6))
    assert mean_depth(done[-50:]) > MOST - 0.5


def test_what_trying_loses_is_bounded_at_every_moment() -> None:
    time = 0.0
    for tokens, each in enumerate(play(Adaptive(), 3000, steady(DEAR), 0.0, random.Random(7)), start=1):
        time += each.seconds / 0.05
        assert time - tokens < 4 + 0.01 * tokens


def test_what_is_gained_is_not_all_risked() -> None:
    depths, rng = Adaptive(), random.Random(8)
    play(depths, 1000, steady(CHEAP), 0.98, rng)
    lost = sum(each.seconds / 0.05 - each.accepted - 1 for each in play(depths, 1000, steady(CHEAP), 0.0, rng))
    assert lost < 25


def test_same_inputs_same_depths() -> None:
    first, second = (
        play(Adaptive(), 400, lambda depth, n: 0.05 * DEAR[depth] * (1 + n % 7 / 50), 0.8, random.Random(9))
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("stalled", [{0}, {1}, {2}, {0, 1}, set(range(0, 400, 13))])
def test_stalls_are_forgotten(stalled: set[int], seed: int) -> None:
    depths, rng = Adaptive(), random.Random(seed)
    play(depths, 150, lambda depth, n: 0.05 * CHEAP[depth] * (50 if n in stalled else 1), 0.9, rng)
    assert tokens_over_time(play(depths, 200, steady(CHEAP), 0.9, rng)) > 2.6


def test_the_first_round_at_every_depth_may_be_slow() -> None:
    seen: set[int] = set()

    def seconds(depth: int, _: int) -> float:
        first = depth not in seen
        seen.add(depth)
        return 0.05 * CHEAP[depth] * (20 if first else 1)

    depths, rng = Adaptive(), random.Random(10)
    play(depths, 100, seconds, 0.95, rng)
    assert tokens_over_time(play(depths, 100, seconds, 0.95, rng)) > 3


@pytest.mark.parametrize("most", [0, 1, 3])
def test_fewer_drafts_than_chosen_are_fine(most: int) -> None:
    done = play(Capped(Adaptive(), most), 300, steady(CHEAP), 0.9, random.Random(11))
    assert max(each.depth for each in done) == most
    assert mean_depth(done[100:]) > most - 0.5


def test_costs_that_change_with_the_context_are_measured_again() -> None:
    depths, rng = Adaptive(), random.Random(12)
    play(depths, 200, steady(CHEAP), 0.6, rng)
    assert mean_depth(play(depths, 50, steady(CHEAP), 0.6, rng, start=1000)) > 1.5
    play(depths, 300, steady(DEAR), 0.6, rng, start=30_000)
    late = play(depths, 300, steady(DEAR), 0.6, rng, start=30_300)
    assert mean_depth(late) < 0.2


def test_costs_are_what_was_measured() -> None:
    depths = Adaptive()
    assert depths.costs == Costs()
    play(depths, 200, steady(CHEAP), 0.9, random.Random(13), start=500)
    known = depths.costs
    assert known.position == 500
    assert set(known.ratios) <= set(range(1, MOST + 1))
    assert all(ratio == pytest.approx(CHEAP[depth], rel=0.03) for depth, ratio in known.ratios.items())


def test_a_fixed_depth_stays() -> None:
    assert [done.depth for done in play(Fixed(3), 4, steady(CHEAP), 0.5, random.Random(14))] == [3] * 4


def test_counted_counts_rounds_with_drafts_and_hands_everything_on() -> None:
    plain, counted = Adaptive(), Counted(Adaptive())
    assert counted.draft == Draft()
    done = play(counted, 100, steady(CHEAP), 0.7, random.Random(15))
    assert done == play(plain, 100, steady(CHEAP), 0.7, random.Random(15))
    drafted = [each for each in done if each.depth]
    assert 0 < len(drafted) < len(done)
    assert counted.draft == Draft(
        len(drafted), sum(each.depth for each in drafted), sum(each.accepted for each in drafted)
    )
