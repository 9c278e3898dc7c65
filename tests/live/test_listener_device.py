"""The listener on a real PortAudio and a sound server whose microphone is a pipe, with speech in the wall clock's time:
what is handed over are the bits that were played."""

import math
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from gemma_mlx.capture.activity import Ear, Energy
from gemma_mlx.capture.devices import SoundDevice
from gemma_mlx.capture.microphone import Microphone, Options
from gemma_mlx.live.inbox import Closed, Inbox, Item, Opened, Paused, Resumed, Sound, Told
from gemma_mlx.live.listener import Listener
from tests.capture.soundserver import VirtualMicrophone, virtual_microphone
from tests.demo_model import espeak

pytestmark = pytest.mark.alone

RATE = 16000
FRAME = 640
SECONDS = 30.0  # until something that should come counts as missing, on a machine with other work
PATIENT = Options(device="pulse", stall=SECONDS, tolerance=9.0)  # such a machine delivers late and in bursts


@pytest.fixture(scope="module")
def room() -> Iterator[tuple[VirtualMicrophone, SoundDevice]]:
    with virtual_microphone() as room:
        yield room


def spoken(*texts: str) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Int16 samples with noise of two bits everywhere, and the first and last + 1 sample of each utterance."""
    try:
        espeak.engine()
    except OSError as fault:
        pytest.skip(str(fault))
    parts, bounds = [np.zeros(RATE, np.float32)], list[tuple[int, int]]()
    for text in texts:
        said, at = espeak.say(text, espeak.Voice("en-us", "m3", 150)), sum(map(len, parts))
        bounds.append((at + said.bounds[0][0], at + said.bounds[-1][1]))
        parts += [said.samples * np.float32(0.3 / np.abs(said.samples).max()), np.zeros(RATE * 3 // 2, np.float32)]
    clean = np.round(np.concatenate(parts) * 32767)
    return (clean + np.random.default_rng(3).integers(-2, 3, clean.size)).astype(np.int16), bounds


def turns(inbox: Inbox, count: int, during: Callable[[Item], None] = lambda item: None) -> list[np.ndarray]:
    """Take until so many turns are over; their samples."""
    found: list[np.ndarray] = []
    sounds: list[np.ndarray] = []
    end = time.monotonic() + 2 * SECONDS
    while len(found) < count:
        assert time.monotonic() < end
        item = inbox.take(0.1)
        if item is not None:
            during(item)
        if isinstance(item, Opened):
            sounds = []
        elif isinstance(item, Sound):
            sounds.append(item.samples)
        elif isinstance(item, Closed):
            found.append(np.concatenate(sounds)[: item.stop])
            assert found[-1].size == item.stop
        else:
            assert item is None or isinstance(item, Paused | Resumed | Told)
    return found


def place(turn: np.ndarray, played: np.ndarray) -> int:
    """Where the turn's first frame was played."""
    windows = np.lib.stride_tricks.sliding_window_view(played, FRAME)
    (found,) = np.nonzero((windows == turn[:FRAME]).all(axis=1))
    assert found.size == 1
    return int(found[0])


def test_two_utterances_are_two_turns_with_the_bits_that_were_played(
    room: tuple[VirtualMicrophone, SoundDevice],
) -> None:
    virtual, sound = room
    played, bounds = spoken("What is the weather like in Paris today?", "Seven, three, nine.")
    threads, inbox = threading.active_count(), Inbox()
    levels: list[float] = []
    with Listener(Microphone(PATIENT, sound), Ear(Energy()), inbox):
        virtual.play(played)
        found = turns(inbox, 2, lambda item: levels.append(inbox.meter.level_db))
        assert not any(isinstance(item, Opened) for item in iter(lambda: inbox.take(0), None))
    assert threading.active_count() == threads
    for turn, (first, last) in zip(found, bounds, strict=True):
        at = place(turn, played)
        np.testing.assert_array_equal(turn, played[at : at + turn.size])
        assert first - RATE // 2 < at <= first
        assert last <= at + turn.size < last + RATE // 2
    assert -40 < max(levels) < 0
    assert inbox.meter.level_db == -math.inf


def test_unplugged_while_speaking_the_turn_ends_and_another_one_can_be_spoken(
    room: tuple[VirtualMicrophone, SoundDevice],
) -> None:
    virtual, sound = room
    played, _ = spoken("Read the last line of this long letter to me, and then the first one.", "Stop it now.")
    inbox = Inbox()
    said: list[str] = []
    heard: list[np.ndarray] = []

    def unplug(item: Item) -> None:
        if isinstance(item, Told):
            said.append(item.text)
        if isinstance(item, Sound) and not said:
            heard.append(item.samples)
            if sum(map(len, heard)) > RATE:
                virtual.unplug()
                virtual._waiting.clear()

    with Listener(Microphone(PATIENT, sound), Ear(Energy()), inbox):
        virtual.play(played)
        (turn,) = turns(inbox, 1, unplug)
        virtual.plug()
        at = place(turn, played)
        whole = turn.size - FRAME  # the last frame may end in zeros
        np.testing.assert_array_equal(turn[:whole], played[at : at + whole])
        while not any("recording from" in text for text in said):
            item = inbox.take(SECONDS)
            assert item is not None
            unplug(item)
        again, bounds = spoken("Seven, three, nine.")
        virtual.play(again)
        (turn,) = turns(inbox, 1)
    at = place(turn, again)
    np.testing.assert_array_equal(turn, again[at : at + turn.size])
    assert at <= bounds[0][0]
    assert at + turn.size >= bounds[0][1]


def test_pushed_the_turn_is_what_was_played_in_between(room: tuple[VirtualMicrophone, SoundDevice]) -> None:
    virtual, sound = room
    played = np.random.default_rng(8).integers(-9000, 9000, 2 * RATE).astype(np.int16)
    inbox = Inbox()
    with Listener(Microphone(PATIENT, sound), None, inbox) as listener:
        listener.push()
        assert isinstance(inbox.take(SECONDS), Opened)  # perhaps later than the first sample
        virtual.play(played)
        pieces: list[np.ndarray] = []
        end = played[-200:].tobytes()  # something else may still be playing before it
        while not pieces or end not in np.concatenate(pieces).tobytes():
            item = inbox.take(SECONDS)
            assert isinstance(item, Sound)
            pieces.append(item.samples)
        listener.push()
        while isinstance(item := inbox.take(SECONDS), Sound):
            pieces.append(item.samples)
    heard = np.concatenate(pieces)
    assert item == Closed(heard.size)
    at = place(played, heard)
    np.testing.assert_array_equal(heard[at : at + played.size], played)
