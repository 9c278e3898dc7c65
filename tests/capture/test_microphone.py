"""The microphone: what it hands on, what it drops, and that it opens and closes in every state."""

import threading

import numpy as np
import pytest

from gemma_mlx.capture.microphone import Microphone, Notice, Options
from gemma_mlx.errors import InputError
from tests.capture.room import SECOND, Room
from tests.capture.sound import BLOCK, FakeSound, Fault


@pytest.mark.parametrize("block", [160, 320, 640])
def test_samples_arrive_unchanged_and_in_order(block: int) -> None:
    room = Room(options=Options(block=block))
    with room.ears:
        said = [np.arange(n, n + block).astype(np.int16) for n in (-5000, 7, 20000)]
        for samples in said:
            room.sound.stream.hear(samples)
        blocks, noticed = room.read()
        assert not noticed
        assert [each.number for each in blocks] == [0, 1, 2]
        np.testing.assert_array_equal(np.concatenate([each.samples for each in blocks]), np.concatenate(said))
        assert room.ears.read(0) is None


@pytest.mark.parametrize("block", [0, -320, 300, 512, 1280])
def test_a_block_divides_a_frame(block: int) -> None:
    with pytest.raises(ValueError, match="does not divide a frame"):
        Options(block=block)


def test_an_undisturbed_minute_has_no_notices() -> None:
    room = Room()
    with room.ears:
        assert room.hear(60 * SECOND) == []
        assert len(room.sound.streams) == 1


def test_a_late_reader_loses_the_oldest_and_is_told() -> None:
    room = Room(options=Options(ring=1.0))
    with room.ears:
        said = [room.noise() for _ in range(SECOND + 10)]
        for samples in said:
            room.now += 0.02
            room.sound.stream.hear(samples)
        event = room.ears.read(0)
        assert isinstance(event, Notice)
        assert (event.kind, event.samples) == ("dropped", 10 * BLOCK)
        assert event.text == "0.20 s were dropped: this program was too slow to listen"
        blocks, noticed = room.read()
        assert not noticed
        assert [each.number for each in blocks] == [*range(10, SECOND + 10)]
        np.testing.assert_array_equal(blocks[-1].samples, said[-1])
        assert room.ears.dropped == 10 * BLOCK
        assert room.hear(5) == []


def test_an_overflow_of_the_system_is_told_before_its_block() -> None:
    room = Room()
    with room.ears:
        room.sound.stream.hear(room.noise())
        room.sound.stream.hear(room.noise(), overflow=True)
        events = [room.ears.read(0) for _ in range(3)]
        assert [event.kind if isinstance(event, Notice) else "block" for event in events if event] == [
            "block",
            "overflow",
            "block",
        ]


@pytest.mark.parametrize("fault", ["none", "busy", "unknown"])
def test_what_does_not_open_is_one_line_and_leaves_nothing(fault: str) -> None:
    room = Room(options=Options(device="phone" if fault == "unknown" else None))
    if fault == "none":
        room.sound = FakeSound()
        room.ears = Microphone(Options(), room.sound, lambda: room.now, lambda: None)
    room.sound.open_fault = lambda number: Fault("Device unavailable", -9985)
    with pytest.raises(InputError), room.ears:
        raise AssertionError("it opened")
    assert not room.sound.streams
    room.ears.close()


def test_a_second_microphone_sees_what_came_meanwhile() -> None:
    sound = FakeSound("Built-in")
    Microphone(Options(), sound).open().close()
    sound.plugged.insert(0, ("AirPods", 1))
    with Microphone(Options(device="airpods"), sound) as ears:
        assert ears.device is not None
        assert ears.device.name == "AirPods"


def states(name: str) -> Room:
    """A microphone in that state."""
    room = Room()
    if name != "new":
        room.ears.open()
    if name in ("heard", "waiting", "lost", "back"):
        room.hear(SECOND)
    if name == "waiting":
        room.sound.stream.hear(room.noise())
    if name in ("lost", "back"):
        room.sound.plugged = []
        room.sound.stream.abort()
        room.wait(2)
    if name == "back":
        room.sound.plugged = [("Built-in", 1)]
        room.wait(2)
    if name == "over":
        room.sound.stream.abort()  # and nobody has looked yet
    return room


@pytest.mark.parametrize("state", ["new", "open", "heard", "waiting", "over", "lost", "back"])
def test_it_closes_from_every_state_twice_and_stays_closed(state: str) -> None:
    room = states(state)
    threads = threading.active_count()
    for _ in range(2):
        room.ears.close()
        assert all(stream.closed for stream in room.sound.streams)
        assert room.ears.device is None
    room.sound.plugged = [("Built-in", 1)]
    opened = len(room.sound.streams)
    room.now += 10
    assert room.ears.read(5) is None
    assert len(room.sound.streams) == opened
    assert threading.active_count() == threads
    with pytest.raises(RuntimeError, match="opened once"):
        room.ears.open()


def test_closing_ends_a_wait_on_another_thread() -> None:
    sound = FakeSound("Built-in")
    ears = Microphone(Options(stall=60), sound, default_input=lambda: None).open()
    ended = threading.Event()

    def wait() -> None:
        assert ears.read(60) is None
        ended.set()

    reader = threading.Thread(target=wait)
    reader.start()
    ears.close()
    assert ended.wait(10)
    reader.join()


def test_closing_just_before_it_opens_again_leaves_it_closed() -> None:
    """Another thread closes after `read` saw that it is open; here the clock does, which is asked in between."""
    sound, now, until_closing = FakeSound("Built-in"), [100.0], [0]

    def clock() -> float:
        until_closing[0] -= 1
        if until_closing[0] == 0:
            ears.close()
        return now[0]

    ears = Microphone(Options(), sound, clock, lambda: None).open()
    sound.plugged = []
    sound.stream.abort()
    assert isinstance(ears.read(0), Notice)
    sound.plugged, now[0], until_closing[0] = [("Built-in", 1)], 110.0, 2
    assert ears.read(0) is None
    assert len(sound.streams) == 1


def test_the_callback_waits_for_nothing_that_the_reader_holds() -> None:
    """PortAudio calls while the reader opens or closes a stream, and the end of a stream comes from inside of it."""
    room = Room()
    with room.ears, room.ears._opening:
        heard = threading.Thread(target=lambda: room.sound.stream.hear(room.noise()))
        heard.start()
        heard.join(10)
        assert not heard.is_alive()
