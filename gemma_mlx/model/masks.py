"""Which earlier positions a position may look at.

Full-attention layers are causal, always. Sliding layers: (causal OR same image block) AND |q − k| < window, so the
patches of one image or video frame see each other in both directions, but never beyond the window.
Knows positions only: no weights, no caches. Source: google-deepmind/gemma, `gm/nn/gemma4/_modules.py` and `_config.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx

Block = tuple[int, int]  # [start, end) of an image, counted from the first position of the piece
Mask = mx.array | Literal["causal"] | None


@dataclass(frozen=True)
class Masks:
    """Masks of one piece, as `scaled_dot_product_attention` takes them: None, "causal" or bool (L, keys)."""

    sliding: Mask
    full: Mask


def piece_masks(length: int, offset: int, window: int, blocks: Sequence[Block] = ()) -> Masks:
    """Masks for `length` queries at positions offset … offset + length - 1.

    Sliding layers see the last `min(offset, window - 1)` positions before the piece and the piece itself; full layers
    see everything from position 0.
    """
    if length == 1:
        return Masks(None, None)
    if not blocks and offset + length <= window:
        return Masks("causal", "causal")
    return Masks(sliding_mask(length, min(offset, window - 1), window, blocks), "causal")


def last_row(mask: Mask) -> Mask:
    """Of the same piece, for its last query alone: a causal one sees everything."""
    return mask[-1:] if isinstance(mask, mx.array) else None


def sliding_mask(length: int, before: int, window: int, blocks: Sequence[Block]) -> mx.array:
    """Bool (length, before + length): True where the query may look. `before` keys precede the piece."""
    queries = mx.arange(length)[:, None]
    keys = mx.arange(-before, length)[None]
    visible = queries >= keys
    for start, end in blocks:
        visible = visible | ((queries >= start) & (queries < end) & (keys >= start) & (keys < end))
    return visible & (mx.abs(queries - keys) < window)
