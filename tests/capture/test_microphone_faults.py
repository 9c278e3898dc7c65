"""What goes wrong while a microphone records: what is said, and how it goes on."""

import re

import numpy as np
import pytest

from gemma_mlx.capture import devices
from gemma_mlx.capture.microphone import Notice, Options
from gemma_mlx.capture.ring import Block
from tests.capture.room import SECOND, Room, kinds, zeros
from tests.capture.sound import Fault


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("Darwin", r"macOS gives silence .* System Settings > Privacy & Security > Microphone, then quit and reopen"),
        ("Linux", r"the microphone Built-in gives exact silence: unmute it"),
    ],
)
def test_a_second_of_zeros_is_a_missing_permission_or_muted(
    monkeypatch: pytest.MonkeyPatch, system: str, words: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    room = Room()
    with room.ears:
        assert room.hear(SECOND - 1, zeros) == []
        (told,) = room.hear(3 * SECOND, zeros)
        assert told.kind == "silent"
        assert re.search(words, told.text)
        assert kinds(room.hear(SECOND)) == ["heard"]
        assert kinds(room.hear(SECOND, zeros)) == ["silent"]


def test_clipped_sound_is_told_once_and_again_after_it_was_right() -> None:
    room = Room()
    with room.ears:
        loud = lambda: np.where(room.noise() > 0, 32767, -32768)  # noqa: E731
        assert kinds(room.hear(5 * SECOND, loud)) == ["clipped"]
        assert room.hear(2 * SECOND) == []
        assert kinds(room.hear(2 * SECOND, loud)) == ["clipped"]


@pytest.mark.parametrize("wanted", ["AirPods", "1"])
def test_unplugged_while_speaking_it_goes_on_with_the_default_and_comes_back(wanted: str) -> None:
    room = Room(default=0, options=Options(device=wanted))
    with room.ears:
        assert room.ears.device is not None
        assert room.ears.device.name == "AirPods"
        room.hear(SECOND)
        for _ in range(2):
            room.sound.stream.hear(room.noise())  # still wait when the device goes, and come before the notice
        room.sound.plugged = []
        room.sound.stream.abort()
        assert isinstance(room.ears.read(0), Block)
        assert isinstance(room.ears.read(0), Block)
        assert kinds(room.read()[1]) == ["lost"]
        assert room.ears.device is None
        assert room.wait(3.0) == []
        room.sound.plugged = [("Built-in", 1)]
        (told,) = room.wait(1.1)
        assert told.kind == "reopened"
        assert told.text == f"recording from Built-in; {told.samples / 16000:.1f} s were not heard"
        assert told.samples == pytest.approx(3.5 * 16000, abs=0.7 * 16000)
        assert room.hear(SECOND) == []
        room.sound.plugged = [("New", 1), ("Built-in", 1), ("AirPods", 1)]  # at another number
        room.sound.stream.abort()
        assert kinds(room.wait(0.2)) == ["lost", "reopened"]
        assert room.ears.device.name == "AirPods"
        assert room.sound.stream.options["device"] == 2


@pytest.mark.parametrize("wanted", [None, "1"])
def test_a_device_that_only_ceases_is_opened_again(wanted: str | None) -> None:
    room = Room(options=Options(device=wanted))
    with room.ears:
        room.hear(SECOND)
        assert room.wait(0.9) == []
        first, second = room.wait(0.3)
        assert (first.kind, second.kind) == ("lost", "reopened")
        assert "delivers nothing" in first.text
        assert len(room.sound.streams) == 2
        assert room.hear(SECOND) == []


def test_a_device_that_never_begins_is_opened_again() -> None:
    room = Room()
    with room.ears:
        assert kinds(room.wait(1.3)) == ["lost", "reopened"]


def test_a_program_that_was_stopped_does_not_blame_the_device() -> None:
    room = Room()
    with room.ears:
        room.hear(SECOND)
        room.now += 600
        assert room.read() == ([], [])
        assert room.hear(SECOND) == []
        assert len(room.sound.streams) == 1


@pytest.mark.parametrize("fault", ["busy", "portaudio"])
def test_what_cannot_be_opened_again_is_tried_again(fault: str) -> None:
    room = Room()
    with room.ears:
        room.hear(SECOND)
        if fault == "busy":
            room.sound.open_fault = lambda number: Fault("Device unavailable", -9985)
        else:
            room.sound.initialize_fault = Fault("Host error", -9999)
        room.sound.stream.abort()
        assert kinds(room.wait(5.0)) == ["lost"]
        room.sound.open_fault, room.sound.initialize_fault = lambda number: None, None
        assert kinds(room.wait(1.1)) == ["reopened"]


def test_the_new_default_is_followed() -> None:
    room = Room()
    with room.ears:
        room.hear(SECOND)
        room.default, room.sound.default_number = 41, 1
        first, second = room.hear(2 * SECOND)
        assert (first.kind, second.kind) == ("switched", "reopened")
        assert "Built-in" in first.text
        assert "AirPods" in second.text
        assert room.hear(2 * SECOND) == []


def test_a_chosen_device_stays_when_the_default_changes() -> None:
    room = Room(options=Options(device="Built-in"))
    with room.ears:
        room.default, room.sound.default_number = 41, 1
        assert room.hear(3 * SECOND) == []


@pytest.mark.parametrize("pace", [0.5, 0.95, 1.05, 1.5])
def test_a_device_that_switches_its_rate_is_opened_again(pace: float) -> None:
    room = Room()
    with room.ears:
        room.hear(10 * SECOND)
        noticed: list[Notice] = []
        while room.now < 117 and not noticed:
            noticed = room.hear(1, pace=pace)
        assert kinds(noticed) == ["pace", "reopened"]
        said = re.search(r"delivers (\d+) samples a second, not 16000", noticed[0].text)
        assert said
        assert int(said[1]) == pytest.approx(16000 * pace, rel=0.03)
        assert room.hear(20 * SECOND) == []


def test_a_clock_that_is_simply_wrong_is_told_and_kept() -> None:
    room = Room()
    with room.ears:
        noticed = room.hear(60 * SECOND, pace=1.1)
        assert kinds(noticed) == ["pace", "reopened"] * 2 + ["pace"]
        assert "choose another with --device" in noticed[-1].text


def test_after_a_minute_at_the_right_pace_a_switch_is_mended_again() -> None:
    room = Room()
    with room.ears:
        for _ in range(4):
            noticed: list[Notice] = []
            while not noticed:
                noticed = room.hear(1, pace=1.1)
            assert kinds(noticed) == ["pace", "reopened"]
            assert room.hear(70 * SECOND) == []


def test_a_device_that_is_gone_is_looked_for_once_a_second() -> None:
    room = Room()
    with room.ears:
        asked: list[int] = []

        def refuse(number: int) -> Fault:
            asked.append(number)
            return Fault("Device unavailable", -9985)

        room.sound.open_fault = refuse
        room.sound.stream.abort()
        room.wait(10)
        assert 9 <= len(asked) <= 11


def test_what_waited_from_before_says_nothing_about_the_new_pace() -> None:
    """Blocks at a wrong pace that are read after the stream was opened again."""
    room = Room()
    with room.ears:
        for _ in range(20 * SECOND):
            room.now += 0.02 / 1.5
            room.sound.stream.hear(room.noise())
        assert kinds(room.read()[1]) == ["pace", "reopened"]


def test_a_system_that_does_not_let_go_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []
    monkeypatch.setattr(devices, "_PATIENCE", 0.05)
    monkeypatch.setattr("atexit.unregister", left.append)
    room = Room()
    with room.ears:
        room.hear(SECOND)
        stuck = room.sound.stream
        stuck.let_go.clear()
        first, second = room.wait(1.2)
        assert (first.kind, second.kind) == ("lost", "lost")
        assert second.text == "the system does not let go of the microphone Built-in: start gemma-mlx again to record"
        assert left == [room.sound._exit_handler]  # it would wait for ever
        assert room.wait(5.0) == []  # PortAudio is not asked again: it would not answer
        assert room.ears.device is None
    assert not stuck.closed
    stuck.let_go.set()
    assert len(room.sound.streams) == 1


def test_closing_waits_for_no_system_that_does_not_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []
    monkeypatch.setattr(devices, "_PATIENCE", 0.05)
    monkeypatch.setattr("atexit.unregister", left.append)
    room = Room()
    with room.ears:
        room.hear(SECOND)
        room.sound.stream.let_go.clear()
    assert not room.sound.stream.closed
    assert left == [room.sound._exit_handler]
    room.sound.stream.let_go.set()
