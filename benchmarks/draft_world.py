"""A simulated world for the choice of draft depths: chips, texts, contexts and a clock.

A text has a chance at each of its tokens that a draft of it is right. What a round takes is known without noise; the
clock adds jitter and stalls. Sources of the chips' curves: published costs of 4-bit products by rows (M3 Max, M4 Pro,
M5 Max 70B), of whole passes over nine rows (M3 Pro, M2 Pro) and of whole rounds with three drafts (the others).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from gemma_mlx.generation.depth import MOST

_PLAIN_SECONDS = 0.05
_DRAFT = 0.04  # of a plain step, for one draft


def _rows(points: dict[int, float], draft: float = _DRAFT) -> tuple[float, ...]:
    """Rounds at depth 0 to MOST, from the cost of a pass by rows, with straight lines between; and the drafts."""
    rows = sorted({1: 1.0, **points}.items())

    def passes(row: int) -> float:
        for (left, low), (right, high) in pairwise(rows):
            if row <= right:
                return low + (high - low) * (row - left) / (right - left)
        return rows[-1][1] + (row - rows[-1][0]) * (rows[-1][1] - rows[-2][1]) / (rows[-1][0] - rows[-2][0])

    return tuple(passes(depth + 1) + draft * depth for depth in range(MOST + 1))


CHIPS = {  # cost of a round by depth, in plain steps
    "M5 Max": _rows({4: 1.28}, draft=0.0),  # whole rounds: with their drafts
    "M3 Ultra": _rows({4: 1.51}, draft=0.0),
    "M1 Ultra": _rows({4: 2.71}, draft=0.0),
    "M3 Max rows": _rows({2: 1.0, 4: 1.28, 6: 2.0, 8: 2.5, 9: 3.1}),
    "M4 Pro rows, low": _rows({2: 1.03, 3: 1.2, 4: 1.25, 6: 1.5, 8: 1.7}),
    "M4 Pro rows, high": _rows({2: 1.25, 3: 1.5, 4: 1.6, 6: 2.1, 8: 2.7}),
    "M3 Pro": _rows({9: 3.44}),
    "M2 Pro": _rows({9: 7.07}),
    "M2 Pro, step at 6 rows": _rows({5: 4.6, 6: 7.07, 9: 7.07}),
    "M5 Max 70B": _rows({3: 1.11, 5: 1.4, 8: 2.2}),
}


@dataclass(frozen=True)
class Text:
    """For each token: how many drafts would be accepted, of MOST, in a round that begins before it."""

    right: tuple[int, ...]

    def accepted(self, at: int, depth: int) -> int:
        """Drafts of a round that begins before token `at`."""
        return min(depth, self.right[at])


Chances = Callable[[int, random.Random], list[float]]


def constant(chance: float) -> Chances:
    """The same chance everywhere."""
    return lambda tokens, _: [chance] * tokens


def ramp(first: float, last: float) -> Chances:
    """From one chance to another over the whole answer."""
    return lambda tokens, _: [first + (last - first) * at / tokens for at in range(tokens)]


def steps(*chances: float) -> Chances:
    """Equal parts of the answer."""
    return lambda tokens, _: [chances[at * len(chances) // tokens] for at in range(tokens)]


def alternating(first: float, last: float, length: int) -> Chances:
    """Two chances in turn, each for so many tokens."""
    return lambda tokens, _: [(first, last)[at // length % 2] for at in range(tokens)]


def bursts(first: float, last: float, length: int) -> Chances:
    """Two chances in turn, each for a random number of tokens, `length` in the mean."""

    def chances(tokens: int, rng: random.Random) -> list[float]:
        good, found = rng.random() < 0.5, []
        for _ in range(tokens):
            good ^= rng.random() < 1 / length
            found.append((first, last)[good])
        return found

    return chances


@dataclass(frozen=True)
class Acceptance:
    """Chances of a text, and how they fall from draft to draft."""

    chances: Chances
    falloff: float = 1.0


ACCEPTANCE = {
    **{f"{chance}": Acceptance(constant(chance)) for chance in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)},
    **{f"{chance} falling": Acceptance(constant(chance), 0.86) for chance in (0.5, 0.71, 0.9)},
    **{f"bursts of {length}": Acceptance(bursts(0.2, 0.95, length)) for length in (10, 40)},
    "ramp up": Acceptance(ramp(0.1, 0.98)),
    "ramp down": Acceptance(ramp(0.98, 0.1)),
    "step up": Acceptance(steps(0.1, 0.98)),
    "step down": Acceptance(steps(0.98, 0.1)),
    "steps": Acceptance(steps(0.5, 0.9, 0.1, 0.7)),
    "alternating 64": Acceptance(alternating(0.98, 0.1, 64)),
    "alternating 200": Acceptance(alternating(0.3, 0.9, 200)),
}

CONTEXTS = {  # what 32,768 positions add to a plain step, and the share of it that each draft adds again
    "short": (0.0, 0.0),
    "dear": (0.5, 0.5),
    "cheap": (0.5, 0.0),
}


@dataclass(frozen=True)
class Noise:
    """What the clock adds: jitter (standard deviation) and rare stalls of 10 to 100 times."""

    jitter: float = 0.03
    stalls: float = 0.005

    def seconds(self, true: float, rng: random.Random) -> float:
        late = rng.uniform(10, 100) if rng.random() < self.stalls else 1.0
        return true * max(0.5, rng.gauss(1.0, self.jitter)) * late


@dataclass(frozen=True)
class Cell:
    """What is simulated: names of a chip and an acceptance, tokens; with costs known from before or not; what the
    context adds."""

    chip: str
    acceptance: str
    tokens: int
    cached: bool = False
    context: str = "short"


def text(cell: Cell, seed: int) -> Text:
    """The simulated text of a seed: a draft is right where luck is less than its chance, which falls from place to
    place. Luck belongs to the token, as a word that is hard to guess is hard at every place."""
    rng = random.Random(f"{cell.acceptance} {cell.tokens} {seed}")
    acceptance = ACCEPTANCE[cell.acceptance]
    chances = acceptance.chances(cell.tokens, rng)
    luck = [rng.random() for _ in chances]
    falls = [acceptance.falloff**place for place in range(MOST)]

    def right(at: int) -> int:
        places = zip(falls, chances[at : at + MOST], luck[at : at + MOST], strict=False)
        return next((place for place, (fall, chance, drawn) in enumerate(places) if drawn >= chance * fall), MOST)

    return Text(tuple(right(at) for at in range(cell.tokens)))


@dataclass(frozen=True)
class Price:
    """Plain steps at an empty context that a round takes: by depth, and by how much its context adds.

    `attention`: what 32,768 positions add to a plain step; `per_draft`: the share of that which every draft adds again.
    """

    costs: tuple[float, ...]
    attention: float = 0.0
    per_draft: float = 0.0

    def __call__(self, depth: int, position: int) -> float:
        return self.costs[depth] + self.attention * position / 32768 * (1 + self.per_draft * depth)


def clock(noise: Noise, seed: int) -> Callable[[float], float]:
    """Seconds that the controller sees of a true time in plain steps."""
    rng = random.Random(seed)
    return lambda true: _PLAIN_SECONDS * noise.seconds(true, rng)
