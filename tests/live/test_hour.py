"""Some minutes of the hour that `python -m tests.live.hour` lives through, and that its checks can fail."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gemma_mlx.live.inbox import Closed, Opened, Sound, Told
from tests.live.hour_script import Course, Step
from tests.live.hour_witness import Witness
from tests.live.simulation import RATE, Pause, Speech, timeline

SECONDS = 900.0  # on a machine with other work
TALK = (Pause(1), Speech(2), Pause(1), Speech(1))
HEARD = timeline(TALK)


def test_three_minutes_of_it(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "tests.live.hour", "--minutes", "3", "--seed", "1", "--out", str(out)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=SECONDS)
    assert out.exists(), done.stderr[-8000:]
    (line,) = out.read_text().splitlines()
    found = json.loads(line)
    assert found["minutes"] >= 3
    for kind in ("turns", "spoken", "answers", "typed", "compared"):
        assert found["counts"][kind] > 0, found["counts"]
    assert done.returncode in (0, 1), done.stderr[-8000:]  # 1: memory is flat after ten minutes, not after one


@pytest.fixture
def witness() -> Witness:
    """Of a talk that was played to its end, with room for a second."""
    steps: Iterator[Step] = iter(TALK)
    course = Course(steps, lambda step: None)
    assert sum(scene.seconds for scene in course.scenes()) == 5
    made = Witness(RATE, course, lambda: position[0])
    position = [640 * 74]  # where the first turn is heard to
    return made


def turn(first: int, last: int) -> Sound:
    """These frames."""
    return Sound(HEARD[640 * first : 640 * last].copy())


def test_what_was_played_is_right(witness: Witness) -> None:
    for item in (Opened(), turn(20, 30), turn(30, 40), Closed(640 * 18)):
        witness.put(item)
    taken = [witness.take(0) for _ in range(3)]
    assert isinstance(taken[-1], Closed)
    assert np.array_equal(witness.over.popleft(), HEARD[640 * 20 : 640 * 38])
    assert (witness.lost, witness.closed) == (0, [(640 * 20, 640 * 38)])


@pytest.mark.parametrize("wrong", [turn(31, 41), Sound(HEARD[640 * 30 + 1 : 640 * 40 + 1].copy())])
def test_a_sample_that_is_missing_or_moved_is_seen(witness: Witness, wrong: Sound) -> None:
    witness.put(Opened())
    witness.put(turn(20, 30))
    with pytest.raises(AssertionError, match="other samples"):
        witness.put(wrong)


def test_other_samples_are_no_turn(witness: Witness) -> None:
    witness.put(Opened())
    with pytest.raises(AssertionError, match="were not played"):
        witness.put(Sound(HEARD[640 * 20 + 7 : 640 * 30 + 7].copy()))


def test_what_has_no_room_is_counted_and_told(witness: Witness) -> None:
    for item in (Opened(), turn(20, 40), turn(40, 60), Closed(640 * 40)):
        witness.put(item)
    assert witness.lost == 640 * 15
    while witness.waiting:
        witness.take(0)
    assert witness.lost_told == witness.lost
    assert np.array_equal(witness.over.popleft(), HEARD[640 * 20 : 640 * 45])


def test_notices_wait_until_they_are_said(witness: Witness) -> None:
    witness.put(Told("the microphone is gone"))
    assert witness.untold == {"the microphone is gone"}


def test_speech_in_no_turn_is_found_unless_it_was_muted(witness: Witness) -> None:
    first, second = (RATE, 3 * RATE), (4 * RATE, 5 * RATE)
    assert witness.unheard([]) == [first, second]
    witness.closed += [(RATE - 640, 2 * RATE), (2 * RATE, 3 * RATE - 1)]
    assert witness.unheard([]) == [(3 * RATE - 1, 3 * RATE), second]
    assert witness.unheard([second]) == [(3 * RATE - 1, 3 * RATE)]
    witness.closed += [(3 * RATE - 1, 3 * RATE)]
    assert witness.unheard([second]) == []
