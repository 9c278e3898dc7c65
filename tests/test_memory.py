"""How much memory reading a long prompt takes: weights, keys and values, and one piece's scratch, never the prompt's."""

from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from gemma_mlx.context import Context
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.stream import PIECE_TOKENS
from tests import tiny

LENGTH = 8192
HEADS = 4
SPARE = 1.2


@pytest.fixture(scope="module")
def model() -> GemmaModel:
    """Wide enough that a piece's activations and scores count; one of six layers is full, as in the 12B."""
    return tiny.model(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=6,
        layer_types=["sliding_attention"] * 5 + ["full_attention"],
        num_attention_heads=HEADS,
        head_dim=32,
        global_head_dim=64,
        sliding_window=128,
        max_position_embeddings=16384,
    )


@pytest.fixture(autouse=True)
def _no_reuse() -> Iterator[None]:
    """Freed buffers leave at once, so that the peak is what was in use."""
    limit = mx.set_cache_limit(0)
    yield
    mx.set_cache_limit(limit)


def _text(length: int) -> Segment:
    return tiny.text(np.random.default_rng(length).integers(0, 100, length).tolist())


def _weights(model: GemmaModel) -> int:
    return sum(array.nbytes for _, array in tree_flatten(model.parameters()) if isinstance(array, mx.array))


def _reading(model: GemmaModel, segments: Sequence[Segment], before: int = 0) -> tuple[int, int, Context]:
    """Peak bytes while positions from `before` on are read, bytes held before, and the context."""
    context = Context(model, 16384)
    prompt = Prompt(tuple(segments))
    if before:
        context.read(prompt, before)
    held = mx.get_active_memory()
    mx.reset_peak_memory()
    context.read(prompt)
    return mx.get_peak_memory(), held, context


def _allowed(model: GemmaModel, last: Segment) -> float:
    """Bytes that reading may take: measured on the piece at the end of the prompt, which sees the most keys."""
    peak, held, context = _reading(model, [_text(LENGTH - len(last.ids)), last], LENGTH - len(last.ids))
    return SPARE * (_weights(model) + context.caches.nbytes + peak - held)


def test_x(model: GemmaModel) -> None:
    import time
    print(_weights(model)/1e6)
    for n in (280,1120):
        print("allowed", _allowed(model, _text(512))/1e6, _allowed(model, tiny.image(20,n//20))/1e6)
        for at in (10, LENGTH//2, LENGTH-n-10):
            t=time.time()
            peak, held, context = _reading(model,[_text(at), tiny.image(20,n//20), _text(LENGTH-n-at)])
            print(n, at, peak/1e6, held/1e6, context.caches.nbytes/1e6, time.time()-t)
