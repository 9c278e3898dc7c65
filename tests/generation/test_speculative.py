"""Speculative decoding against the plain loop, greedy: the same ids, whatever the drafter says and how far it looks."""

import functools
import math
import time
from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from gemma_mlx.generation import speculative
from gemma_mlx.generation.depth import MOST, Depths, Fixed
from gemma_mlx.generation.events import Token
from gemma_mlx.generation.loop import DecodeOptions, decode
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting, DraftStep, decode_speculative
from gemma_mlx.inputs.prompt import Segment
from gemma_mlx.model import cache
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel
from tests import tiny
from tests.generation.drafters import Changing, Listed, Noted, Scripted, Wrong, always, livelier_model, never, sometimes
from tests.states import cold, same_caches

MODEL, DRAFTER = livelier_model(), tiny.drafter()
GREEDY = Sampler(temperature=0)
TOKENS = 20
OPTIONS = DecodeOptions(GREEDY, TOKENS)
PROMPTS, CASES, CASE_TOKENS = 25, 8 * 25, 18


@functools.cache
def _prompt(number: int) -> tuple[Segment, ...]:
    """Text shorter and longer than the window, and media between text."""
    rng = np.random.default_rng([7, number])

    def words(most: int) -> Segment:
        return tiny.text(rng.integers(2, 100, rng.integers(1, most)).tolist())

    if number % 4 == 0:
        return (words(tiny.WINDOW),)
    if number % 4 == 1:
        return (words(6 * tiny.WINDOW),)
    media = [
        tiny.image(int(rng.integers(1, 5)), int(rng.integers(1, 7)), number),
        tiny.sound(int(rng.integers(1, 40)), number),
        tiny.image(2, 2, number, "video"),
    ]
    return (words(20), media[number % 3], words(20), media[(number + 1) % 3], words(8))


PROMPT = _prompt(2)


def _length(prompt: Sequence[Segment]) -> int:
    return sum(len(segment.ids) for segment in prompt)


def _read(prompt: Sequence[Segment]) -> tuple[mx.array, Caches]:
    hidden, caches = cold(MODEL, prompt)
    assert hidden is not None
    return hidden, caches


def _plain(prompt: Sequence[Segment], options: DecodeOptions) -> list[Token]:
    return list(decode(MODEL, *_read(prompt), options))


@functools.cache
def _expected(number: int) -> list[int]:
    return [token.id for token in _plain(_prompt(number), OPTIONS)]


def _scripted(wrong: Wrong = never, number: int = 2) -> Scripted:
    return Scripted(_expected(number), _length(_prompt(number)), wrong)


@functools.cache
def _quantized() -> Drafter:
    drafter = tiny.drafter()
    nn.quantize(drafter, group_size=32, bits=4)
    return drafter


def _drafter(number: int, case: int) -> DraftStep:
    """Mostly one that is right with some chance; else a network, quantized or not, at each depth."""
    eights = case // 8
    if eights % 8 < 7:
        return _scripted(sometimes(case, (0.1, 0.3, 0.7)[eights % 3]), number)
    return _quantized() if eights == 15 else DRAFTER


def _depths(case: int) -> Depths:
    return Changing(case) if case % 7 < 2 else Fixed(1 + case % MOST)


@pytest.mark.parametrize("case", range(CASES))
def test_ids_are_those_of_the_plain_loop(case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "STEP", (256, 1, 5)[case % 3])  # rows are dropped all the time, or never
    number, options = case % PROMPTS, DecodeOptions(GREEDY, CASE_TOKENS)
    tokens = decode_speculative(
        MODEL, *_read(_prompt(number)), options, Drafting(_drafter(number, case), _depths(case))
    )
    assert _ids(list(tokens)) == _expected(number)[:CASE_TOKENS]


def test_the_plain_ids_are_many() -> None:
    assert min(len(set(_expected(number)[:CASE_TOKENS])) for number in range(PROMPTS)) > CASE_TOKENS // 4


def _decoded(drafter: DraftStep, depths: Depths, options: DecodeOptions = OPTIONS) -> list[Token]:
    return list(decode_speculative(MODEL, *_read(PROMPT), options, Drafting(drafter, depths)))


def _ids(tokens: Sequence[Token]) -> list[int]:
    return [token.id for token in tokens]


