"""Listing, choosing and opening microphones; what refuses is one line that names the next step."""

import ctypes
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from gemma_mlx.capture import devices
from gemma_mlx.capture.devices import Device
from gemma_mlx.errors import InputError
from tests.capture.sound import BLOCK, FakeSound, Fault

NAMES = ("MacBook Air Microphone", "AirPods", "USB Audio", "USB Audio (2)")


def start(sound: FakeSound, wanted: str | None = None) -> devices.Stream:
    device = devices.choose(devices.microphones(sound), wanted)
    return devices.start(sound, device, BLOCK, lambda *heard: None, lambda: None)


def test_only_what_records_is_listed_under_its_own_number() -> None:
    sound = FakeSound(*NAMES, default=2)
    sound.plugged[0] = ("Speakers", 0)
    devices.look_again(sound)
    assert devices.microphones(sound) == (
        Device(1, "AirPods", False),
        Device(2, "USB Audio", True),
        Device(3, "USB Audio (2)", False),
    )


@pytest.mark.parametrize(
    ("wanted", "number"),
    [(None, 1), ("0", 0), ("3", 3), ("AirPods", 1), ("airp", 1), (" macbook ", 0), ("USB Audio", 2), ("(2)", 3)],
)
def test_a_microphone_is_chosen_by_number_name_or_part(wanted: str | None, number: int) -> None:
    found = devices.microphones(FakeSound(*NAMES, default=1))
    assert devices.choose(found, wanted).number == number


def test_without_a_default_it_is_the_first() -> None:
    assert devices.choose(devices.microphones(FakeSound(*NAMES, default=-1)), None).number == 0


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("7", "no microphone is called '7': --device takes a number or a name of 0 MacBook Air Microphone, 1 AirPods"),
        ("phone x", "no microphone is called 'phone x'"),
        ("", "no microphone is called ''"),
        ("usb", "2 microphones are called 'usb': give --device the number, of 2 USB Audio, 3 USB Audio (2)"),
    ],
)
def test_what_names_none_or_several_is_refused_with_the_list(wanted: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        devices.choose(devices.microphones(FakeSound(*NAMES)), wanted)
    assert str(caught.value).startswith(words)


def test_no_device_is_one_line() -> None:
    with pytest.raises(InputError, match=r"there is no microphone: connect one"):
        start(FakeSound())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9985, "the microphone AirPods is busy: close the program that uses it, or choose another with --device"),
        (-9997, "the microphone AirPods does not record at 16000 Hz: choose another with --device"),
        (-9996, "the microphone AirPods cannot be opened (so it says): connect it, or choose another with --device"),
    ],
)
@pytest.mark.parametrize("when", ["open", "start"])
def test_a_device_that_refuses_is_one_line(code: int, words: str, when: str) -> None:
    sound, fault = FakeSound(*NAMES), Fault("so it says", code)
    if when == "open":
        sound.open_fault = lambda number: fault if number == 1 else None
    else:
        sound.start_fault = fault
    with pytest.raises(InputError) as caught:
        start(sound, "AirPods")
    assert str(caught.value) == words
    assert all(stream.closed for stream in sound.streams)


def test_an_interrupted_start_leaves_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(stream: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tests.capture.sound.FakeStream.start", interrupted)
    sound = FakeSound(*NAMES)
    with pytest.raises(KeyboardInterrupt):
        start(sound)
    assert sound.stream.closed


def test_a_system_that_lists_nothing_is_one_line() -> None:
    sound = FakeSound(*NAMES)
    sound.list_fault = Fault("Internal PortAudio error", -9986)
    with pytest.raises(InputError, match=r"cannot be listed \(Internal PortAudio error\)"):
        devices.microphones(sound)


def test_portaudio_that_did_not_start_starts_the_next_time() -> None:
    sound = FakeSound(*NAMES)
    sound.initialize_fault = Fault("Host error", -9999)
    for _ in range(2):
        with pytest.raises(InputError, match=r"does not start again \(Host error\)"):
            devices.look_again(sound)
    sound.initialize_fault = None
    devices.look_again(sound)
    assert sound.running


def test_a_stream_is_what_the_model_hears() -> None:
    sound = FakeSound(*NAMES)
    start(sound, "2")
    asked = {key: value for key, value in sound.stream.options.items() if "callback" not in key}
    assert asked == {
        "device": 2,
        "samplerate": 16000,
        "channels": 1,
        "dtype": "int16",
        "blocksize": BLOCK,
        "latency": "low",
    }


def test_the_package_is_imported_only_by_who_records() -> None:
    said = "import sys, gemma_mlx.capture.microphone; print('sounddevice' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout == "False\n"


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"pip install 'gemma-mlx\[mic\]'"):
        devices.portaudio()


def test_without_the_library_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("packages")
    (directory / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(str(directory))
    with pytest.raises(InputError, match="apt install libportaudio2"):
        devices.portaudio()


def test_elsewhere_than_on_macos_nobody_is_asked_for_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert devices.default_input() is None


def test_a_mac_without_that_framework_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("gemma_mlx.capture.devices._CORE_AUDIO", "/nowhere/CoreAudio")
    assert devices.default_input() is None


@pytest.mark.parametrize(("status", "number", "said"), [(0, 73, 73), (0, 0, None), (-50, 73, None)])
def test_a_mac_is_asked_for_the_default_input_device(
    monkeypatch: pytest.MonkeyPatch, status: int, number: int, said: int | None
) -> None:
    asked = []
    words = ctypes.POINTER(ctypes.c_uint32)

    def get(device: int, address: Any, qualifiers: int, qualifier: Any, size: Any, found: Any) -> int:
        asked.append((device, *address[:3], qualifiers, qualifier, size[0]))
        found[0] = number
        return status

    monkeypatch.setattr("platform.system", lambda: "Darwin")
    types = (ctypes.c_uint32, words, ctypes.c_uint32, ctypes.c_void_p, words, words)
    core = SimpleNamespace(AudioObjectGetPropertyData=ctypes.CFUNCTYPE(ctypes.c_int32, *types)(get))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: core)
    assert devices.default_input() == said
    assert asked == [(1, 0x64496E20, 0x676C6F62, 0, 0, None, 4)]  # the system's object, 'dIn ', 'glob'
