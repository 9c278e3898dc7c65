"""The microphone through PortAudio and a sound server whose microphone is a pipe: only the room is a stand-in."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from gemma_mlx.capture.devices import SoundDevice
from gemma_mlx.capture.microphone import Microphone, Notice, Options
from gemma_mlx.capture.ring import Block
from tests.capture.soundserver import VirtualMicrophone, virtual_microphone

pytestmark = pytest.mark.alone

RATE = 16000
SECONDS = 30.0  # until something that should come counts as missing, on a machine with other work
PATIENT = Options(device="pulse", stall=SECONDS, tolerance=9.0)  # such a machine delivers late and in bursts


@pytest.fixture(scope="module")
def room() -> Iterator[tuple[VirtualMicrophone, SoundDevice]]:
    with virtual_microphone() as room:
        yield room


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(11).integers(-20000, 20000, round(seconds * RATE)).astype(np.int16)


def until(ears: Microphone, kind: str) -> list[Notice]:
    """Read until that is noticed."""
    noticed: list[Notice] = []
    end = time.monotonic() + SECONDS
    while not noticed or noticed[-1].kind != kind:
        assert time.monotonic() < end, f"never {kind}: {noticed}"
        event = ears.read(0.1)
        if isinstance(event, Notice):
            noticed.append(event)
    return noticed


def hears(ears: Microphone, played: np.ndarray) -> int:
    """Read until what is played was heard; where it began. Fails unless each of its samples was, unchanged."""
    heard = np.zeros(0, np.int16)
    end = time.monotonic() + SECONDS + played.size / RATE
    while time.monotonic() < end:
        event = ears.read(0.1)
        assert not isinstance(event, Notice), event
        if isinstance(event, Block):
            heard = np.concatenate([heard, event.samples])
        start = np.abs(heard) > 1  # else there is only noise of one bit
        if start.any() and heard.size - int(start.argmax()) >= played.size + RATE // 10:
            break
    at = int((np.abs(heard) > 1).argmax()) - int((np.abs(played) > 1).argmax())
    np.testing.assert_array_equal(heard[at : at + played.size], played)
    assert np.abs(heard[at + played.size :]).max() <= 1
    return at


def test_every_sample_arrives_unchanged(room: tuple[VirtualMicrophone, SoundDevice]) -> None:
    virtual, sound = room
    with Microphone(PATIENT, sound) as ears:
        assert isinstance(ears.read(SECONDS), Block)
        played = noise(3)
        virtual.play(played)
        hears(ears, played)
        assert ears.dropped == 0


def test_a_muted_microphone_is_exactly_silent(room: tuple[VirtualMicrophone, SoundDevice]) -> None:
    virtual, sound = room
    with Microphone(PATIENT, sound) as ears:
        virtual.muted = True
        try:
            (told,) = until(ears, "silent")
        finally:
            virtual.muted = False
        assert "exact silence" in told.text
        until(ears, "heard")


def test_a_wrong_rate_is_measured(room: tuple[VirtualMicrophone, SoundDevice]) -> None:
    virtual, sound = room
    with Microphone(Options(device="pulse", stall=SECONDS, tolerance=0.5, pace=1.0), sound) as ears:
        assert isinstance(ears.read(SECONDS), Block)
        virtual.pace = 3.0
        try:
            noticed = until(ears, "reopened")
        finally:
            virtual.pace = 1.0
        assert [each.kind for each in noticed] == ["pace", "reopened"]


def test_unplugged_while_speaking_and_plugged_again(room: tuple[VirtualMicrophone, SoundDevice]) -> None:
    virtual, sound = room
    threads = threading.active_count()
    with Microphone(PATIENT, sound) as ears:
        assert isinstance(ears.read(SECONDS), Block)
        virtual.unplug()
        until(ears, "lost")
        assert ears.device is None
        assert ears.read(0.1) is None
        virtual.plug()
        noticed = until(ears, "reopened")
        assert [each.kind for each in noticed] == ["reopened"]
        assert noticed[0].samples > 0
        played = noise(1)
        virtual.play(played)
        hears(ears, played)
    assert threading.active_count() == threads


def test_it_closes_while_the_server_is_gone(room: tuple[VirtualMicrophone, SoundDevice]) -> None:
    virtual, sound = room
    with Microphone(PATIENT, sound) as ears:
        assert isinstance(ears.read(SECONDS), Block)
        virtual.unplug()
    try:
        assert ears.read(1) is None
    finally:
        virtual.plug()
