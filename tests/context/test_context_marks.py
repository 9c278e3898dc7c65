"""Marks: each is an exact way back, copied only when it would be lost, least recently used first out, within bytes."""

import random
from pathlib import Path

import pytest

from gemma_mlx.context.context import Context, common_prefix
from gemma_mlx.context.marks import Marks
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.memory.caches import snapshot_bytes
from gemma_mlx.model import cache
from gemma_mlx.model.cache import SLACK, STEP, Caches
from tests import tiny
from tests.states import cold, equals_cold, read_equals_cold, same_caches

MODEL = tiny.model(seed=4)
CONFIG = MODEL.config.text_config
PIECE = 40
TURN = 2 * SLACK  # so far that only a copied mark leads back
ONE = snapshot_bytes(CONFIG, 10_000, 4)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little spare room: reading on drops what lies beyond the slack."""
    monkeypatch.setattr(cache, "STEP", 8)


def _turns(*first: int) -> tuple[Segment, ...]:
    """A turn of TURN tokens for each number, which begins with it."""
    return (tiny.text([token for number in first for token in (number, *(2 + i % 90 for i in range(TURN - 1)))]),)


def _with_marks(turns: int, mark_bytes: int) -> Context:
    """A mark behind every turn; the last one is still to be copied."""
    context = Context(MODEL, 10_000, PIECE, mark_bytes)
    for end in range(1, turns + 1):
        context.read(Prompt(_turns(*range(10, 10 + end))))
        context.mark()
    return context


@pytest.mark.parametrize(("snapshots", "kept"), [(0, 0), (1, 0), (2, TURN), (5, TURN)])
def test_an_edit_behind_the_first_turn_needs_the_mark_there(snapshots: int, kept: int) -> None:
    context = _with_marks(3, snapshots * ONE)
    assert len(context.marks.copies) == min(snapshots, 2)
    assert context.marks.nbytes <= snapshots * ONE
    assert read_equals_cold(context, _turns(10, 50)).cached == kept


def test_a_byte_less_than_a_copy_keeps_none() -> None:
    for short in (0, 1):
        context = _with_marks(2, ONE - short)
        assert [*context.marks.copies] == ([] if short else [TURN])


@pytest.mark.parametrize("back", range(1, 4))
def test_as_many_turns_back_as_there_are_marks(back: int) -> None:
    context = _with_marks(4, 2 * ONE)
    read = read_equals_cold(context, (*_turns(*range(10, 14 - back)), *_turns(60)))
    assert read.cached == (TURN * (4 - back) if back < 3 else 0)


def test_what_was_gone_back_to_is_kept_longest() -> None:
    context = _with_marks(3, 2 * ONE)
    assert [*context.marks.copies] == [TURN, 2 * TURN]
    read_equals_cold(context, _turns(10, 50))
    context.mark()
    read_equals_cold(context, _turns(10, 50, 51))
    context.mark()
    assert read_equals_cold(context, _turns(10, 50, 51, 52)).cached == 3 * TURN
    assert [*context.marks.copies] == [2 * TURN, 3 * TURN]
    assert read_equals_cold(context, _turns(10, 50, 53)).cached == 2 * TURN
    context.mark()
    read_equals_cold(context, _turns(10, 50, 53, 54))
    assert [*context.marks.copies] == [2 * TURN, 3 * TURN]


def test_marks_of_what_was_overwritten_are_dropped_at_once() -> None:
    context = _with_marks(4, 9 * ONE)
    read_equals_cold(context, _turns(10, 11, 60))
    assert context.marks.positions == [TURN, 2 * TURN]
    context.mark()
    assert read_equals_cold(context, _turns(10, 11, 60, 61)).cached == 3 * TURN
    assert read_equals_cold(context, _turns(10, 11, 62)).cached == 2 * TURN


def test_the_same_position_is_marked_once() -> None:
    context = _with_marks(2, 9 * ONE)
    context.mark()
    assert context.marks.positions == [TURN, 2 * TURN]


def test_a_short_conversation_copies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits into window, slack and spare rows can be cut back to any position."""
    monkeypatch.setattr(cache, "STEP", STEP)
    context = Context(MODEL, 10_000)
    text = tiny.text([2 + i % 90 for i in range(STEP)])
    for end in range(1, STEP, 40):
        context.read(Prompt((text,)), stop=end)
        context.mark()
    assert context.marks.nbytes == 0
    for end in reversed(context.marks.positions):
        assert read_equals_cold(context, (tiny.text(text.ids[:end].tolist()), tiny.text([99]))).cached == end


