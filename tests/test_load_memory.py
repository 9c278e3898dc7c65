"""Loading holds the weights and one layer of what they are made from, never more."""

import gc
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx.loading import load_model
from gemma_mlx.memory.plan import model_bytes
from tests import saved

LAYERS = 24


@pytest.fixture(autouse=True)
def _no_reuse() -> Iterator[None]:
    limit = mx.set_cache_limit(0)
    yield
    mx.set_cache_limit(limit)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Half-precision weights, cast while they are loaded, of which a layer is a small part."""
    kinds = ["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(LAYERS)]
    raw = saved.raw_config(hidden_size=384, intermediate_size=1536, num_hidden_layers=LAYERS, layer_types=kinds)
    arrays = {name: array.astype(mx.bfloat16) for name, array in saved.arrays(saved.model(raw)).items()}
    return saved.write(tmp_path, raw, saved.renamed(arrays, saved.published), shards=3)


def test_a_layer_at_a_time(checkpoint: Path) -> None:
    gc.collect()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    model = load_model(checkpoint, dtype="float32")
    sizes = model_bytes(checkpoint, None, item=4)
    resident = mx.get_active_memory() - before
    assert sizes.weights <= resident <= 1.02 * sizes.weights
    assert mx.get_peak_memory() - before <= resident + 1.1 * sizes.largest_layer / 2  # a layer in half precision
    assert sizes.largest_layer < sizes.weights / 4
    del model
