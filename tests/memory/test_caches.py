"""Rows and bytes on paper against the caches of a model, and constants against the modules that they repeat."""

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_mlx import stream
from gemma_mlx.memory import caches, moments
from gemma_mlx.memory.caches import Rows, snapshot_bytes
from gemma_mlx.memory.values import Knobs
from gemma_mlx.model import cache
from tests import tiny

ITEM = 4


def test_constants_are_those_of_the_modules_that_need_mlx() -> None:
    assert (caches.STEP, caches.SLACK) == (cache.STEP, cache.SLACK)
    assert moments.PIECE_TOKENS == stream.PIECE_TOKENS
    assert moments.LONG_PIECE_TOKENS == stream.LONG_PIECE_TOKENS
    assert moments.LONG_CONTEXT == stream.LONG_CONTEXT
    assert moments.MAX_SCORES == stream.MAX_SCORES


@pytest.mark.parametrize("position", [0, 1, 8191, 8192, 16384, 16385, 262143, 2**22 + 1])
def test_pieces_are_those_of_the_stream(position: int) -> None:
    for longest in (512, 128, 1):
        knobs = Knobs(2**23, longest, 0, 280, False)
        assert moments.piece_tokens(knobs, position) == stream.piece_tokens(position, longest)


def _zeros(length: int) -> mx.array:
    return mx.zeros((1, 1, length, 2))


@pytest.mark.parametrize("window", [None, 1, 16, 300])
@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.sampled_from([1, 2, 63, 255, 256, 257, 600]), max_size=8))
def test_rows_grow_as_those_of_a_layer(window: int | None, lengths: list[int]) -> None:
    rows, layer = Rows(window), cache.LayerCache(window)
    for length in lengths:
        back = min(layer.trimmable, length // 3)
        layer.trim(back)
        rows = rows.trim(back)
        assert rows.drops(length) == layer.drops(length)
        grows, before = rows.grows(length), layer.rows
        visible = layer.append(_zeros(length), _zeros(length))[0].shape[2]
        rows = rows.append(length)
        assert layer.rows is not None
        assert (rows.capacity, rows.end) == (layer.rows.keys.shape[2], layer.rows.end)
        assert rows.visible(length) == visible
        assert rows.kept == layer.kept()[0].shape[2]
        assert grows == (before is None or layer.rows.keys is not before.keys)


def _grow(lengths: list[int]) -> tuple[caches.Caches, cache.Caches]:
    config = tiny.config(sliding_window=100).text_config
    paper, real = caches.Caches.empty(config), cache.Caches(config)
    for length in lengths:
        paper = paper.append(length)
        for layer, attention in zip(real.layers, config.layers, strict=True):
            rows = mx.zeros((1, attention.num_key_value_heads, length, attention.head_dim))
            layer.append(rows, rows)
    return paper, real


@pytest.mark.parametrize("lengths", [[], [1], [300, 1], [512, 512, 70], [1] * 300])
def test_bytes_are_those_of_a_models_caches_and_snapshots(lengths: list[int]) -> None:
    paper, real = _grow(lengths)
    assert paper.position == real.offset
    assert paper.nbytes(real.config, ITEM) == real.nbytes
    assert snapshot_bytes(real.config, paper.position, ITEM) == real.snapshot().nbytes


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 600), min_size=1, max_size=6), following=st.integers(1, 600))
def test_crowded_caches_are_never_smaller_than_real_ones(lengths: list[int], following: int) -> None:
    config = tiny.config(sliding_window=100).text_config
    real = caches.Caches.empty(config)
    for length in lengths:
        real = real.append(length)
    spare, full = caches.Caches.crowded(config, real.position, max(lengths))
    assert spare.position == full.position == real.position
    assert full.full.grows(1)
    assert full.sliding.grows(1)
    assert _most(real, following) <= max(_most(spare, following), _most(full, following))


def _most(before: caches.Caches, following: int) -> int:
    config = tiny.config(sliding_window=100).text_config
    return max(before.nbytes(config, ITEM), before.append(following).nbytes(config, ITEM))
