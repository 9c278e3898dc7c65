"""Several marks: each is an exact way back, the oldest goes first, none is needed."""

import pytest

from gemma_mlx.context import Context
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.model.cache import SLACK
from tests import tiny
from tests.states import read_equals_cold

MODEL = tiny.model(seed=4)
TURN = 4 * SLACK  # so far that only a mark leads back


def _turns(*first: int) -> tuple[Segment, ...]:
    """A turn of TURN tokens for each number, which begins with it."""
    return (tiny.text([token for number in first for token in (number, *(2 + i % 90 for i in range(TURN - 1)))]),)


def _with_marks(turns: int, snapshots: int) -> Context:
    """A mark behind every turn."""
    context = Context(MODEL, 10_000, snapshots=snapshots)
    for end in range(1, turns + 1):
        context.read(Prompt(_turns(*range(10, 10 + end))))
        context.mark()
    return context


@pytest.mark.parametrize(("snapshots", "kept"), [(0, 0), (1, 0), (2, 0), (3, TURN), (5, TURN)])
def test_an_edit_behind_the_first_turn_needs_the_mark_there(snapshots: int, kept: int) -> None:
    context = _with_marks(3, snapshots)
    assert read_equals_cold(context, _turns(10, 50)).cached == kept


@pytest.mark.parametrize("back", range(4))
def test_as_many_turns_back_as_there_are_marks(back: int) -> None:
    context = _with_marks(4, 3)
    read = read_equals_cold(context, (*_turns(*range(10, 13 - back)), *_turns(60)))
    assert read.cached == (TURN * (3 - back) if back < 3 and 3 - back >= 2 else 0)


def test_marks_of_what_was_overwritten_are_dropped() -> None:
    context = _with_marks(4, 3)
    read_equals_cold(context, _turns(10, 11, 60))
    context.mark()
    assert [mark.offset for mark in context._marks] == [2 * TURN, 3 * TURN]
    assert read_equals_cold(context, _turns(10, 11, 60, 61)).cached == 3 * TURN
    assert read_equals_cold(context, _turns(10, 11, 62)).cached == 2 * TURN


def test_the_same_position_is_marked_once() -> None:
    context = _with_marks(2, 3)
    context.mark()
    assert [mark.offset for mark in context._marks] == [TURN, 2 * TURN]


def test_without_snapshots_nothing_is_kept() -> None:
    assert _with_marks(3, 0)._marks == []
