"""The listener's own thread: it ends from every state, its faults are somebody's, and nothing that races is lost."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np
import pytest

from gemma_mlx.capture.activity import Ear
from gemma_mlx.capture.microphone import Microphone, Notice
from gemma_mlx.capture.ring import Block
from gemma_mlx.errors import InputError
from gemma_mlx.live.inbox import Closed, Inbox, Meter, Opened, Paused, Sound, Told, Withdrawn
from gemma_mlx.live.listener import Listener
from tests.capture.sound import BLOCK, FakeSound, Fault
from tests.live.simulation import Clock, FakeMicrophone, Gap, Loud, Noise, Pause, Scene, Speech, Unplugged

SECONDS = 30.0  # until something that should come counts as missing, on a machine with other work


class Spoken:
    """A microphone that hears what a test says, in the wall clock's time."""

    def __init__(self) -> None:
        self._waiting = threading.Semaphore(0)
        self._events: list[Block | Notice] = []
        self.closed = False
        self.fault: InputError | None = None

    def say(self, seconds: float, level: int) -> None:
        for _ in range(round(seconds * 50)):
            self._events.append(Block(0, np.full(BLOCK, level, np.int16), time.monotonic()))
            self._waiting.release()

    def open(self) -> None:
        if self.fault is not None:
            raise self.fault

    def read(self, timeout: float) -> Block | Notice | None:
        return self._events.pop(0) if self._waiting.acquire(timeout=0 if self.closed else timeout) else None

    def close(self) -> None:
        self.closed = True


class Broken(Loud):
    """A judge that fails at what is loud."""

    def probability(self, samples: np.ndarray) -> float:
        return 1 / (1 - super().probability(samples))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    threads = threading.active_count()
    yield
    assert threading.active_count() == threads


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def closed(listener: Listener) -> None:
    """Close it, in time."""
    before = time.monotonic()
    listener.close()
    assert time.monotonic() - before < 1
    listener.close()


def test_it_closes_before_it_starts() -> None:
    microphone = Spoken()
    closed(Listener(microphone, Ear(Loud()), Inbox()))
    assert microphone.closed


def test_it_closes_while_it_waits_for_sound() -> None:
    microphone = Spoken()
    listener = Listener(microphone, Ear(Loud()), Inbox()).start()
    closed(listener)
    assert microphone.closed


@pytest.mark.parametrize("taken", [False, True])
def test_closed_in_a_turn_the_turn_is_withdrawn(taken: bool) -> None:
    microphone, inbox = Spoken(), Inbox()
    listener = Listener(microphone, Ear(Loud()), inbox).start()
    microphone.say(1, 20000)
    until(lambda: inbox.interrupts)
    assert inbox.meter.state == "hearing"
    if taken:
        assert isinstance(inbox.take(0), Opened)
    closed(listener)
    assert inbox.take(0) == (Withdrawn() if taken else None)
    assert inbox.take(0) is None
    assert inbox.meter == Meter("listening", -np.inf, False)


def test_closed_while_muted() -> None:
    microphone, inbox = Spoken(), Inbox()
    listener = Listener(microphone, Ear(Loud()), inbox).start()
    listener.mute(True)
    microphone.say(1, 20000)
    until(lambda: inbox.meter.muted)
    closed(listener)
    assert not inbox.waiting


@pytest.mark.parametrize("state", ["silent", "lost", "stuck"])
def test_it_closes_whatever_the_device_does(state: str) -> None:
    sound, inbox = FakeSound("Built-in"), Inbox()
    with Listener(Microphone(sound=sound), Ear(Loud()), inbox) as listener:
        if state == "lost":
            sound.open_fault = lambda number: Fault("gone", -9996)
            sound.stream.abort()
        if state == "stuck":
            sound.open_fault = lambda number: Fault("busy", -9985)
        if state != "silent":
            assert isinstance(inbox.take(SECONDS), Told)
        closed(listener)
    assert all(stream.closed for stream in sound.streams)


def test_what_does_not_open_is_said_at_the_start() -> None:
    microphone = Spoken()
    microphone.fault = InputError("there is no microphone")
    listener = Listener(microphone, Ear(Loud()), Inbox())
    with pytest.raises(InputError, match="no microphone"):
        listener.start()
    closed(listener)


def test_a_fault_of_ours_reaches_who_takes_and_closes_the_microphone() -> None:
    microphone, inbox = Spoken(), Inbox()
    listener = Listener(microphone, Ear(Broken()), inbox).start()
    microphone.say(1, 20000)
    with pytest.raises(ZeroDivisionError):
        inbox.take(SECONDS)
    until(lambda: microphone.closed)
    assert inbox.take(0) is None
    closed(listener)


SCENES = (Pause(1), Speech(1.3), Noise(0.5), Speech(0.4), Gap(0.1), Speech(0.3), Gap(0.8), Pause(1), Unplugged(2))


@pytest.mark.parametrize("pushed", [False, True])
def test_hammered_from_all_sides_every_turn_is_whole(pushed: bool) -> None:
    clock, inbox = Clock(), Inbox(48000)
    endless: Iterator[Scene] = cycle(SCENES)
    microphone = FakeMicrophone(endless, clock)
    rng = np.random.default_rng(2)
    turns = handed = 0
    opened = False
    with Listener(microphone, None if pushed else Ear(Loud()), inbox, clock=clock) as listener:
        end = time.monotonic() + SECONDS
        while turns < 40 and time.monotonic() < end:
            if rng.random() < 0.1:
                listener.mute(bool(rng.random() < 0.3))
            if pushed and rng.random() < 0.2:
                listener.push()
            item = inbox.take(0.001)
            if isinstance(item, Opened):
                assert not opened
                opened, handed = True, 0
            elif isinstance(item, Sound):
                assert opened
                handed += item.samples.size
            elif isinstance(item, Paused | Closed):
                assert opened
                assert 0 < item.stop <= handed
            if isinstance(item, Closed | Withdrawn):
                turns, opened = turns + 1, False
        closed(listener)
    assert turns == 40
