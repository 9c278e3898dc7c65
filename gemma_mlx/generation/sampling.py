"""How the next token is chosen from logits.

Knows logits, settings and keys: not models or text. Filters follow the order of transformers' generation: suppressed
tokens, temperature, top-k, top-p, min-p. Source: transformers `logits_process`, and the published
`generation_config.json` for the defaults.
"""

from dataclasses import dataclass, replace
from typing import Any

import mlx.core as mx

from gemma_mlx.errors import InputError

_GREEDY_BELOW = 1e-30  # logits divided by much less leave the range of float32


@dataclass(frozen=True)
class Sampler:
    """Sampling settings. `temperature` 0 is greedy; `top_k` 0, `top_p` 1 and `min_p` 0 switch a filter off.

    `suppress_tokens` are never chosen, greedy or not. Raises `InputError` for values out of range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    suppress_tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise InputError(f"temperature is {self.temperature}, expected 0 (greedy) to 100")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p is {self.top_p}, expected more than 0, at most 1 (off)")
        if self.top_k < 0:
            raise InputError(f"top-k is {self.top_k}, expected 0 (off) or more")
        if not 0 <= self.min_p <= 1:
            raise InputError(f"min-p is {self.min_p}, expected 0 (off) to 1")
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise InputError(f"seed is {self.seed}, expected 0 to 2^64 - 1")

    @classmethod
    def from_generation_config(cls, raw: dict[str, Any]) -> "Sampler":
        """Defaults of a checkpoint's `generation_config.json`."""
        given = {key: value for key, value in raw.items() if value is not None}
        greedy = not given.get("do_sample", False)
        return cls(
            temperature=0.0 if greedy else float(given.get("temperature", 1.0)),
            top_p=float(given.get("top_p", 1.0)),
            top_k=int(given.get("top_k", 0)),
            min_p=float(given.get("min_p", 0.0)),
            suppress_tokens=tuple(given.get("suppress_tokens", ())),
        )

    @property
    def greedy(self) -> bool:
        return self.temperature < _GREEDY_BELOW

    def with_seed(self, seed: int) -> "Sampler":
        """The same settings with this seed."""
        return replace(self, seed=seed)

    def sample(self, logits: mx.array, key: mx.array | None = None) -> mx.array:
        """Logits (1, n, vocab), suppressed ones already at -inf → ids (1, n). `key`: randomness, unused if greedy."""
        if self.greedy:
            return mx.argmax(logits, axis=-1)
        return mx.random.categorical(self.filtered(logits), key=key)

    def filtered(self, logits: mx.array) -> mx.array:
        """Logits after temperature and filters, excluded tokens at -inf: tokens are drawn from their softmax."""
        logits = logits.astype(mx.float32) / self.temperature
        vocab = logits.shape[-1]
        if 0 < self.top_k < vocab:
            logits = _keep(logits, logits >= mx.min(mx.topk(logits, self.top_k), axis=-1, keepdims=True))
        if self.top_p < 1:
            logits = _keep_top_p(logits, self.top_p)
        if self.min_p > 0:
            probabilities = mx.softmax(logits, axis=-1)
            floor = self.min_p * mx.max(probabilities, axis=-1, keepdims=True)
            logits = _keep(logits, probabilities >= floor)
        return logits


def suppression(tokens: tuple[int, ...], vocab_size: int) -> mx.array | None:
    """Bias (vocab,) float32 that takes `tokens` out of every choice: 0 and -inf. None without any.

    An id beyond the vocabulary cannot be chosen anyway; MLX does not check indices.
    """
    within = [token for token in tokens if 0 <= token < vocab_size]
    if not within:
        return None
    bias = mx.zeros((vocab_size,))
    bias[mx.array(within)] = -mx.inf
    return bias


def _keep(logits: mx.array, kept: mx.array) -> mx.array:
    return mx.where(kept, logits, -mx.inf)


def _keep_top_p(logits: mx.array, top_p: float) -> mx.array:
    """Keep the smallest set of likeliest tokens whose probability reaches `top_p`."""
    order = mx.argsort(-logits, axis=-1)
    probabilities = mx.take_along_axis(mx.softmax(logits, axis=-1), order, axis=-1)
    before = mx.cumsum(probabilities, axis=-1) - probabilities
    kept = mx.put_along_axis(mx.zeros(logits.shape, mx.bool_), order, before < top_p, axis=-1)
    return _keep(logits, kept)
