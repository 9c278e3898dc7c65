"""The plain decode loop: one token a step, always one step ahead of what is yielded.

Knows the model, its caches and a sampler: not text, stops or conversations. While the caller handles a token, the
next one is already being computed.
"""

import secrets
from collections.abc import Generator
from dataclasses import dataclass

import mlx.core as mx

from gemma_mlx.errors import InputError
from gemma_mlx.generation.events import Token
from gemma_mlx.generation.sampling import Sampler, suppression
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.gemma import GemmaModel

_CLEAR_EVERY = 256  # steps between returning freed buffers to the system


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
    steps = _steps(model, hidden, caches, options)
    current = next(steps)
    yield _token(current)  # at once: beginning a step waits for most of it, since MLX bounds the work in flight
    if options.max_tokens > 1:
        current = next(steps)
    for count in range(2, options.max_tokens + 1):
        following = next(steps) if count < options.max_tokens else current
        yield _token(current)
        current = following
        if count % _CLEAR_EVERY == 0:
            mx.clear_cache()


def _steps(
    model: GemmaModel, hidden: mx.array, caches: Caches, options: DecodeOptions
) -> Generator[tuple[mx.array, ...]]:
    """Steps that have begun: ids (1, 1), and log-probabilities if wanted."""
    bias = suppression(options.sampler.suppress_tokens, model.config.text_config.vocab_size)
    key = None if options.sampler.greedy else _first_key(options.sampler.seed)
    while True:
        step, key = _choose(model, hidden, bias, key, options)
        mx.async_eval(step)
        yield step
        hidden = model(model.embed_text(step[0]), caches)


def _token(step: tuple[mx.array, ...]) -> Token:
    token, *logprob = (array.item() for array in step)
    assert isinstance(token, int)
    return Token(token, logprob[0].real if logprob else None)


def _first_key(seed: int | None) -> mx.array:
    return mx.random.key(secrets.randbits(32) if seed is None else seed)


def _choose(
    model: GemmaModel, hidden: mx.array, bias: mx.array | None, key: mx.array | None, options: DecodeOptions
) -> tuple[tuple[mx.array, ...], mx.array | None]:
    """The next id (1, 1), its log-probability if wanted, and the key for the step after."""
    logits = model.logits(hidden)
    if bias is not None:
        logits = logits + bias
    draw = None
    if key is not None:
        key, draw = mx.random.split(key)
    token = options.sampler.sample(logits, draw)
    if not options.logprobs:
        return (token,), key
    chosen = mx.take_along_axis(logits.astype(mx.float32), token[..., None], axis=-1)
    return (token, (chosen - mx.logsumexp(logits.astype(mx.float32), axis=-1, keepdims=True)).squeeze()), key
