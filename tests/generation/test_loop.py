"""The decode loop against recomputing everything for each token, without caches."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.errors import InputError
from gemma_mlx.generation.events import Token
from gemma_mlx.generation.loop import DecodeOptions, decode
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.prompt import Segment
from gemma_mlx.model.cache import Caches
from tests import tiny
from tests.states import cold, failing, read_ids, same_caches

MODEL = tiny.model(seed=2)
PROMPT = (tiny.text([3, 14, 15, 92, 65]), tiny.image(2, 3), tiny.text([35, 89, 79]), tiny.sound(4), tiny.text([32, 38]))
LENGTH = sum(len(segment.ids) for segment in PROMPT)
LAYERS = len(MODEL.language_model.layers)
GREEDY = Sampler(temperature=0)


def _logits(generated: Sequence[int], suppressed: Sequence[int] = ()) -> np.ndarray:
    """Logits (vocab,) float64 after the prompt and some tokens, from nothing."""
    hidden, _ = cold(MODEL, (*PROMPT, tiny.text(list(generated))))
    assert hidden is not None
    logits = np.array(MODEL.logits(hidden), np.float64)[0, 0]
    logits[list(suppressed)] = -math.inf
    return logits


def _naive(count: int, suppressed: Sequence[int] = ()) -> list[int]:
    generated: list[int] = []
    for _ in range(count):
        generated.append(int(_logits(generated, suppressed).argmax()))
    return generated


def _read(segments: Sequence[Segment] = PROMPT) -> tuple[mx.array, Caches]:
    hidden, caches = cold(MODEL, segments)
    assert hidden is not None
    return hidden, caches


def _decoded(options: DecodeOptions) -> list[Token]:
    return list(decode(MODEL, *_read(), options))


def _ids(options: DecodeOptions) -> list[int]:
    return [token.id for token in _decoded(options)]


def test_greedy_equals_recomputing_past_three_windows() -> None:
    expected = _naive(3 * tiny.WINDOW)
    assert len(set(expected)) > 10  # a loop of two tokens would prove little
    assert _ids(DecodeOptions(GREEDY, 3 * tiny.WINDOW)) == expected


def test_suppressed_tokens_are_never_generated() -> None:
    often = tuple(token for token, _ in Counter(_naive(20)).most_common(5))
    sampler = Sampler(temperature=0, suppress_tokens=often)
    assert _ids(DecodeOptions(sampler, 20)) == _naive(20, often)
    sampled = Sampler(temperature=5.0, seed=1, suppress_tokens=often)
    assert not set(_ids(DecodeOptions(sampled, 200))) & set(often)


@pytest.mark.parametrize(
    "sampler", [GREEDY, Sampler(0.9, top_k=5, seed=3), Sampler(temperature=0, suppress_tokens=(7,))]
)
def test_logprobs_are_of_all_tokens_that_are_not_suppressed(sampler: Sampler) -> None:
    generated: list[int] = []
    for token in _decoded(DecodeOptions(sampler, 20, logprobs=True)):
        logits = _logits(generated, sampler.suppress_tokens)
        expected = logits[token.id] - np.log(np.exp(logits).sum())
        assert token.logprob == pytest.approx(expected, abs=1e-4)
        generated.append(token.id)


def test_logprobs_only_if_asked_for() -> None:
    assert all(token.logprob is None for token in _decoded(DecodeOptions(GREEDY, 3)))


def test_sampling_draws_from_what_the_filters_leave() -> None:
    generated: list[int] = []
    for token in _ids(DecodeOptions(Sampler(3.0, top_k=3, seed=8), 40)):
        assert token in np.argsort(_logits(generated))[-3:]
        generated.append(token)


def test_a_seed_reproduces_and_no_seed_does_not() -> None:
    first, again, other = (_ids(DecodeOptions(Sampler(3.0, seed=seed), 30)) for seed in (11, 11, 12))
    assert first == again
    assert first != other
    assert len(set(first)) > 10  # a key that is not split would draw alike each time
    assert _ids(DecodeOptions(Sampler(3.0), 30)) != _ids(DecodeOptions(Sampler(3.0), 30))


@pytest.mark.parametrize("max_tokens", [1, 2, 24])
def test_caches_hold_what_was_yielded_wherever_the_caller_stops(max_tokens: int) -> None:
    for stop in range(1, max_tokens + 1):
        hidden, caches = _read()
        tokens = list(islice(decode(MODEL, hidden, caches, DecodeOptions(GREEDY, max_tokens)), stop))
        assert len(tokens) == stop
        fed = read_ids([token.id for token in tokens], max_tokens)
        same_caches(caches, _read((*PROMPT, tiny.text(fed)))[1])


@pytest.mark.parametrize("max_tokens", [-1, 0])
def test_less_than_one_token_is_refused(max_tokens: int) -> None:
    with pytest.raises(InputError, match=f"max-tokens is {max_tokens}"):
        DecodeOptions(GREEDY, max_tokens)


@pytest.mark.parametrize("max_tokens", [1, 2, 3])
def test_no_more_than_max_tokens(max_tokens: int) -> None:
    hidden, caches = _read()
    tokens = list(decode(MODEL, hidden, caches, DecodeOptions(GREEDY, max_tokens)))
    assert [token.id for token in tokens] == _naive(max_tokens)
    assert caches.offset == LENGTH + max_tokens - 1


def test_freeing_buffers_on_the_way_changes_nothing() -> None:
    ids = _ids(DecodeOptions(GREEDY, 270))
    assert len(ids) == 270
    assert ids[269] == int(_logits(ids[:269]).argmax())


def test_an_exception_thrown_in_leaves_what_was_yielded() -> None:
    hidden, caches = _read()
    tokens = decode(MODEL, hidden, caches, DecodeOptions(GREEDY, 9))
    fed = [next(tokens).id for _ in range(4)]
    with pytest.raises(KeyboardInterrupt):
        tokens.throw(KeyboardInterrupt)
    same_caches(caches, _read((*PROMPT, tiny.text(fed)))[1])


@pytest.mark.parametrize("layer", range(LAYERS))
def test_an_exception_inside_the_model_can_be_taken_back(layer: int) -> None:
    hidden, caches = _read()
    tokens = decode(MODEL, hidden, caches, DecodeOptions(GREEDY, 9))
    with failing(MODEL, layer, 3, KeyboardInterrupt()):
        fed = [next(tokens).id for _ in range(3)]
        with pytest.raises(KeyboardInterrupt):
            next(tokens)
    caches.realign()
    same_caches(caches, _read((*PROMPT, tiny.text(fed)))[1])
