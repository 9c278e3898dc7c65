"""Interrupts while the caches go back: whatever they leave, the next read equals a cold one."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from gemma_mlx.context.context import Context
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.model import cache
from gemma_mlx.model.cache import SLACK, LayerCache
from tests import tiny
from tests.states import read_equals_cold

MODEL = tiny.model(seed=3)
LAYERS = len(MODEL.language_model.layers)
FAR = 6 * SLACK
BEFORE = tiny.text(list(range(2, 42)))


def _then(length: int, first: int) -> tuple[Segment, ...]:
    return (BEFORE, tiny.text([first, *(2 + i % 90 for i in range(length - 1))]))


def _raising(method: Callable[..., None], at: int) -> Callable[..., None]:
    calls = count()

    def changed(self: LayerCache, *arguments: Any) -> None:
        if next(calls) == at:
            raise KeyboardInterrupt
        method(self, *arguments)

    return changed


@pytest.mark.parametrize("call", range(LAYERS))
@pytest.mark.parametrize(
    ("method", "length"), [("trim", 6), ("trim", FAR), ("fill", FAR)], ids=["trim", "restore", "fill"]
)
def test_an_interrupt_between_layers(monkeypatch: pytest.MonkeyPatch, method: str, length: int, call: int) -> None:
    context = Context(MODEL, 1000)
    context.read(Prompt((BEFORE,)))
    context.mark()
    monkeypatch.setattr(cache, "STEP", 8)  # so little room that reading on drops what lies beyond the slack
    for end in range(min(length, SLACK), length + 1, SLACK):
        context.read(Prompt(_then(end, 50)))
    kinds = [attention.is_sliding for attention in MODEL.config.text_config.layers]
    calls = {"trim": LAYERS if length <= SLACK else kinds.count(False), "fill": kinds.count(True)}[method]
    with monkeypatch.context() as patch:
        patch.setattr(LayerCache, method, _raising(getattr(LayerCache, method), call))
        if call < calls:
            with pytest.raises(KeyboardInterrupt):
                context.read(Prompt(_then(length, 51)))
        assert {layer.offset for layer in context.caches.layers} == {len(context.keys)}
    read_equals_cold(context, _then(length, 51))


@pytest.mark.parametrize("call", range(1, 3 * LAYERS, 4))
@pytest.mark.parametrize("again", [0, 1, LAYERS])
def test_a_second_interrupt_while_the_first_is_cleared_up(
    monkeypatch: pytest.MonkeyPatch, call: int, again: int
) -> None:
    """Ctrl-C held down: what it leaves may be uneven, the next read mends it."""
    context = Context(MODEL, 1000)
    context.read(Prompt((BEFORE,)))
    with monkeypatch.context() as patch:
        calls = count()
        patch.setattr(LayerCache, "trim", _raising(LayerCache.trim, again))
        patch.setattr(LayerCache, "append", _appending(lambda: next(calls) == call))
        with pytest.raises(KeyboardInterrupt):
            context.read(Prompt((BEFORE, *_then(60, 50))))
            context.read(Prompt((BEFORE, *_then(60, 51))))
    read_equals_cold(context, _then(9, 52))


def _appending(fails: Callable[[], bool]) -> Callable[..., Any]:
    append = LayerCache.append

    def changed(self: LayerCache, *rows: Any) -> Any:
        if fails():
            raise KeyboardInterrupt
        return append(self, *rows)

    return changed


def test_a_mark_outlives_an_edit_behind_it() -> None:
    context = Context(MODEL, 1000)
    context.read(Prompt((BEFORE,)))
    context.mark()
    for first in (50, 51, 52):
        read = read_equals_cold(context, _then(FAR, first))
        assert read.cached == len(BEFORE.ids)


def test_a_failed_evaluation_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(MODEL, 1000)
    context.read(Prompt((BEFORE,)))
    with monkeypatch.context() as patch:
        patch.setattr("gemma_mlx.context.context.mx.eval", _no_memory)
        with pytest.raises(RuntimeError, match="memory"):
            context.read(Prompt(_then(9, 50)))
    assert len(context.keys) <= len(BEFORE.ids)
    read_equals_cold(context, _then(9, 50))


def _no_memory(*_: object) -> None:
    raise RuntimeError("out of memory")
