"""A layer over one position, compiled: bit for bit what its halves say, and nothing of the model changed or kept."""

import gc
import weakref
from collections.abc import Iterator, Sequence
from functools import partial

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from gemma_mlx.model import single
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.decoder import DecoderLayer
from gemma_mlx.model.drafter import target_memory
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.model.masks import Mask
from gemma_mlx.model.rope import Rope
from tests import tiny

TYPES = (mx.float32, mx.bfloat16)


@pytest.fixture(autouse=True)
def _compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, wherever this runs."""
    monkeypatch.setattr(single, "pays", lambda: True)


def _model(dtype: mx.Dtype = mx.float32, bits: int | None = None) -> GemmaModel:
    model = tiny.model()
    if bits is not None:
        nn.quantize(model.language_model, 32, bits)
    model.set_dtype(dtype)
    return model


def _plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing is compiled."""

    def call(layer: DecoderLayer, x: mx.array, memory: object, mask: Mask) -> mx.array:
        entered = layer.enter(x, memory.offset)  # type: ignore[attr-defined]
        return layer.leave(x, layer.self_attn.look(entered, memory, mask))

    monkeypatch.setattr(DecoderLayer, "__call__", call)


def _states(model: GemmaModel, before: int) -> Iterator[np.ndarray]:
    """Hidden states of single positions, after a piece of `before` others if there are any."""
    caches = Caches(model.config.text_config)
    if before:
        model(model.embed_text(mx.arange(before)[None] % tiny.VOCAB), caches)
    for token in (5, 7, 11):
        yield np.array(model(model.embed_text(mx.array([[token]])), caches).astype(mx.float32))


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("before", [0, 1, tiny.WINDOW - 2, 3 * tiny.WINDOW])
def test_every_bit_is_that_of_the_layers(
    before: int, dtype: mx.Dtype, bits: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _model(dtype, bits)
    compiled = list(_states(model, before))
    _plainly(monkeypatch)
    for one, other in zip(compiled, _states(model, before), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_bit_is_that_of_the_drafters_layers(dtype: mx.Dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model, drafter = _model(dtype), tiny.drafter()
    drafter.set_dtype(dtype)
    caches = Caches(model.config.text_config)
    hidden = model(model.embed_text(mx.arange(20)[None]), caches)[:, -1:]
    compiled, _ = drafter(model.embed_text(mx.array([[5]])), hidden, target_memory(caches))
    _plainly(monkeypatch)
    plain, _ = drafter(model.embed_text(mx.array([[5]])), hidden, target_memory(caches))
    np.testing.assert_array_equal(np.array(compiled.astype(mx.float32)), np.array(plain.astype(mx.float32)))


def test_weights_that_come_later_count(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    before = list(_states(model, 3))
    layer = model.language_model.layers[2]
    layer.update({"layer_scalar": layer.layer_scalar * 2})  # the same shapes
    scaled = list(_states(model, 3))
    nn.quantize(model.language_model, 32, 4)  # others
    packed = list(_states(model, 3))
    assert not np.array_equal(before[0], scaled[0])
    assert not np.array_equal(scaled[0], packed[0])
    _plainly(monkeypatch)
    np.testing.assert_array_equal(packed[0], next(_states(model, 3)))


def test_an_interrupted_trace_leaves_the_layer_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    turn, calls = Rope.__call__, 0

    def interrupted(self: Rope, x: mx.array, offset: int | mx.array) -> mx.array:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return turn(self, x, offset)

    with monkeypatch.context() as patched:
        patched.setattr(Rope, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(_states(model, 0))
    compiled = list(_states(model, 0))
    _plainly(monkeypatch)
    for one, other in zip(compiled, _states(model, 0), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_layer_that_nobody_holds_is_gone_at_once() -> None:
    model = _model()
    list(_states(model, 2))
    layer = weakref.ref(model.language_model.layers[0])
    gc.disable()
    try:
        del model
        assert layer() is None
    finally:
        gc.enable()


def test_only_where_kernels_are_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert single.pays() == (mx.default_device() == mx.gpu)
    used: list[object] = []
    enter = single.SinglePosition.enter

    def noted(halves: single.SinglePosition, x: mx.array, offset: int) -> Sequence[mx.array]:
        used.append(halves)
        return enter(halves, x, offset)

    monkeypatch.setattr(single.SinglePosition, "enter", noted)
    for pays in (False, True):
        monkeypatch.setattr(single, "pays", partial(bool, pays))
        next(_states(_model(), 0))
        assert bool(used) == pays
