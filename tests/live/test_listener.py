"""The listener with a microphone that plays a script: every turn is what an ear finds in the whole of it."""

import math

import numpy as np
import pytest

from gemma_mlx.capture import vad
from gemma_mlx.capture.activity import Ear
from gemma_mlx.capture.microphone import Notice
from gemma_mlx.live.inbox import Closed, Item, Meter, Opened, Paused, Resumed, Sound, Told, Withdrawn
from gemma_mlx.live.listener import Options
from tests.live.simulation import (
    RATE,
    Gap,
    Loud,
    Noise,
    Pause,
    Room,
    Scene,
    Speech,
    Switched,
    Unplugged,
    kinds,
    timeline,
    told,
)

FRAME = 640


def joined(items: list[Item]) -> list[object]:
    """The items, sounds that follow each other as one list of samples."""
    found: list[object] = []
    for item in items:
        if not isinstance(item, Sound):
            found.append(item)
        elif found and isinstance(found[-1], list):
            found[-1] += item.samples.tolist()
        else:
            found.append(item.samples.tolist())
    return found


def expected(samples: np.ndarray, breaks: tuple[int, ...] = ()) -> list[object]:
    """What an ear finds in all samples at once, as items; nothing is heard from each break's first sample to its
    second one, in a row."""
    items: list[object] = []
    for first, last in zip((0, *breaks[1::2]), (*breaks[::2], samples.size), strict=True):
        items += _expected(samples, first, last)
    merged: list[object] = []
    for item in items:
        if isinstance(item, list) and merged and isinstance(merged[-1], list):
            merged[-1] = merged[-1] + item
        else:
            merged.append(item)
    return merged


