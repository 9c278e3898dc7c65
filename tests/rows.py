"""Made-up keys and values whose every row tells which position of which layer it is, and lists as caches."""

import random
from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from gemma_mlx.errors import ContextError
from gemma_mlx.model.cache import Caches, LayerCache, Snapshot
from tests import tiny

HEADS, WIDTH = 2, 3
STEP, WINDOW, SLACK = 8, 5, 3
CONFIG = tiny.config(sliding_window=WINDOW).text_config
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


class Conversation:
    """Caches beside the list of what they should hold; every position gets an id that was never used."""

    def __init__(self, seed: int = 0, slack: int = SLACK) -> None:
        self.caches, self.ids = Caches(CONFIG, slack), list[int]()
        self.rng, self.fresh = random.Random(seed), iter(range(100_000))
        self.snapshots: list[tuple[Snapshot, list[int]]] = []

    def extend(self, length: int) -> None:
        added = [next(self.fresh) for _ in range(length)]
        extend(self.caches, added)
        self.ids = self.ids + added

    def trim(self, n: int) -> None:
        self.caches.trim(n)
        self.ids = self.ids[: len(self.ids) - n]

    def snapshot(self, back: int = 0) -> None:
        ids = self.ids[: len(self.ids) - back]
        self.snapshots.append((self.caches.snapshot(len(ids)), ids))

    def restore(self, index: int) -> None:
        """Restores exactly if nothing below the snapshot was taken back since; otherwise it is an error."""
        snapshot, ids = self.snapshots[index]
        possible = self.ids[: len(ids)] == ids
        assert self.caches.can_restore(snapshot) == possible
        if possible:
            self.caches.restore(snapshot)
            self.ids = ids
        else:
            with pytest.raises(ContextError, match=f"snapshot at position {len(ids)} was overwritten"):
                self.caches.restore(snapshot)

    def step(self) -> None:
        """Something that a conversation does."""
        match self.rng.randrange(8):
            case 0 | 1 | 2:
                self.extend(self.rng.choice([1, 2, self.rng.randint(1, 3 * STEP)]))
            case 3 | 4:
                self.trim(self.rng.randint(0, self.caches.trimmable))
            case 5:
                self.snapshot(self.rng.choice([0, self.rng.randint(0, self.caches.trimmable)]))
            case 6 if self.snapshots:
                self.restore(self.rng.randrange(len(self.snapshots)))
            case 7:
                extend(self.caches, [-1] * self.rng.randint(1, 2 * STEP), self.rng.randint(0, 6))
                self.caches.realign()


def far(slack: int = SLACK) -> Conversation:
    """Ten windows long, with a snapshot in the middle."""
    talk = Conversation(slack=slack)
    talk.extend(30)
    talk.snapshot()
    for length in (1, 2, STEP, 3 * STEP):
        talk.extend(length)
    return talk
