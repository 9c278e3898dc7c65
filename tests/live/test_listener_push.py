"""Push-to-talk: a turn is what was heard between two pushes."""

import math

import numpy as np
import pytest

from gemma_mlx.capture.activity import Ear
from gemma_mlx.live.inbox import Inbox, Item, Meter, Sound
from gemma_mlx.live.listener import Listener, Options
from tests.live.simulation import (
    RATE,
    Clock,
    FakeMicrophone,
    Gap,
    Loud,
    Pause,
    Room,
    Speech,
    Switched,
    Unplugged,
    kinds,
    timeline,
    told,
)

FRAME = 640
TALK = (Pause(1), Speech(2), Pause(1), Speech(2))


def push(listener: Listener) -> None:
    listener.push()


def heard(items: list[Item]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int16), *(item.samples for item in items if isinstance(item, Sound))])


def padded(samples: np.ndarray) -> np.ndarray:
    """To whole frames."""
    return np.pad(samples, (0, -samples.size % FRAME))


@pytest.mark.parametrize(("begin", "end"), [(1.0, 2.5), (0.5, 5.5), (2.02, 2.5), (0.0, 0.4)])
def test_a_turn_is_what_is_heard_between_two_pushes(begin: float, end: float) -> None:
    items = Room(*TALK, pushed=True).all({begin: push, end: push})
    assert kinds(items) == ["Opened", "Closed"]
    np.testing.assert_array_equal(heard(items), padded(timeline(TALK)[round(begin * RATE) : round(end * RATE)]))


def test_without_a_push_nothing_is_said_and_the_level_is_shown() -> None:
    room = Room(*TALK, pushed=True)
    assert not room.until(2.5)
    before = room.inbox.meter
    assert before.state == "listening"
    assert before.level_db > -20
    room.listener.push()
    room.step()
    after = room.inbox.meter
    assert after.state == "hearing"
    assert after.level_db > -20


def test_a_push_interrupts_at_once() -> None:
    room = Room(*TALK, pushed=True)
    room.read = False
    room.until(1)
    room.listener.push()
    room.step()
    assert room.inbox.interrupts


@pytest.mark.parametrize(("blocks", "kept"), [(0, False), (24, False), (25, True), (26, True)])
def test_a_quarter_of_a_second_is_a_turn(blocks: int, kept: bool) -> None:
    room = Room(*TALK, pushed=True, block=160)
    room.until(1)
    room.listener.push()
    room.until(1 + blocks / 100)
    room.listener.push()
    items = room.all()
    assert kinds(items)[:2] == ["Opened", "Closed" if kept else "Withdrawn"]
    assert bool(told(items)) != kept
    assert room.inbox.meter.state == "listening"


@pytest.mark.parametrize("seconds", [0.3, 0.5, 0.52, 1.5])
def test_a_short_gap_is_zeros_and_a_longer_one_ends_the_turn(seconds: float) -> None:
    script = (Pause(1), Speech(1), Gap(seconds), Speech(1), Pause(2))
    items = Room(*script, pushed=True).all({1.5: push, 2.5 + seconds: push})
    samples = timeline(script)
    if seconds <= 0.5:
        assert kinds(items) == ["Opened", "Told", "Closed"]
        np.testing.assert_array_equal(heard(items), padded(samples[RATE * 3 // 2 : round((2.5 + seconds) * RATE)]))
    else:
        assert kinds(items) == ["Opened", "Told", "Closed", "Told", "Opened"]
        assert "push again" in told(items)[1]
        first = padded(samples[RATE * 3 // 2 : 2 * RATE])
        np.testing.assert_array_equal(heard(items)[: first.size], first)


def test_unplugged_ends_the_turn_and_a_push_without_a_device_begins_none_for_long() -> None:
    room = Room(Pause(1), Speech(1), Unplugged(20), Speech(1), Pause(1), pushed=True)
    items = room.all({1.5: push, 2.5: push, 4.0: push})
    assert kinds(items)[:4] == ["Opened", "Told", "Closed", "Told"]
    assert kinds(items).count("Opened") == kinds(items).count("Closed") + kinds(items).count("Withdrawn")
    assert room.inbox.meter.state == "listening"


def test_a_device_that_does_not_come_back_ends_the_turn() -> None:
    room = Room(Pause(1), Speech(1), Switched(60), Speech(1), pushed=True)
    room.until(1.5)
    room.listener.push()
    assert kinds(room.until(3.9)) == ["Opened", "Told"]
    assert kinds(room.until(4.2)) == ["Opened", "Told", "Closed", "Told"]


def test_muted_the_turn_ends_as_it_is_and_pushes_do_nothing() -> None:
    room = Room(*TALK, pushed=True)
    wishes = {1.5: push, 2.5: lambda listener: listener.mute(True), 3.0: push}
    items = room.all(wishes)
    assert kinds(items) == ["Opened", "Closed", "Told"]
    assert told(items) == ["the microphone is muted"]
    np.testing.assert_array_equal(heard(items), padded(timeline(TALK)[RATE * 3 // 2 : RATE * 5 // 2]))
    assert room.inbox.meter == Meter("listening", -math.inf, True)


@pytest.mark.parametrize(("seconds", "ended"), [(1.98, False), (2.0, True), (2.5, True)])
def test_a_turn_is_so_long_at_most(seconds: float, ended: bool) -> None:
    room = Room(*TALK, pushed=True, options=Options(most=2 * RATE))
    room.until(1)
    room.listener.push()
    items = room.until(1 + seconds)
    assert ("Closed" in kinds(items)) == ended
    assert bool(told(items)) == ended
    assert not ended or heard(items).size == 2 * RATE


def test_an_ear_is_not_pushed() -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="ear"):
        Listener(FakeMicrophone((), clock), Ear(Loud()), Inbox(), clock=clock).push()
