"""How the next token is chosen from logits.

Knows logits, settings and keys: not models or text. Filters follow the order of transformers' generation: suppressed
tokens, temperature, top-k, top-p, min-p. Source: transformers `logits_process`, and the published
`generation_config.json` for the defaults.
"""

from dataclasses import dataclass

import mlx.core as mx

from gemma_mlx.errors import InputError
from gemma_mlx.fields import Fields

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
    def from_generation_config(cls, fields: Fields) -> "Sampler":
        """Defaults of a checkpoint's `generation_config.json`. Raises `ConfigError` for values of the wrong type."""
        sampled = fields.flag("do_sample")
        return cls(
            temperature=fields.number("temperature", 1.0, zero=True) if sampled else 0.0,
            top_p=fields.number("top_p", 1.0),
            top_k=fields.integer("top_k", 0, least=0),
            min_p=fields.number("min_p", 0.0, zero=True),
            suppress_tokens=fields.ids("suppress_tokens"),
        )

    @property
    def greedy(self) -> bool:
        return self.temperature < _GREEDY_BELOW

    def sample(self, logits: mx.array, key: mx.array | None = None) -> mx.array:
        """Logits (1, n, vocab), suppressed ones already at -inf → ids (1, n). `key`: randomness, unused if greedy."""
        if self.greedy:
            return mx.argmax(logits, axis=-1)
        return mx.random.categorical(self.filtered(logits), key=key)

    def filtered(self, logits: mx.array) -> mx.array:
        """Logits after temperature and filters, excluded tokens at -inf: tokens are drawn from their softmax."""
        logits = likeliest = logits.astype(mx.float32) / self.temperature
        if 0 < self.top_k < logits.shape[-1]:
            likeliest = mx.topk(logits, self.top_k)
            logits = _keep(logits, logits >= mx.min(likeliest, axis=-1, keepdims=True))
        if self.top_p < 1:
            logits = _keep(logits, logits >= _top_p_floor(likeliest, self.top_p))
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


def _top_p_floor(logits: mx.array, top_p: float) -> mx.array:
    """Smallest logit of the smallest set of likeliest tokens whose probability reaches `top_p`; equal ones stay too."""
    descending = -mx.sort(-logits, axis=-1)
    probabilities = mx.softmax(descending, axis=-1)
    before = mx.cumsum(probabilities, axis=-1) - probabilities
    return mx.min(mx.where(before < top_p, descending, mx.inf), axis=-1, keepdims=True)
