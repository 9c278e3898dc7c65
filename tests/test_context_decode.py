"""Decoding in a context: keys and caches follow the tokens that were taken, however it ends."""

from itertools import islice

import mlx.core as mx
import pytest

from gemma_mlx.context import Context
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.prompt import Prompt
from tests import tiny
from tests.states import equals_cold, failing, read_ids

MODEL = tiny.model(seed=2)
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
    monkeypatch.setattr("gemma_mlx.generation.loop._choose", _interrupt)
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
