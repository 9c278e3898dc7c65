"""The plain decode loop: one token a step, always one step ahead of what is yielded.

Knows the model, its caches and a sampler: not text, stops or conversations. While the caller handles a token, the
next one is already being computed.
"""

import secrets
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import mlx.core as mx

from gemma_mlx.errors import InputError
from gemma_mlx.generation.events import Token
from gemma_mlx.generation.sampling import Sampler, suppression
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.gemma import GemmaModel

CLEAR_EVERY = 256  # positions between returning freed buffers to the system


@dataclass(frozen=True)
class DecodeOptions:
    """How to decode: at most `max_tokens`, with the chosen tokens' log-probabilities if wanted."""

    sampler: Sampler
    max_tokens: int
    logprobs: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InputError(f"max-tokens is {self.max_tokens}, expected 1 or more")


def decode(model: GemmaModel, hidden: mx.array, caches: Caches, options: DecodeOptions) -> Generator[Token]:
    """Generate from `hidden` (1, 1, hidden), the state of the last position read.

    After k tokens were yielded the caches hold the prompt and k tokens; or k - 1 after the first, which is yielded
    before the second is begun, and after the last. Stop tokens are yielded like others: the caller decides where to
    stop.
    """
    steps = Steps(model, caches, options)
    first = steps.choose(hidden)
    yield first.token()  # at once: beginning a step waits for most of it, since MLX bounds the work in flight
    if options.max_tokens == 1:
        return
    for step in steps.run(first, lambda: caches.offset < steps.end):
        yield step.token()
        if caches.offset % CLEAR_EVERY == 0:
            mx.clear_cache()


@dataclass(frozen=True, eq=False)
class Step:
    """A token that is chosen but not read, perhaps still being computed: the state (1, 1, hidden) that it follows from,
    its id (1, 1), and its log-probability (1, 1) if wanted."""

    hidden: mx.array
    id: mx.array
    logprob: mx.array | None = None

    def token(self) -> Token:
        """Waits until it is there."""
        token = self.id.item()
        assert isinstance(token, int)
        return Token(token, None if self.logprob is None else self.logprob.item().real)


class Steps:
    """What all steps of one decoding share: the way from a hidden state to a chosen token, and the draws' keys."""

    def __init__(self, model: GemmaModel, caches: Caches, options: DecodeOptions) -> None:
        self.model, self.caches, self.options = model, caches, options
        self.start = caches.offset
        self.end = self.start + options.max_tokens - 1  # where the caches end at most: the last token is not read
        self._bias = suppression(options.sampler.suppress_tokens, model.config.text_config.vocab_size)
        seed = options.sampler.seed
        key = mx.random.key(secrets.randbits(32) if seed is None else seed)
        self._places, self._key = mx.random.split(key)  # of draws at a position, and of others

    def run(self, newest: Step, another: Callable[[], bool]) -> Iterator[Step]:
        """The step after `newest`, and more as long as `another` says so. When a step is handed on, the one after it
        has begun; the last one has no follower, and its token is not read."""
        current = self.step(newest)
        while another():
            following = self.step(current)
            yield current
            current = following
        yield current

    def step(self, newest: Step) -> Step:
        """Read the newest token and choose the one after it."""
        return self.choose(self.model(self.model.embed_text(newest.id), self.caches))

    def choose(self, hidden: mx.array) -> Step:
        """Begin to compute the token after `hidden` (1, 1, hidden)."""
        sampler = self.options.sampler
        logits = self.suppressed(self.model.logits(hidden))
        token = sampler.sample(logits, None if sampler.greedy else self.key_at(self.caches.offset))
        step = Step(hidden, token, self.logprobs(logits, token) if self.options.logprobs else None)
        mx.async_eval(token if step.logprob is None else (token, step.logprob))
        return step

    def suppressed(self, logits: mx.array) -> mx.array:
        """Logits (1, n, vocab), of the target or the drafter, with what is never chosen at -inf."""
        return logits if self._bias is None else logits + self._bias

    def logprobs(self, logits: mx.array, tokens: mx.array) -> mx.array:
        """Natural logarithms (1, n) of the probabilities of `tokens` (1, n) under suppressed logits (1, n, vocab)."""
        logits = logits.astype(mx.float32)
        chosen = mx.take_along_axis(logits, tokens[..., None], axis=-1).squeeze(-1)
        return chosen - mx.logsumexp(logits, axis=-1)

    def key_at(self, position: int) -> mx.array:
        """The key for the token that follows `position` positions: the same whoever draws, and in whichever round."""
        return self._places + mx.array([0, position - self.start], mx.uint32)

    def key(self) -> mx.array:
        """A new key for one draw."""
        self._key, key = mx.random.split(self._key)
        return key
