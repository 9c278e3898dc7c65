"""Slow, obvious numpy: what a mask, an attention and a rotary embedding are, one pair of positions at a time.

Independent of the package and of any other implementation; everything in float64.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def causal(q: int, k: int) -> bool:
    """Full-attention layers: may the query at `q` look at the key at `k`?"""
    return k <= q


def visible(q: int, k: int, blocks: Sequence[tuple[int, int]], window: int) -> bool:
    """Sliding layers: (causal OR both in one image) AND closer than the window. `blocks`: [start, end) of images."""
    together = any(start <= q < end and start <= k < end for start, end in blocks)
    return (k <= q or together) and abs(q - k) < window


def mask(length: int, rule: Callable[[int, int], bool]) -> NDArray[np.bool_]:
    """(length, length): `rule(q, k)` for every pair."""
    return np.array([[rule(q, k) for k in range(length)] for q in range(length)])


def attention(queries: Floats, keys: Floats, values: Floats, seen: NDArray[np.bool_]) -> Floats:
    """(heads, L, d), (kv_heads, n, d) twice, bool (L, n) → (heads, L, d). Scale 1; heads share keys in groups."""
    group = queries.shape[0] // keys.shape[0]
    out = np.zeros_like(queries)
    for head in range(queries.shape[0]):
        for q in range(queries.shape[1]):
            chosen = np.flatnonzero(seen[q])
            scores = keys[head // group, chosen] @ queries[head, q]
            weights = np.exp(scores - scores.max())
            out[head, q] = weights @ values[head // group, chosen] / weights.sum()
    return out


def rope_default(x: Floats, position: int, theta: float) -> Floats:
    """Rotate one vector (d,): the pair (i, i + d/2) turns by position · theta^(-2i/d)."""
    return _rotate(x, position, theta, len(x) // 2)


def rope_proportional(x: Floats, position: int, theta: float, share: float) -> Floats:
    """The same pairs and angles, but only the first `share` of the pairs turn."""
    return _rotate(x, position, theta, int(share * len(x) / 2))


def rms_norm(x: Floats, eps: float, weight: Floats | float = 1.0) -> Floats:
    """Over the last axis; the weight multiplies as it is."""
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) * weight


def _rotate(x: Floats, position: int, theta: float, pairs: int) -> Floats:
    half = len(x) // 2
    out = x.copy()
    for i in range(pairs):
        angle = position * theta ** (-2 * i / len(x))
        out[i] = x[i] * np.cos(angle) - x[i + half] * np.sin(angle)
        out[i + half] = x[i + half] * np.cos(angle) + x[i] * np.sin(angle)
    return out
