"""A model that is no faster than another machine's: each pass takes at least the time that it would take there.

A pass of L tokens takes as long as reading all weights once (`decode`) or as computing L tokens (`prefill`), whichever
is longer. What a machine does beside the network, and how it slows down with a longer context, is left out. Sources of
speeds: see those who choose them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import mlx.core as mx
import mlx.nn as nn

from gemma_mlx.loading import Gemma
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.model.masks import Block


@dataclass(frozen=True)
class Rate:
    """Tokens per second, above 0."""

    prefill: float
    decode: float

    def seconds(self, tokens: int) -> float:
        """The least time of a pass."""
        return max(1 / self.decode, tokens / self.prefill)


class Throttled(GemmaModel):
    """The same modules as another model's, so the same weights; passes are evaluated and last as long as `rate` says,
    or longer."""

    def __init__(
        self,
        model: GemmaModel,
        rate: Rate,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        nn.Module.__init__(self)  # not the model's own, which would draw weights
        for name, module in model.children().items():
            self[name] = module
        self.config, self._rate, self._clock, self._sleep = model.config, rate, clock, sleep

    def __call__(
        self, embeddings: mx.array, caches: Caches, blocks: Sequence[Block] = (), *, last: bool = False
    ) -> mx.array:
        due = self._clock() + self._rate.seconds(embeddings.shape[1])
        hidden = super().__call__(embeddings, caches, blocks, last=last)
        mx.eval(hidden, caches.arrays)  # what is left to be computed later would not count
        self._sleep(max(0.0, due - self._clock()))
        return hidden


def throttled(gemma: Gemma, rate: Rate) -> Gemma:
    """The same in slow; weights are shared."""
    return replace(gemma, model=Throttled(gemma.model, rate))