def _expected(samples: np.ndarray, first: int, last: int) -> list[object]:
    """What is heard from one sample to another without a break, after which it is broken off, or the end."""
    ear = Ear(Loud())
    ear.restart(first)
    events = [(event, event.at) for event in ear.hear(samples[first:last])]
    if last < samples.size:
        events += [(event, last) for event in ear.finish()]
    heard = np.concatenate([samples[:last], np.zeros(FRAME, np.int16)])
    items: list[object] = []
    start: int | None = None
    for event, at in events:
        if isinstance(event, vad.Began):
            items, start, given = [*items, Opened(event.start)], event.start, event.start
        assert start is not None
        until = max(start + (at - start) // FRAME * FRAME, event.stop if isinstance(event, vad.Ended) else 0)
        items += [heard[given:until].tolist()] if until > given else []
        items += _as_items(event, start)
        given = max(given, until)
    if ear.phase is not vad.Phase.LISTENING:
        assert start is not None
        until = start + (last - start) // FRAME * FRAME
        items += [heard[given:until].tolist()] if until > given else []
    return items


def _as_items(event: vad.Event, start: int) -> list[object]:
    match event:
        case vad.Paused(stop):
            return [Paused(stop - start)]
        case vad.Resumed():
            return [Resumed()]
        case vad.Ended(_, stop):
            return [Closed(stop - start)]
        case vad.FalseStart():
            return [Withdrawn()]
    return []


def without_notices(items: list[Item]) -> list[Item]:
    return [item for item in items if not isinstance(item, Told)]


TALK = (
    *(Pause(1), Speech(1.2), Pause(0.4), Speech(0.5), Noise(1), Speech(0.22), Pause(1.1)),
    *(Speech(0.15), Pause(0.6), Speech(2), Pause(0.75), Speech(0.3), Pause(1)),
)


@pytest.mark.parametrize("block", [320, 160, 7, 640, 1000, 20000])
def test_turns_are_what_the_ear_finds_whatever_the_blocks(block: int) -> None:
    items = Room(*TALK, block=block).all()
    assert kinds(items).count("Closed") == 3
    assert "Withdrawn" in kinds(items)
    assert "Resumed" in kinds(items)
    assert joined(items) == expected(timeline(TALK))


def test_sound_is_handed_over_frame_by_frame_while_it_is_heard() -> None:
    room = Room(Pause(1), Speech(2))
    handed = []
    while not room.microphone.over:
        room.step()
        handed.append(sum(item.samples.size for item in room.items if isinstance(item, Sound)))
    steps = np.diff(handed)
    assert sorted(set(steps[-60:].tolist())) == [0, FRAME]
    first = next(size for size in handed if size)
    assert first > (vad.Timing().pre_roll_ms + vad.Timing().start_ms) * 16 - FRAME  # the pre-roll and what began it


def test_speech_interrupts_when_it_lasts_and_nobody_has_taken_it() -> None:
    room = Room(Pause(1), Speech(1), Pause(1))
    room.read = False
    room.until(1.36)
    assert room.inbox.waiting
    assert not room.inbox.interrupts
    room.until(1.44)
    assert room.inbox.interrupts
    assert isinstance(room.inbox.take(0), Opened)
    room.until(3)
    assert not room.inbox.interrupts


@pytest.mark.parametrize("seconds", [0.04, 0.5, 0.52, 3])
@pytest.mark.parametrize("before", [Speech(1), Pause(2), Speech(0.1)])
def test_a_short_gap_is_zeros_and_a_longer_one_ends_the_turn(seconds: float, before: Scene) -> None:
    script = (Pause(1), before, Gap(seconds), Speech(1), Pause(1))
    at = round((1 + before.seconds) * RATE)
    items = Room(*script).all()
    breaks = (at, at + round(seconds * RATE)) if seconds > 0.5 else ()
    assert joined(without_notices(items)) == expected(timeline(script), breaks)
    assert told(items) == [f"{seconds} s were dropped"]


@pytest.mark.parametrize("speech", [0.1, 0.23, 1, 1.01])
@pytest.mark.parametrize("gone", [0.1, 7])
def test_unplugged_while_speaking_ends_the_turn_with_what_was_heard(speech: float, gone: float) -> None:
    script = (Pause(1), Speech(speech), Unplugged(gone), Speech(1), Pause(1))
    at = round((1 + speech) * RATE)
    room = Room(*script)
    room.until(1 + speech)
    room.step()
    before = kinds(without_notices(room.items))
    assert not before or before[-1] in ("Closed", "Withdrawn")  # not when it is back
    items = room.all()
    if gone > 0.5:
        assert joined(without_notices(items)) == expected(timeline(script), (at, at + round(gone * RATE)))
    assert told(items) == ["the microphone is gone", f"{gone} s were not heard"]


def test_a_quick_change_of_the_device_is_heard_through() -> None:
    script = (Pause(1), Speech(1), Switched(0.2), Speech(1), Pause(1))
    assert joined(without_notices(Room(*script).all())) == expected(timeline(script))


def test_a_device_that_does_not_come_back_ends_the_turn() -> None:
    room = Room(Pause(1), Speech(1), Switched(60), Speech(1), Pause(1))
    assert "Closed" not in kinds(room.until(3.9))
    assert room.inbox.meter == Meter("hearing", -math.inf, False)
    assert "Closed" in kinds(room.until(4.2))
    assert kinds(room.all()).count("Opened") == 2


MUTED = {
    0.5: [],
    1.1: [],
    1.22: ["Opened", "Withdrawn"],
    2.0: ["Opened", "Closed"],
    3.4: ["Opened", "Paused", "Closed"],
}


@pytest.mark.parametrize(("seconds", "before"), MUTED.items())
def test_muted_in_any_phase(seconds: float, before: list[str]) -> None:
    script = (Pause(1), Speech(2), Pause(1.5), Speech(3), Pause(1))
    room = Room(*script)
    items = room.all({seconds: lambda listener: listener.mute(True), 5.5: lambda listener: listener.mute(False)})
    assert kinds(items) == [*before, "Opened", "Paused", "Closed"]
    breaks = (round(seconds * RATE), round(5.5 * RATE))
    assert joined(items) == expected(timeline(script), breaks)


def test_while_muted_nothing_is_put_or_shown() -> None:
    room = Room(Pause(1), Noise(1), Speech(3), Pause(1))
    room.until(2)
    assert -70 < room.inbox.meter.level_db < -50
    room.listener.mute(True)
    assert room.listener.muted
    for _ in range(100):
        room.step()
        assert room.inbox.meter == Meter("listening", -math.inf, True)
    assert not room.items
    room.listener.mute(True)
    room.listener.mute(False)
    room.step()
    assert room.inbox.meter.level_db > -20
    assert not room.inbox.meter.muted
    assert room.microphone.position > 4 * RATE  # it was read all the time


def test_a_wish_counts_from_when_it_was_wished_also_for_a_late_thread() -> None:
    script = (Pause(1), Speech(2), Pause(2))
    room = Room(*script)
    room.until(2)
    room.clock.now = 2.5  # nobody read
    room.listener.mute(True)
    items = room.all()
    assert joined(items) == expected(timeline(script), (round(2.5 * RATE), 5 * RATE))


def test_silence_is_no_news_while_muted() -> None:
    room = Room(Pause(0.1))
    room.all({0.04: lambda listener: listener.mute(True)})
    room.listener._note(Notice("silent", "unmute it"))
    room.listener._note(Notice("heard", "there is sound again"))
    room.listener._note(Notice("silent", "unmute it, please"))
    room.listener._note(Notice("clipped", "too loud"))
    room.listener.mute(False)
    room.step()
    assert told(room.items) == ["too loud", "unmute it, please"]
    room.listener._note(Notice("heard", "there is sound again"))
    room.step()
    assert told(room.items)[2:] == ["there is sound again"]


def test_a_turn_without_an_end_is_ended() -> None:
    script = (Pause(1), Speech(7.5), Pause(1.5))
    items = Room(*script, options=Options(most=3 * RATE)).all()
    closed = [item.stop for item in items if isinstance(item, Closed)]
    assert len(closed) == 3
    assert closed[0] == closed[1] == 3 * RATE // FRAME * FRAME
    assert told(items) == ["after 0.05 minutes a turn is over; mute the microphone if nobody speaks"] * 2
    heard = np.concatenate([item.samples for item in items if isinstance(item, Sound)])
    spoken = timeline(script)[RATE : 17 * RATE // 2]
    at = int((np.abs(heard) > 1).argmax())
    np.testing.assert_array_equal(heard[at : at + spoken.size], spoken)  # nothing is missing between the turns


def test_sound_that_was_not_kept_is_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="not kept"):
        Room(Pause(1), Speech(1), options=Options(reach=FRAME)).all()
