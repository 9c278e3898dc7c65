"""The tape's peak against a simulation entry by entry."""

import numpy as np
import pytest

from gemma_mlx.memory.tape import AHEAD, Sized, Tape


def test_an_empty_tape_takes_nothing() -> None:
    assert Tape().peak() == 0


def test_results_are_alive_until_their_last_reader_has_run() -> None:
    tape = Tape()
    first = tape.new(100, entries=1)
    second = tape.new(10, first, entries=1)
    tape.read(second, entries=AHEAD)  # all but the first entries have run when this one is queued
    tape.new(1000, entries=1)
    assert tape.peak() == 1010


@pytest.mark.parametrize(("between", "expected"), [(AHEAD - 1, 300), (AHEAD, 200), (AHEAD + 1, 200)])
def test_what_is_read_no_more_is_free_as_far_behind_as_queueing_runs_ahead(between: int, expected: int) -> None:
    tape = Tape()
    tape.new(100, entries=1)
    tape.read(entries=between - 1)
    tape.new(200, entries=1)
    assert tape.peak() == expected


def test_what_is_kept_or_held_counts() -> None:
    tape = Tape()
    held = tape.held(1000)
    kept = tape.new(100, held)
    tape.keep(kept)
    tape.read(entries=10 * AHEAD)
    tape.new(10)
    assert tape.peak() == 1100
    assert held.last == 2


def test_equal_operations_side_by_side_take_as_many_entries_each() -> None:
    tape = Tape()
    tape.lanes = 3
    tape.new(1)
    assert tape.clock == 6


def _slow_peak(tape: Tape, arrays: list[Sized]) -> int:
    """Bytes alive at every single entry."""
    times = range(tape.clock + AHEAD + 2)
    return max(sum(a.nbytes for a in arrays if a.born <= time < a.last + AHEAD) for time in times)


@pytest.mark.parametrize("seed", range(20))
def test_the_peak_is_that_of_a_simulation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tape = Tape()
    arrays: list[Sized] = []
    for _ in range(60):
        read = [arrays[i] for i in rng.integers(0, len(arrays), 2)] if arrays else []
        arrays.append(tape.new(int(rng.integers(1, 1000)), *read, entries=int(rng.integers(1, 9))))
    assert tape.peak() == _slow_peak(tape, arrays)