@pytest.mark.parametrize("depth", range(1, MOST + 1))
def test_all_drafts_of_a_drafter_like_the_target_are_accepted(depth: int) -> None:
    noted = Noted(Fixed(depth))
    assert _ids(_decoded(_scripted(), noted)) == _expected(2)
    assert [done.accepted for done in noted.rounds] == [done.depth for done in noted.rounds]
    assert len(noted.rounds) == math.ceil((TOKENS - 1) / (depth + 1))
    assert {done.depth for done in noted.rounds[:-1]} == {depth}


@pytest.mark.parametrize("at", range(MOST))
def test_rollback_at_every_position_of_a_block(at: int) -> None:
    """The drafter is right `at` times, then wrong, then right again: what follows the fault must not count."""
    noted, (hidden, caches) = Noted(Fixed(MOST)), _read(PROMPT)
    drafting = Drafting(_scripted(lambda _, step: step == at), noted)
    assert _ids(list(decode_speculative(MODEL, hidden, caches, OPTIONS, drafting))) == _expected(2)
    whole = [done for done in noted.rounds if done.depth > at]
    assert len(whole) > 2 or at > 5
    assert {done.accepted for done in whole} == {at}
    same_caches(caches, _read((*PROMPT, tiny.text(_expected(2)[:-1])))[1])


@pytest.mark.parametrize("depth", [1, 4, MOST])
def test_nothing_is_accepted_of_a_drafter_that_is_always_wrong(depth: int) -> None:
    noted = Noted(Fixed(depth))
    assert _ids(_decoded(_scripted(always), noted)) == _expected(2)
    assert {done.accepted for done in noted.rounds} == {0}
    assert len(noted.rounds) == TOKENS - 1


