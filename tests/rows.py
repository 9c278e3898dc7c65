"""Made-up keys and values whose every row tells which position of which layer it is, and lists as caches."""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from gemma_mlx.model.cache import Caches, LayerCache

HEADS, WIDTH = 2, 3
Pair = tuple[mx.array, mx.array]


def pair(ids: Sequence[int], heads: int = HEADS, width: int = WIDTH) -> Pair:
    """Keys and values (1, heads, n, width) of positions known by `ids`; values are the keys' negatives."""
    rows = np.array(ids, np.float32)[None, None, :, None] + np.zeros((1, heads, 1, width), np.float32)
    keys = mx.array(rows + np.arange(heads)[:, None, None] / 4 + np.arange(width) / 16)
    return keys, -keys


def ids_of(rows: Pair) -> list[int]:
    """Which positions these rows are. Fails if a row mixes positions, or keys and values differ in them."""
    keys, values = np.array(rows[0]), np.array(rows[1])
    found: NDArray[np.float32] = np.floor(keys[0, 0, :, 0]) if keys.shape[2] else np.zeros(0, np.float32)
    ids = [int(each) for each in found]
    if ids:
        expected = pair(ids, keys.shape[1], keys.shape[3])
        assert np.array_equal(keys, expected[0])
        assert np.array_equal(values, expected[1])
    return ids


def seen(ids: Sequence[int], window: int | None, queries: int = 1) -> list[int]:
    """What the last `queries` of all positions may look at."""
    return list(ids if window is None else ids[max(0, len(ids) - window + 1 - queries) :])


def append(layer: LayerCache, ids: Sequence[int]) -> Pair:
    return layer.append(*pair(ids))


def extend(caches: Caches, ids: Sequence[int], layers: int | None = None) -> None:
    """Append positions to all layers, or only to the first ones as an interrupt leaves them."""
    for layer, attention in list(zip(caches.layers, caches.config.layers, strict=True))[:layers]:
        layer.append(*pair(ids, attention.num_key_value_heads, attention.head_dim))


def holds(caches: Caches, ids: Sequence[int]) -> None:
    """Fails unless every layer stands behind these positions and shows the next query the right ones of them."""
    for layer in caches.layers:
        assert layer.offset == len(ids)
        if ids:
            assert ids_of(layer.view()) == seen(ids, layer.window)
            longer = None if layer.window is None else layer.window + 1  # the drafter reads one row more
            assert ids_of(layer.shared()) == seen(ids, longer)
            kept = ids_of(layer.kept())
            assert kept == list(ids[len(ids) - len(kept) :])
