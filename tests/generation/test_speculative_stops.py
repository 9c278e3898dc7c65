"""Speculative decoding that ends anywhere: keys and caches are those of a cold read of what was yielded."""

import functools
from collections.abc import Callable, Sequence
from itertools import islice

import mlx.core as mx
import pytest

from gemma_mlx.context.context import Context, keys_of
from gemma_mlx.generation import speculative
from gemma_mlx.generation.depth import MOST, Fixed
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting
from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.model.cache import Caches, LayerCache
from tests import tiny
from tests.generation.drafters import Changing, Scripted, livelier_model, never, sometimes
from tests.states import cold, failing, same, same_caches

MODEL = livelier_model()
LAYERS = len(MODEL.language_model.layers)
PROMPT = (tiny.text(list(range(2, 22))), tiny.image(2, 4), tiny.text([9, 8, 7]), tiny.sound(11), tiny.text([6, 5]))
LENGTH = sum(len(segment.ids) for segment in PROMPT)
TOKENS = 20
OPTIONS = DecodeOptions(Sampler(temperature=0), TOKENS)


def _begin() -> tuple[Context, mx.array]:
    context = Context(MODEL, 1000)
    hidden = context.read(Prompt(PROMPT)).hidden
    assert hidden is not None
    return context, hidden


def _plain() -> list[int]:
    context, hidden = _begin()
    return [token.id for token in context.decode(hidden, OPTIONS)]


EXPECTED = _plain()
DRAFTINGS: dict[str, Callable[[], Drafting]] = {
    "whole blocks": lambda: Drafting(Scripted(EXPECTED, LENGTH, never), Fixed(4)),
    "longest blocks": lambda: Drafting(Scripted(EXPECTED, LENGTH, lambda _, step: step == 6), Fixed(MOST)),
    "parts of blocks": lambda: Drafting(Scripted(EXPECTED, LENGTH, sometimes(1, 0.4)), Fixed(3)),
    "with steps between": lambda: Drafting(Scripted(EXPECTED, LENGTH, sometimes(2, 0.2)), Changing(3)),
    "a network": lambda: Drafting(tiny.drafter(), Fixed(2)),
}


@functools.cache
def _cold(*following: int) -> tuple[mx.array | None, Caches]:
    return cold(MODEL, (*PROMPT, tiny.text(list(following))))


def _holds(context: Context, ids: Sequence[int]) -> None:
    """All that was yielded, or all but the last; what is read next is as after a cold read."""
    assert ids == EXPECTED[: len(ids)]
    held = len(context.keys) - LENGTH
    assert held in (len(ids), len(ids) - 1)
    assert context.keys == keys_of((*PROMPT, tiny.text(list(ids[:held]))))
    same_caches(context.caches, _cold(*ids[:held])[1])
    read = context.read(Prompt((*PROMPT, tiny.text([*ids, 33, 44]))))
    hidden, caches = _cold(*ids, 33, 44)
    same(read.hidden, hidden)
    same_caches(context.caches, caches)
    assert read.cached == LENGTH + held


@pytest.mark.parametrize("kind", DRAFTINGS)
def test_the_caller_stops(kind: str) -> None:
    for stop in range(1, TOKENS + 1, 3 if kind == "a network" else 1):
        context, hidden = _begin()
        tokens = context.decode(hidden, OPTIONS, DRAFTINGS[kind]())
        ids = [token.id for token in islice(tokens, stop)]
        tokens.close()
        _holds(context, ids)


@pytest.mark.parametrize("taken", [1, 2, 3, 4, 5, 9])
def test_an_exception_thrown_in(taken: int) -> None:
    context, hidden = _begin()
    tokens = context.decode(hidden, OPTIONS, DRAFTINGS["parts of blocks"]())
    ids = [next(tokens).id for _ in range(taken)]
    with pytest.raises(KeyboardInterrupt):
        tokens.throw(KeyboardInterrupt)
    _holds(context, ids)


def _interrupted(context: Context, hidden: mx.array, kind: str) -> list[int]:
    """What is yielded until the interrupt comes."""
    ids: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        for token in context.decode(hidden, OPTIONS, DRAFTINGS[kind]()):
            ids.append(token.id)
    return ids


@pytest.mark.parametrize("kind", ["whole blocks", "parts of blocks", "with steps between"])
@pytest.mark.parametrize("layer", range(LAYERS))
def test_an_interrupt_inside_the_model(layer: int, kind: str) -> None:
    for passes in (0, 1, 3):
        context, hidden = _begin()
        with failing(MODEL, layer, passes, KeyboardInterrupt()):
            ids = _interrupted(context, hidden, kind)
        assert len(ids) > passes
        _holds(context, ids)


class _Interrupting:
    """In place of a function: interrupts its call number `call`, before or after the work is done."""

    def __init__(self, whole: Callable[..., object], call: int, after: bool) -> None:
        self.whole, self.call, self.after = whole, call, after

    def __call__(self, *arguments: object) -> object:
        self.call -= 1
        if self.call == -1 and not self.after:
            raise KeyboardInterrupt
        result = self.whole(*arguments)
        if self.call == -1:
            raise KeyboardInterrupt
        return result


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", [0, 2])
@pytest.mark.parametrize("name", ["propose", "verify", "accept_greedy", "target_memory", "_tokens"])
def test_an_interrupt_between_the_parts_of_a_round(
    name: str, call: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, hidden = _begin()
    monkeypatch.setattr(speculative, name, _Interrupting(getattr(speculative, name), call, after))
    _holds(context, _interrupted(context, hidden, "parts of blocks"))


@pytest.mark.parametrize("layer", range(2 * LAYERS))
def test_an_interrupt_while_drafts_are_taken_back(layer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some layers have let them go, others not."""
    context, hidden = _begin()
    trim, rounds, calls = Caches.trim, 0, 0

    def counted(caches: Caches, n: int) -> None:
        nonlocal rounds
        rounds += 1
        trim(caches, n)

    def interrupted(cache: LayerCache, n: int) -> None:
        nonlocal calls
        if rounds and calls == layer:
            calls += 1
            raise KeyboardInterrupt
        calls += rounds > 0
        whole(cache, n)

    whole = LayerCache.trim
    monkeypatch.setattr(Caches, "trim", counted)
    monkeypatch.setattr(LayerCache, "trim", interrupted)
    _holds(context, _interrupted(context, hidden, "parts of blocks"))


def test_an_interrupt_inside_the_drafter() -> None:
    for call in range(8):
        context, hidden = _begin()
        drafter = Scripted(EXPECTED, LENGTH, lambda _, step: step == 1)
        drafting = Drafting(_Interrupting(drafter, call, after=False), Fixed(3))  # type: ignore[arg-type]
        ids = []
        with pytest.raises(KeyboardInterrupt):
            for token in context.decode(hidden, OPTIONS, drafting):
                ids.append(token.id)
        _holds(context, ids)


@pytest.mark.parametrize("step", [1, 3])
def test_blocks_while_rows_are_dropped(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers without spare room drop rows at each append; the way back inside a block stays."""
    monkeypatch.setattr("gemma_mlx.model.cache.STEP", step)
    for stop in (2, 7, 12, TOKENS):
        context, hidden = _begin()
        tokens = context.decode(hidden, OPTIONS, DRAFTINGS["longest blocks"]())
        ids = [token.id for token in islice(tokens, stop)]
        tokens.close()
        _holds(context, ids)