@pytest.mark.parametrize("wrong", [never, always], ids=["right", "wrong"])
@pytest.mark.parametrize("depth", [0, 1, 3, MOST])
@pytest.mark.parametrize("beyond", [None, -1, 0, 1, 2])
def test_no_more_than_max_tokens(depth: int, beyond: int | None, wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    """One token, and around the end of the first block: the first token, the drafts, the target's own."""
    max_tokens = 1 if beyond is None else max(1, depth + 2 + beyond)
    ends: list[int] = []
    whole = GemmaModel.__call__

    def watched(self: GemmaModel, embeddings: mx.array, caches: Caches) -> mx.array:
        hidden = whole(self, embeddings, caches)
        ends.append(caches.offset)
        return hidden

    hidden, caches = _read(PROMPT)
    monkeypatch.setattr(GemmaModel, "__call__", watched)
    options, drafting = DecodeOptions(GREEDY, max_tokens), Drafting(_scripted(wrong), Fixed(depth))
    assert _ids(list(decode_speculative(MODEL, hidden, caches, options, drafting))) == _expected(2)[:max_tokens]
    assert max(ends, default=0) < _length(PROMPT) + max_tokens
    assert caches.offset == _length(PROMPT) + max_tokens - 1


def test_one_pass_a_round_and_logits_of_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: dict[str, list[int]] = {"__call__": [], "logits": []}

    def watch(name: str) -> None:
        whole = getattr(GemmaModel, name)

        def watched(self: GemmaModel, x: mx.array, *rest: object) -> mx.array:
            rows[name].append(x.shape[1])
            return whole(self, x, *rest)

        monkeypatch.setattr(GemmaModel, name, watched)

    hidden, caches = _read(PROMPT)
    watch("__call__")
    watch("logits")
    drafting = Drafting(_scripted(always), Fixed(3))
    list(decode_speculative(MODEL, hidden, caches, DecodeOptions(GREEDY, 10), drafting))
    assert rows["__call__"] == [4, 4, 4, 4, 4, 4, 3, 2, 1]
    assert rows["logits"] == [1, *rows["__call__"]]


def test_drafts_are_begun_before_the_tokens_of_the_round_before_are_handed_on() -> None:
    drafter, (hidden, caches) = _scripted(), _read(PROMPT)
    tokens = decode_speculative(MODEL, hidden, caches, OPTIONS, Drafting(drafter, Fixed(3)))
    calls = []
    for _ in range(9):
        next(tokens)
        calls.append(drafter.calls)
    assert calls == [0, 6, 6, 6, 6, 9, 9, 9, 9]
    assert caches.offset == _length(PROMPT) + 8


def test_rests_one_step_ahead() -> None:
    """Without drafts the caches are wherever the plain loop's are."""
    (hidden, caches), (state, others) = _read(PROMPT), _read(PROMPT)
    options = DecodeOptions(GREEDY, 8)
    for ours, plain in zip(
        decode_speculative(MODEL, hidden, caches, options, Drafting(DRAFTER, Fixed(0))),
        decode(MODEL, state, others, options),
        strict=True,
    ):
        assert ours == plain
        assert caches.offset == others.offset


def test_every_round_is_chosen_once_and_told() -> None:
    listed = Listed([2, 0, 0, 3, 1, 0, 4, 0, 0, 0, *[2] * TOKENS])
    noted, started = Noted(listed), time.perf_counter()
    assert len(_decoded(_scripted(sometimes(0, 0.3)), noted)) == TOKENS
    spent = time.perf_counter() - started
    depths = [done.depth for done in noted.rounds]
    assert depths == listed.depths[: len(depths) - 1] + depths[-1:]  # the last one may be cut short
    assert listed.asked == len(depths)
    assert sum(done.accepted + 1 for done in noted.rounds) == TOKENS - 1
    position = _length(PROMPT)
    for done in noted.rounds:
        assert done.position == position
        assert done.seconds > 0
        position += done.accepted + 1
    assert sum(done.seconds for done in noted.rounds) < spent


@pytest.mark.parametrize("depths", [Fixed(0), Fixed(3), Changing(1)], ids=["plain", "fixed", "changing"])
def test_logprobs_and_suppressed_tokens_are_those_of_the_plain_loop(depths: Depths) -> None:
    suppressed = tuple(sorted(set(_expected(2)))[:3])
    options = DecodeOptions(Sampler(temperature=0, suppress_tokens=suppressed), TOKENS, logprobs=True)
    expected = _plain(PROMPT, options)
    assert not set(_ids(expected)) & set(suppressed)
    drafter = Scripted(_ids(expected), _length(PROMPT), sometimes(3, 0.3))
    decoded = _decoded(drafter, depths, options)
    assert _ids(decoded) == _ids(expected)
    for token, plain in zip(decoded, expected, strict=True):
        assert token.logprob == pytest.approx(plain.logprob, abs=1e-5)


def test_the_drafter_proposes_nothing_that_is_suppressed() -> None:
    """All that it would say is suppressed: it says something else, and only that is read."""
    favourite = _expected(2)[1]
    options = DecodeOptions(Sampler(temperature=0, suppress_tokens=(favourite,)), 6)
    expected = _plain(PROMPT, options)
    drafter = Scripted([favourite] * 20, _length(PROMPT))
    read: list[int] = []
    whole = MODEL.embed_text

    class Watching(GemmaModel):
        def embed_text(self, ids: mx.array) -> mx.array:
            read.extend(np.array(ids)[0].tolist())
            return whole(ids)

    model = Watching(MODEL.config)
    model.update(MODEL.parameters())
    tokens = decode_speculative(model, *_read(PROMPT), options, Drafting(drafter, Fixed(2)))
    assert _ids(list(tokens)) == _ids(expected)
    assert read
    assert favourite not in read


def test_a_seed_reproduces_and_no_seed_does_not() -> None:
    def drawn(seed: int | None, depths: Depths) -> list[int]:
        return _ids(_decoded(DRAFTER, depths, DecodeOptions(Sampler(3.0, seed=seed), TOKENS)))

    first = drawn(5, Fixed(2))
    assert drawn(5, Fixed(2)) == first
    assert drawn(6, Fixed(2)) != first
    assert drawn(None, Fixed(2)) != drawn(None, Fixed(2))
    assert len(set(first)) > 10
    assert drawn(5, Changing(0)) == drawn(5, Changing(0))


def test_past_many_windows_and_freed_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    options, every = DecodeOptions(GREEDY, 100), 30
    expected = _ids(_plain(PROMPT, options))
    ends: list[int] = []
    hidden, caches = _read(PROMPT)
    monkeypatch.setattr(speculative, "CLEAR_EVERY", every)
    monkeypatch.setattr(mx, "clear_cache", lambda: ends.append(caches.offset // every))
    drafter = Scripted(expected, _length(PROMPT), sometimes(9, 0.1))
    assert _ids(list(decode_speculative(MODEL, hidden, caches, options, Drafting(drafter, Fixed(MOST))))) == expected
    first, last = _length(PROMPT) // every, caches.offset // every
    assert ends == list(range(first + 1, last + 1))
    assert last - first >= 3