def test_decoding_copies_marks_before_they_are_lost() -> None:
    context = Context(MODEL, 10_000)
    segments = _turns(10)
    hidden = context.read(Prompt(segments), marks=[TURN - 5]).hidden
    assert hidden is not None
    ids = [token.id for token in context.decode(hidden, DecodeOptions(Sampler(temperature=0), 100))]
    assert [*context.marks.copies] == [TURN - 5]
    equals_cold(context, (*segments, tiny.text(ids[:-1])))
    shorter = tiny.text(segments[0].ids[: TURN - 5].tolist())
    assert read_equals_cold(context, (shorter, tiny.text([99]))).cached == TURN - 5


@pytest.mark.parametrize("seed", range(4))
def test_any_mark_that_can_be_cut_back_to_is_an_exact_way_back(seed: int) -> None:
    """In pieces of any length, after any way back."""
    rng = random.Random(seed)
    context = Context(MODEL, 10_000, rng.choice([11, 40, 90, 512]))
    ids: list[int] = []
    for _ in range(7):
        ids = ids[: rng.choice([len(ids), len(ids), rng.randrange(len(ids) + 1)])]
        ids += [rng.randrange(2, 99) for _ in range(rng.choice([1, 30, 110]))]
        wanted = [rng.randrange(1, len(ids) + 1) for _ in range(2)]
        before = [*context.keys]
        shared = common_prefix(before, [*ids])
        lost = context.lost(Prompt((tiny.text(ids),)))
        read = read_equals_cold(context, (tiny.text(ids),))
        assert read.cached == min(shared, len(ids) - 1) - lost
        for position in wanted:
            context.mark(position)
        assert {p for p in wanted if len(ids) - p <= context.caches.trimmable} <= {*context.marks.positions}


def test_marks_that_were_never_reached_lead_nowhere() -> None:
    context = Context(MODEL, 10_000, 50)
    asked = iter([False, True])
    context.read(Prompt(_turns(10)), interrupted=lambda: next(asked), marks=[100, TURN])
    assert read_equals_cold(context, (tiny.text([3] * 250),)).cached == 0
    assert read_equals_cold(context, (tiny.text([4] * 250),)).cached == 0


@pytest.mark.parametrize("budget", [0, 2, 9])
def test_a_file_with_more_than_the_budget_brings_what_was_used_last(budget: int, tmp_path: Path) -> None:
    """A plan with less memory may read what one with more has written."""
    context = _with_marks(4, 9 * ONE)
    context.read(Prompt(_turns(10, 11, 12, 13, 14)))
    context.save(tmp_path / "talk.safetensors", "weights")
    other = Context(MODEL, 10_000, PIECE, budget * ONE)
    other.load(tmp_path / "talk.safetensors", "weights")
    copies, kept = context.marks.copies, other.marks.copies
    assert [*kept] == [*copies][len(copies) - len(kept) :]
    assert len(copies) == 4
    assert len(kept) >= min(budget, 4)
    assert other.marks.nbytes <= budget * ONE
    assert other.marks.positions == [at for at in context.marks.positions if at in other.marks.copies]
    assert read_equals_cold(other, _turns(*range(10, 10 + 4), 50)).cached == (4 * TURN if budget else 0)


def test_marks_of_empty_caches() -> None:
    marks, caches = Marks(0), Caches(CONFIG)
    marks.add(caches, 0)
    marks.secure(caches, 1000)
    assert (marks.positions, marks.nbytes, marks.way_back(caches, 0)) == ([], 0, 0)


def test_a_fork_shares_nothing_that_is_written() -> None:
    context = _with_marks(3, 9 * ONE)
    other = context.fork()
    segments = _turns(10, 11, 12)
    for one, first in ((context, 70), (other, 71), (context, 72)):
        read_equals_cold(one, (*segments, tiny.text([first] * 5)))
    equals_cold(other, (*segments, tiny.text([71] * 5)))
    for one, first in ((other, 80), (context, 81)):
        assert read_equals_cold(one, _turns(10, 11, first)).cached == 2 * TURN
        assert read_equals_cold(one, _turns(10, first)).cached == TURN
    hidden = other.read(Prompt(_turns(10, 80))).hidden
    assert hidden is not None
    held = [*context.keys]
    list(other.decode(hidden, DecodeOptions(Sampler(temperature=0), 20)))
    assert context.keys == held
    same_caches(context.caches, cold(MODEL, _turns(10, 81))[1])


def test_the_memory_of_a_fork_is_asked_for() -> None:
    asked: list[tuple[int, int]] = []
    context = _with_marks(2, 9 * ONE)
    context.admit = lambda positions, piece, held: asked.append((positions, context.nbytes - held))
    context.fork()
    assert asked == [(2 * TURN + 1, context.caches.nbytes)]
