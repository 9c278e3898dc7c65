"""Caches and contexts compared with a cold read of the same prompt, and layers that fail when asked to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gemma_mlx.context import state
from gemma_mlx.context.context import Context, Read, keys_of
from gemma_mlx.context.state import Expected, State
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.stream import EmbeddingStream

TOLERANCE = 1e-5


def cold(model: GemmaModel, segments: Sequence[Segment], stop: int | None = None) -> tuple[mx.array | None, Caches]:
    """Fresh caches after positions 0 … stop - 1, and the last one's hidden state (1, 1, hidden)."""
    caches, hidden = Caches(model.config.text_config), None
    for piece in EmbeddingStream(model, segments, 0, stop).pieces(10_000):
        hidden = model(piece.embeddings, caches, piece.blocks)[:, -1:]
    return hidden, caches


def same(a: mx.array | None, b: mx.array | None) -> None:
    """Fails unless both are given and equal within the tolerance."""
    assert a is not None
    assert b is not None
    np.testing.assert_allclose(np.array(a), np.array(b), rtol=TOLERANCE, atol=TOLERANCE)


def same_caches(warm: Caches, expected: Caches) -> None:
    """Fails unless all layers stand at the same position and show the next query the same rows."""
    assert {layer.offset for layer in warm.layers} == {expected.offset}
    for layer, other in zip(warm.layers, expected.layers, strict=True):
        if expected.offset:
            for rows, others in zip(layer.view(), other.view(), strict=True):
                same(rows, others)


def resumed(caches: Caches, path: Path) -> Caches:
    """Caches that were saved and loaded."""
    state.save(path, State(caches, [0] * caches.offset, [], {}), "weights")
    expected = Expected(caches.config, mx.float32, "weights", caches.offset, lambda positions: None)
    return state.load(path, expected).caches


def read_ids(ids: list[int], max_tokens: int) -> list[int]:
    """What caches hold of yielded tokens: the first is yielded before it is read, the last possible one never is."""
    return ids if 1 < len(ids) < max_tokens else ids[:-1]


def equals_cold(context: Context, segments: Sequence[Segment], stop: int | None = None) -> mx.array | None:
    """Fails unless keys and caches are those of positions 0 … stop - 1; returns the cold hidden state."""
    hidden, caches = cold(context.model, segments, stop)
    assert context.keys == keys_of(tuple(segments))[:stop]
    same_caches(context.caches, caches)
    return hidden


def read_equals_cold(context: Context, segments: Sequence[Segment], stop: int | None = None) -> Read:
    """Read, and fail unless all of it is as after a cold read."""
    read = context.read(Prompt(tuple(segments)), stop)
    same(read.hidden, equals_cold(context, segments, stop))
    assert read.cached + read.read == len(context.keys)
    return read


class _Failing(nn.Module):
    """In front of a layer; raises at the given call."""

    def __init__(self, layer: nn.Module, call: int, fault: BaseException) -> None:
        super().__init__()
        self.layer, self.call, self.fault = layer, call, fault

    def __call__(self, *arguments: object) -> mx.array:
        self._count()
        return self.layer(*arguments)

    def last(self, *arguments: object) -> mx.array:
        self._count()
        return self.layer.last(*arguments)

    def _count(self) -> None:
        self.call -= 1
        if self.call < 0:
            raise self.fault


@contextmanager
def failing(model: GemmaModel, layer: int, call: int, fault: BaseException) -> Iterator[None]:
    """While it is open, `layer` raises `fault` at forward pass number `call`, when earlier layers have appended."""
    layers: list[nn.Module] = model.language_model.layers  # type: ignore[assignment]
    whole = layers[layer]
    layers[layer] = _Failing(whole, call, fault)
    try:
        yield
    finally:
        layers[layer] = whole
