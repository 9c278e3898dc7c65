"""The speculative decode loop: the drafter proposes tokens, the target reads all of them in one pass and keeps what it
would have said itself.

A round starts from the newest token, which the caches do not hold yet, and the state that it follows from. Yields what
the plain loop yields: the same tokens if greedy, the same distribution if sampled. Knows neither text nor what a depth
costs: `depth.py` chooses depths. Source: google/gemma-4-12B-it-assistant; `acceptance.py` for sampling.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from gemma_mlx.generation.acceptance import Accepted, accept_drawn, accept_equal, accept_greedy
from gemma_mlx.generation.depth import Depths, Round
from gemma_mlx.generation.events import Token
from gemma_mlx.generation.loop import CLEAR_EVERY, DecodeOptions, Step, Steps
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.drafter import TargetMemory, target_memory
from gemma_mlx.model.gemma import GemmaModel

DraftStep = Callable[
    [mx.array, mx.array, dict[str, TargetMemory]], tuple[mx.array, mx.array]
]  # as a `Drafter` is called


@dataclass(frozen=True)
class Drafting:
    """Who proposes, and how far."""

    drafter: DraftStep
    depths: Depths


@dataclass(frozen=True, eq=False)
class Drafts:
    """Proposed ids (1, k); if sampled, the logits (1, k, vocab) whose softmax they were drawn from."""

    ids: mx.array
    filtered: mx.array | None


@dataclass(frozen=True, eq=False)
class Block:
    """What a round won: the accepted drafts and the target's own token, which is the newest now."""

    tokens: list[Token]
    newest: Step

    @property
    def accepted(self) -> int:
        return len(self.tokens) - 1


def decode_speculative(
    model: GemmaModel, hidden: mx.array, caches: Caches, options: DecodeOptions, drafting: Drafting
) -> Generator[Token]:
    """Generate from `hidden` (1, 1, hidden), the state of the last position read, as `loop.decode` does.

    The caches never pass `max_tokens` positions beyond the prompt. After k tokens were yielded they hold k - 1 of them,
    or more: those of the round that are still to be yielded, up to its depth; one if it was a plain step. The caller
    takes back what it does not want.
    """
    steps = Steps(model, caches, options)
    newest = steps.choose(hidden)
    first = newest.token()
    pace = _Pace(steps, drafting.depths)
    yield first
    pace.choose()
    won: list[Token] = []
    while pace.depth is not None:
        if pace.depth == 0:
            yield from won
            won = []
            for step in steps.run(newest, lambda: pace.choose() == 0):
                newest, token = step, step.token()
                pace.record(0, 0)
                yield token
        else:
            drafts = propose(steps, drafting.drafter, newest, pace.depth)
            yield from won  # while the device drafts
            block = verify(steps, newest, drafts)
            pace.record(pace.depth, block.accepted)
            newest, won = block.newest, block.tokens
            pace.choose()
    yield from won


class _Pace:
    """The depth of the next round, and the clock of those that are done."""

    def __init__(self, steps: Steps, depths: Depths) -> None:
        self.depth: int | None = None  # None: no token is left to be won
        self._steps, self._depths = steps, depths
        self._position, self._ready = steps.caches.offset, time.perf_counter()

    def choose(self) -> int | None:
        """Look ahead: at most as many drafts as tokens may follow beside the target's own."""
        position = self._steps.caches.offset
        left = self._steps.end - position
        self.depth = min(self._depths.choose(position), left - 1) if left else None
        return self.depth

    def record(self, depth: int, accepted: int) -> None:
        """The tokens of a round are there."""
        now, position = time.perf_counter(), self._position
        self._depths.record(Round(depth, accepted, now - self._ready, position))
        self._ready, self._position = now, position + accepted + 1
        if self._position // CLEAR_EVERY > position // CLEAR_EVERY:
            mx.clear_cache()


def propose(steps: Steps, drafter: DraftStep, newest: Step, depth: int) -> Drafts:
    """Begin to compute `depth` drafts, 1 or more: each follows from the one before, all see the same memory."""
    sampler, memory, start = steps.options.sampler, target_memory(steps.caches), steps.caches.offset + 1
    ids, filtered = [newest.id], []
    hidden = newest.hidden
    for position in range(start, start + depth):
        logits, hidden = drafter(steps.model.embed_text(ids[-1]), hidden, memory)
        logits = steps.suppressed(logits)
        if sampler.greedy:
            ids.append(mx.argmax(logits, axis=-1))
        else:
            filtered.append(sampler.filtered(logits))
            key = steps.key() if sampler.seed is None else steps.key_at(position)
            ids.append(mx.random.categorical(filtered[-1], key=key))
        mx.async_eval(ids[-1])  # the device is at work while Python builds the next step, then the target's pass
    return Drafts(mx.concatenate(ids[1:], axis=1), mx.concatenate(filtered, axis=1) if filtered else None)


def verify(steps: Steps, newest: Step, drafts: Drafts) -> Block:
    """Read the newest token and the drafts in one pass; the caches keep it and the accepted ones."""
    read = mx.concatenate([newest.id, drafts.ids], axis=1)
    start = steps.caches.offset + 1
    hidden = steps.model(steps.model.embed_text(read), steps.caches)
    logits = steps.suppressed(steps.model.logits(hidden))
    count, tokens = _accept(steps, drafts, logits, start)
    logprobs = steps.logprobs(logits, tokens) if steps.options.logprobs else None
    mx.eval(count, tokens, logprobs)  # the one time that a round waits: how far the caches go back depends on it
    accepted = int(np.array(count)[0])
    steps.caches.trim(drafts.ids.shape[1] - accepted)
    last = slice(accepted, accepted + 1)
    return Block(_tokens(tokens, logprobs, accepted + 1), Step(hidden[:, last], tokens[:, last]))


def _tokens(ids: mx.array, logprobs: mx.array | None, count: int) -> list[Token]:
    first = np.array(ids)[0, :count].tolist()
    if logprobs is None:
        return [Token(token) for token in first]
    return [Token(*each) for each in zip(first, np.array(logprobs)[0].tolist(), strict=False)]


def _accept(steps: Steps, drafts: Drafts, logits: mx.array, start: int) -> Accepted:
    """Greedy, or drawn by rejection. With a seed, the target draws for itself what the plain loop would, and a draft
    that was drawn with the same numbers stands if it is equal: so a seed gives the same tokens at any depth."""
    sampler = steps.options.sampler
    if drafts.filtered is None:
        return accept_greedy(drafts.ids, logits)
    filtered = sampler.filtered(logits)
    if sampler.seed is not None:
        rows = range(filtered.shape[1])
        own = [mx.random.categorical(filtered[:, row : row + 1], key=steps.key_at(start + row)) for row in rows]
        return accept_equal(drafts.ids, mx.concatenate(own, axis=1))
    p, q = (mx.softmax(each, axis=-1) for each in (filtered, drafts.filtered))
    return accept_drawn(drafts.ids, q, p, mx.random.uniform(shape=drafts.ids.shape, key=steps.key()), steps.key())
