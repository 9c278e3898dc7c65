"""Masks against a double loop over positions."""

import random
from itertools import pairwise

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from gemma_mlx.model.masks import Block, Mask, piece_masks, sliding_mask
from tests import oracles

WINDOW = 5


def spelled_out(mask: Mask, length: int, keys: int) -> NDArray[np.bool_]:
    """What attention makes of a mask: bool (length, keys); the last query stands at the last key."""
    if mask is None:
        return np.ones((length, keys), bool)
    if isinstance(mask, str):
        assert mask == "causal"
        return np.array([[k <= keys - length + q for k in range(keys)] for q in range(length)])
    assert mask.dtype == mx.bool_
    assert mask.shape == (length, keys)
    return np.array(mask)


def check(cuts: list[int], window: int, blocks: list[Block]) -> None:
    """Every piece of a sequence cut at `cuts` sees what it sees of the whole one; `blocks` lie inside pieces."""
    total = cuts[-1]
    full = oracles.mask(total, oracles.causal)
    sliding = oracles.mask(total, lambda q, k: oracles.visible(q, k, blocks, window))
    for start, end in pairwise(cuts):
        inside = [(a - start, b - start) for a, b in blocks if start <= a and b <= end]
        masks = piece_masks(end - start, start, window, inside)
        first = max(0, start - (window - 1))
        assert not sliding[start:end, :first].any()  # nothing that the cache may drop
        assert np.array_equal(spelled_out(masks.full, end - start, end), full[start:end, :end])
        assert np.array_equal(spelled_out(masks.sliding, end - start, end - first), sliding[start:end, first:end])


@pytest.mark.parametrize("window", [1, 2, WINDOW])
@pytest.mark.parametrize("offset", range(2 * WINDOW + 2))
def test_every_short_piece_at_every_short_offset(offset: int, window: int) -> None:
    for length in range(1, 2 * WINDOW + 2):
        check([0, offset, offset + length] if offset else [0, length], window, [])


@pytest.mark.parametrize(
    ("cuts", "blocks"),
    [
        ([0, 1], [(0, 1)]),  # one patch
        ([0, 4], [(0, 4)]),
        ([0, WINDOW], [(0, WINDOW)]),
        ([0, 3 * WINDOW], [(0, 3 * WINDOW)]),  # longer than the window
        ([0, 20], [(4, 18)]),  # longer than the window, text on both sides
        ([0, 3, 8, 11], [(3, 8)]),  # a piece of its own
        ([0, 7, 14, 20], [(2, 7), (7, 11), (14, 16)]),  # both edges of a piece; two neighbours
        ([0, 30], [(0, 2), (2, 4), (10, 20), (29, 30)]),
        ([0, 12, 13, 24], [(12, 13)]),
    ],
)
def test_images(cuts: list[int], blocks: list[Block]) -> None:
    check(cuts, WINDOW, blocks)


@pytest.mark.parametrize("seed", range(20))
def test_random_sequences(seed: int) -> None:
    rng = random.Random(seed)
    blocks: list[Block] = []
    at = 0
    while at < 40:
        at += rng.randint(0, 6)
        blocks.append((at, at + rng.randint(1, 12)))
        at = blocks[-1][1]
    total = at + rng.randint(0, 5)
    allowed = [p for p in range(1, total) if not any(a < p < b for a, b in blocks)]
    cuts = sorted({0, total, *rng.sample(allowed, rng.randint(0, len(allowed)))})
    check(cuts, rng.randint(1, 9), blocks)


def test_cheap_spellings_where_they_say_the_same() -> None:
    assert piece_masks(1, 100, WINDOW).sliding is None
    assert piece_masks(WINDOW, 0, WINDOW).sliding == "causal"
    assert piece_masks(WINDOW - 1, 1, WINDOW).sliding == "causal"
    assert isinstance(piece_masks(WINDOW, 1, WINDOW).sliding, mx.array)
    assert piece_masks(100, 100, WINDOW, [(0, 100)]).full == "causal"


def test_an_image_does_not_see_beyond_the_window_nor_the_text_after_it() -> None:
    mask = np.array(sliding_mask(12, 0, WINDOW, [(2, 10)]))
    assert mask[2, 6]
    assert not mask[2, 7]  # the same image, five positions on
    assert not mask[9, 10]  # text after the image
    assert not mask[1, 2]  # text before the image does not look ahead
    assert mask[10, 9]
