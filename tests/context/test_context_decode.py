"""Decoding in a context: keys and caches follow the tokens that were taken, however it ends."""

from itertools import islice

import mlx.core as mx
import pytest

from gemma_mlx.context.context import Context
from gemma_mlx.generation.depth import MOST, Fixed
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting
from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.model import cache
from gemma_mlx.model.cache import SLACK
from tests import tiny
from tests.states import equals_cold, failing, read_equals_cold, read_ids

MODEL, DRAFTER = tiny.model(seed=2), tiny.drafter(seed=2)
LAYERS = len(MODEL.language_model.layers)
MIXED = (tiny.text(list(range(2, 22))), tiny.image(2, 4), tiny.text([9, 8, 7]), tiny.sound(11), tiny.text([6, 5]))
OPTIONS = DecodeOptions(Sampler(temperature=0), 12)


def _read(context: Context) -> mx.array:
    hidden = context.read(Prompt(MIXED)).hidden
    assert hidden is not None
    return hidden


@pytest.mark.parametrize("max_tokens", [1, 2, 12])
def test_keys_and_caches_follow_the_tokens_that_were_taken(max_tokens: int) -> None:
    options = DecodeOptions(Sampler(temperature=0), max_tokens)
    for stop in range(max_tokens + 1):
        context = Context(MODEL, 1000)
        tokens = context.decode(_read(context), options)
        ids = [token.id for token in islice(tokens, stop)]
        tokens.close()
        assert len(ids) == stop
        equals_cold(context, (*MIXED, tiny.text(read_ids(ids, max_tokens))))


@pytest.mark.parametrize("depth", [1, 3, MOST])
@pytest.mark.parametrize("max_tokens", [1, 2, 12])
def test_drafts_that_were_not_taken_are_taken_back(depth: int, max_tokens: int) -> None:
    """The drafter is the target's, or knows nothing: blocks are accepted and rejected, and left in their middle."""
    options, drafting = DecodeOptions(Sampler(temperature=0), max_tokens), Drafting(DRAFTER, Fixed(depth))
    plain = Context(MODEL, 1000)
    expected = [token.id for token in plain.decode(_read(plain), options)]
    for stop in range(max_tokens + 1):
        context = Context(MODEL, 1000)
        tokens = context.decode(_read(context), options, drafting)
        ids = [token.id for token in islice(tokens, stop)]
        tokens.close()
        assert ids == expected[:stop]
        held = len(context.keys) - Prompt(MIXED).n_tokens
        assert stop - 1 <= held <= stop
        equals_cold(context, (*MIXED, tiny.text(ids[:held])))


@pytest.mark.parametrize("layer", range(0, LAYERS, 2))
def test_an_exception_while_a_block_is_verified_keeps_what_was_taken(layer: int) -> None:
    context = Context(MODEL, 1000)
    tokens, ids = context.decode(_read(context), OPTIONS, Drafting(DRAFTER, Fixed(3))), list[int]()
    with failing(MODEL, layer, 3, RuntimeError("fault")), pytest.raises(RuntimeError, match="fault"):
        ids.extend(token.id for token in tokens)
    held = len(context.keys) - Prompt(MIXED).n_tokens
    equals_cold(context, (*MIXED, tiny.text(ids[:held])))


@pytest.mark.parametrize("depth", [0, MOST])
def test_the_caches_never_pass_what_was_admitted(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemma_mlx.context.context.STEP", 8)
    length = Prompt(MIXED).n_tokens
    context = Context(MODEL, length + 40)
    hidden, admitted = _read(context), [0]
    context.admit = lambda positions, piece, held: admitted.append(positions)
    options = DecodeOptions(Sampler(temperature=0), 40)
    for _ in context.decode(hidden, options, Drafting(DRAFTER, Fixed(depth)) if depth else None):
        assert context.caches.offset <= admitted[-1] <= context.limit


@pytest.mark.parametrize(("step", "depth"), [(1, 0), (1, MOST), (24, MOST)])
def test_marks_outlive_what_is_decoded(step: int, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the distance between a mark and the next growth of the buffers."""
    monkeypatch.setattr(cache, "STEP", step)
    drafting = Drafting(DRAFTER, Fixed(depth)) if depth else None
    for length in range(SLACK - 1, SLACK + 3):
        context, ids = Context(MODEL, 1000), [2 + i % 90 for i in range(150)]
        hidden = context.read(Prompt((tiny.text(ids),)), marks=[150 - length]).hidden
        assert hidden is not None
        for _ in context.decode(hidden, DecodeOptions(Sampler(temperature=0), 20), drafting):
            pass
        shorter = tiny.text([*ids[: 150 - length], 99])
        assert read_equals_cold(context, (shorter,)).cached == 150 - length


def test_an_exception_thrown_into_decoding_keeps_what_was_taken() -> None:
    context = Context(MODEL, 1000)
    tokens = context.decode(_read(context), OPTIONS)
    ids = [next(tokens).id for _ in range(5)]
    with pytest.raises(KeyboardInterrupt):
        tokens.throw(KeyboardInterrupt)
    equals_cold(context, (*MIXED, tiny.text(ids)))


def test_an_exception_while_choosing_keeps_what_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step before was read already: it is taken back."""
    context = Context(MODEL, 1000)
    tokens = context.decode(_read(context), OPTIONS)
    ids = [next(tokens).id for _ in range(4)]
    monkeypatch.setattr("gemma_mlx.generation.loop.Steps.choose", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(tokens)
    equals_cold(context, (*MIXED, tiny.text(ids)))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("layer", range(LAYERS))
def test_an_exception_while_decoding_keeps_what_was_taken(layer: int) -> None:
    context = Context(MODEL, 1000)
    tokens = context.decode(_read(context), OPTIONS)
    with failing(MODEL, layer, 4, RuntimeError("fault")):
        ids = [next(tokens).id for _ in range(4)]
        with pytest.raises(RuntimeError, match="fault"):
            next(tokens)
    equals_cold(context, (*MIXED, tiny.text(ids)))
