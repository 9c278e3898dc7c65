"""What reading a long prompt takes: weights, keys and values, and the scratch of one piece, never of the prompt."""

import gc
from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from gemma_mlx.context.context import Context
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.stream import PIECE_TOKENS
from tests import tiny

LENGTH = 8192
SPARE = 1.2
PICTURES = [tiny.image(10, 14), tiny.image(14, 20)]  # of 140 soft tokens, and of 280, the default


@pytest.fixture(scope="module")
def model() -> GemmaModel:
    """So wide that the prompt's embeddings would show (17 MB), and a piece's attention scores as well (17 MB); the last
    layer makes these for one position only."""
    return tiny.model(
        hidden_size=512,
        intermediate_size=64,
        num_hidden_layers=3,
        layer_types=["sliding_attention", "full_attention", "full_attention"],
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=32,
        global_head_dim=32,
        sliding_window=64,
        max_position_embeddings=2 * LENGTH,
    )


@pytest.fixture(autouse=True)
def _no_reuse() -> Iterator[None]:
    """Freed buffers leave at once, so that the peak is what was in use."""
    limit = mx.set_cache_limit(0)
    yield
    mx.set_cache_limit(limit)


def _text(length: int, seed: int) -> Segment:
    return tiny.text(np.random.default_rng(seed).integers(0, 100, length).tolist())


def _peak(context: Context, segments: Sequence[Segment], expected: int) -> int:
    """Peak bytes while a prompt is read, of which `expected` positions are new."""
    prompt = Prompt(tuple(segments))
    mx.reset_peak_memory()
    read = context.read(prompt)
    mx.eval(read.hidden, context.caches.arrays)  # what was left undone counts as well
    assert read.read == expected
    return mx.get_peak_memory()


def _bytes_of_one_piece(context: Context, segments: Sequence[Segment]) -> int:
    """Scratch of the piece that looks back at the most keys: the last one, read again with other words."""
    *before, last = segments
    kept = len(last.ids) - PIECE_TOKENS
    held = mx.get_active_memory()
    return _peak(context, [*before, tiny.text(last.ids[:kept].tolist()), _text(PIECE_TOKENS, 5)], PIECE_TOKENS) - held


def _peak_and_parts(weights: int, model: GemmaModel, picture: Segment, start: int) -> tuple[int, int, int]:
    """Bytes for a prompt whose picture is at `start`: the peak, keys and values, one piece's scratch."""
    gc.collect()
    foreign = mx.get_active_memory() - weights  # what other tests keep
    segments = [_text(start, 1), picture, _text(LENGTH - len(picture.ids) - start, 2)]
    context = Context(model, 2 * LENGTH)
    peak = _peak(context, segments, LENGTH)
    return peak - foreign, context.caches.nbytes, _bytes_of_one_piece(context, segments)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: f"{len(picture.ids)} tokens")
def test_a_long_prompt_costs_one_piece_wherever_its_picture_is(model: GemmaModel, picture: Segment) -> None:
    weights = sum(array.nbytes for array in dict(tree_flatten(model.parameters())).values())
    peaks = []
    for start in (64, LENGTH // 2, LENGTH - len(picture.ids) - PIECE_TOKENS):
        peak, kept, scratch = _peak_and_parts(weights, model, picture, start)
        assert peak <= SPARE * (weights + kept + scratch)
        peaks.append(peak)
    assert max(peaks) <= 1.1 * min(peaks)
    assert max(peaks) < LENGTH**2 * 4 / 4  # a quarter of the scores that one pass would make
