"""The depth that pays: from what rounds cost and how many drafts are accepted, never at the cost of plain decoding.

Each round goes to the depth that promises most tokens per time. Estimates lean to the bright side, so that what is not
known is tried; an allowance bounds what trying may lose, so that it never loses much. Pure and deterministic: knows
depths, counts and seconds, no clock, no model, no file.
"""

from gemma_mlx.generation.costs import Costs, Stopwatch
from gemma_mlx.generation.depth import MOST, Round

_ALLOWANCE = 2.0  # plain steps that trying may lose at the start
_INCOME = 0.01  # and for every token
_SAVINGS = 12.0  # the most of them that is kept, of gains too, for losses to come
_HOPE, _HOPE_WEIGHT = 0.9, 2.0  # acceptance before the first drafts, and how many drafts that counts for
_MEMORY = 0.95  # of what is known of acceptance after a round
_REST_MEMORY = 0.99  # and after a plain step
_PLAIN_SOON, _PLAIN_EVERY = 64, 512  # tokens from the first measured plain step to the next, and from then on


class Acceptance:
    """How probably the draft at each place of a block is accepted, if those before it are."""

    def __init__(self) -> None:
        self._tried, self._right = [0.0] * MOST, [0.0] * MOST

    def add(self, depth: int, accepted: int) -> None:
        """Take a round: drafts after the first wrong one say nothing."""
        memory = _MEMORY if depth else _REST_MEMORY
        for place in range(MOST):
            self._tried[place] *= memory
            self._right[place] *= memory
        for place in range(min(depth, accepted + 1)):
            self._tried[place] += 1
            self._right[place] += place < accepted

    def tokens(self) -> list[float]:
        """Tokens that a round at depth 0 to MOST promises. A place leans on the one before it."""
        found, reached, hope = [1.0], 1.0, _HOPE
        for tried, right in zip(self._tried, self._right, strict=True):
            hope = (right + hope * _HOPE_WEIGHT) / (tried + _HOPE_WEIGHT)
            reached *= hope
            found.append(found[-1] + reached)
        return found


class Adaptive:
    """Implements `Depths`. `costs`: what is known of this machine and model, if anything is."""

    def __init__(self, costs: Costs | None = None) -> None:
        self._stopwatch = Stopwatch(costs or Costs())
        self._acceptance = Acceptance()
        self._allowance = _ALLOWANCE
        self._deepest = max(costs.ratios, default=0) if costs else 0
        self._won = 0  # tokens
        self._plain_due = _PLAIN_SOON if self._deepest else 0  # when so many are won

    @property
    def costs(self) -> Costs:
        """What rounds cost here as far as it is known, to be remembered for the next time."""
        return self._stopwatch.costs()

    def choose(self, position: int) -> int:
        """Depth of the next round, 0 to MOST. To be asked once a round; the last round may not be recorded yet."""
        if self._won >= self._plain_due:
            self._plain_due = self._won + (_PLAIN_SOON if self._won < _PLAIN_SOON else _PLAIN_EVERY)
            return 0
        curve, tokens = self._stopwatch.curve, self._acceptance.tokens()
        reach = min(MOST, 2 * self._deepest + 2)
        affordable = [depth for depth in range(reach + 1) if curve[depth] - 1 <= self._allowance or not depth]
        again = self._stopwatch.doubtful.intersection(affordable)
        return max(again or affordable, key=lambda depth: tokens[depth] / curve[depth])

    def record(self, done: Round) -> None:
        """Learn from the last round."""
        self._stopwatch.add(done.depth, done.seconds, done.position)
        self._acceptance.add(done.depth, done.accepted)
        self._deepest = max(self._deepest, done.depth)
        tokens = done.accepted + 1
        self._won += tokens
        gain = tokens - self._stopwatch.curve[done.depth]
        self._allowance = min(_SAVINGS, self._allowance + gain + _INCOME * tokens)
