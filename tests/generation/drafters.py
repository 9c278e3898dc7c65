"""Drafters that say what a test wants, depths that change, and rounds that are noted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from gemma_mlx.config import FULL
from gemma_mlx.generation.depth import Depths, Round
from gemma_mlx.model.drafter import TargetMemory
from gemma_mlx.model.gemma import GemmaModel
from tests import tiny

Wrong = Callable[[int, int], bool]  # position of the round's newest token, number of the draft from 0
KINDS = ["sliding_attention", "full_attention"] * 2


def livelier_model() -> GemmaModel:
    """A tiny target that repeats itself less than others, so that equal ids say much."""
    return tiny.model(33, num_hidden_layers=len(KINDS), layer_types=KINDS)


def never(position: int, step: int) -> bool:
    return False


def always(position: int, step: int) -> bool:
    return True


def sometimes(seed: int, share: float) -> Wrong:
    """Wrong in this share of all drafts, by chance."""
    return lambda position, step: bool(np.random.default_rng([seed, position, step]).random() < share)


class Scripted:
    """Proposes what the target will say, `ids` from position `start` on, except where it is to be wrong."""

    def __init__(self, ids: Sequence[int], start: int, wrong: Wrong = never) -> None:
        self.ids, self.start, self.wrong = ids, start, wrong
        self.calls = 0
        self._position, self._step = -1, 0

    def __call__(
        self, embedding: mx.array, hidden: mx.array, memory: dict[str, TargetMemory]
    ) -> tuple[mx.array, mx.array]:
        self.calls += 1
        position = memory[FULL].offset
        self._step = self._step + 1 if position == self._position else 0
        self._position = position
        index = position + 1 + self._step - self.start
        token = self.ids[index] if index < len(self.ids) else 0
        if self.wrong(position, self._step):
            token = (token + 1) % tiny.VOCAB
        return mx.where(mx.arange(tiny.VOCAB) == token, 30.0, 0.0)[None, None], hidden


class Changing:
    """Another depth each round, none among them."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def choose(self, position: int) -> int:
        return int(self._rng.integers(0, 9))

    def record(self, done: Round) -> None:
        """Nothing to learn."""


class Listed:
    """These depths, one a round."""

    def __init__(self, depths: list[int]) -> None:
        self.depths, self.asked = depths, 0

    def choose(self, position: int) -> int:
        self.asked += 1
        return self.depths[self.asked - 1]

    def record(self, done: Round) -> None:
        """Nothing to learn."""


@dataclass
class Noted:
    """Chooses as `depths` do and keeps the rounds."""

    depths: Depths
    rounds: list[Round] = field(default_factory=list)

    def choose(self, position: int) -> int:
        return self.depths.choose(position)

    def record(self, done: Round) -> None:
        self.rounds.append(done)
