"""Which microphones there are, and how one is opened: PortAudio through the sounddevice package.

sounddevice is imported only by `portaudio()`, and passed around as a value of which `SoundDevice` is what we use. Knows
devices and streams: nothing of what becomes of the samples. Sources: the documentation of sounddevice 0.5 and of
PortAudio 19.7 (error codes); Apple's of `kAudioHardwarePropertyDefaultInputDevice` in AudioHardware.h (`default_input`
has not run on a Mac).
"""

import atexit
import ctypes
import platform
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

from gemma_mlx.errors import InputError

RATE = 16_000  # samples a second that the model hears
FRAME = 640  # samples that become one token

Callback = Callable[[Any, int, Any, Any], None]  # data (a buffer), samples, times, flags

_BUSY = -9985  # paDeviceUnavailable
_NO_RATE = -9997  # paInvalidSampleRate
_PATIENCE = 5.0  # seconds in which a stream should have ended
_CORE_AUDIO = "/System/Library/Frameworks/CoreAudio.framework/CoreAudio"


class Stream(Protocol):
    """What we use of an open stream."""

    def start(self) -> None: ...
    def abort(self, ignore_errors: bool = True) -> None: ...
    def close(self, ignore_errors: bool = True) -> None: ...


class SoundDevice(Protocol):
    """What we use of the module `sounddevice`."""

    @property
    def PortAudioError(self) -> type[Exception]: ...
    @property
    def RawInputStream(self) -> Callable[..., Stream]: ...
    @property
    def query_devices(self) -> Callable[[], Iterable[Mapping[str, Any]]]: ...
    @property
    def default(self) -> Any: ...
    @property
    def _terminate(self) -> Callable[[], None]: ...
    @property
    def _initialize(self) -> Callable[[], None]: ...
    @property
    def _exit_handler(self) -> Callable[[], None]: ...


@dataclass(frozen=True)
class Device:
    """A microphone as PortAudio knows it; the number holds until devices come or go."""

    number: int
    name: str
    default: bool


def portaudio() -> SoundDevice:
    """The module, imported now. Raises `InputError` if it or its library is not installed."""
    try:
        import sounddevice
    except ImportError:
        raise InputError(
            "recording needs the package sounddevice, which is not installed: pip install 'gemma-mlx[mic]'"
        ) from None
    except OSError:  # the package for Linux brings no PortAudio of its own
        raise InputError(
            "recording needs PortAudio, which is not installed: on Debian and Ubuntu, apt install libportaudio2"
        ) from None
    return cast(SoundDevice, sounddevice)


def microphones(sound: SoundDevice) -> tuple[Device, ...]:
    """Every device that records, as of the last `look_again`. Raises `InputError` if PortAudio fails."""
    try:
        default = int(sound.default.device[0])
        found = list(sound.query_devices())
    except sound.PortAudioError as fault:
        raise InputError(f"the microphones cannot be listed ({_said(fault)}): {_CHECK}") from None
    return tuple(
        Device(number, str(each["name"]), number == default)
        for number, each in enumerate(found)
        if each["max_input_channels"] > 0
    )


def look_again(sound: SoundDevice) -> None:
    """Let PortAudio see which devices there are now. Every stream of this process must be closed."""
    with suppress(sound.PortAudioError):  # not running, if it did not start the last time
        sound._terminate()
    try:
        sound._initialize()
    except sound.PortAudioError as fault:
        raise InputError(f"PortAudio does not start again ({_said(fault)}): {_CHECK}") from None


def choose(devices: tuple[Device, ...], wanted: str | None) -> Device:
    """The microphone of that number or name, or part of a name in any case; None is the system's default, or else
    the first. Raises `InputError` if there is none or more than one."""
    if not devices:
        raise InputError(f"there is no microphone: {_CHECK}")
    if wanted is None:
        return next((each for each in devices if each.default), devices[0])
    numbered = [each for each in devices if wanted == str(each.number)]
    named = [each for each in devices if each.name == wanted]
    part = [each for each in devices if wanted.strip() and wanted.strip().casefold() in each.name.casefold()]
    found = numbered or named or part
    listed = ", ".join(f"{each.number} {each.name}" for each in found or devices)
    if not found:
        raise InputError(f"no microphone is called {wanted!r}: --device takes a number or a name of {listed}")
    if len(found) > 1:
        raise InputError(f"{len(found)} microphones are called {wanted!r}: give --device the number, of {listed}")
    return found[0]


def start(sound: SoundDevice, device: Device, block: int, callback: Callback, finished: Callable[[], None]) -> Stream:
    """A running stream of blocks of `block` int16 samples at 16 kHz, one channel. Raises `InputError`."""
    try:
        stream = sound.RawInputStream(
            device=device.number,
            samplerate=RATE,
            channels=1,
            dtype="int16",
            blocksize=block,
            latency="low",
            callback=callback,
            finished_callback=finished,
        )
    except sound.PortAudioError as fault:
        raise InputError(_refusal(device, fault)) from None
    started = False
    try:
        stream.start()
        started = True
    except sound.PortAudioError as fault:
        raise InputError(_refusal(device, fault)) from None
    finally:
        if not started:
            stream.close()
    return stream


def stop(sound: SoundDevice, stream: Stream) -> bool:
    """End a stream. False if the system does not let go of it, as PulseAudio's client if its server dies while it takes
    samples from memory that they share: PortAudio cannot be used again in this process, whose end does not wait for it.
    """

    def end() -> None:
        stream.abort()
        stream.close()

    ending = threading.Thread(target=end, name="microphone's end", daemon=True)
    ending.start()
    ending.join(_PATIENCE)
    ended = not ending.is_alive()
    if not ended:
        atexit.unregister(sound._exit_handler)
    return ended


_CHECK = "connect one, or see the system's sound settings"


def _refusal(device: Device, fault: Exception) -> str:
    code = fault.args[1] if len(fault.args) > 1 else None
    if code == _BUSY:
        return f"the microphone {device.name} is busy: close the program that uses it, or choose another with --device"
    if code == _NO_RATE:
        return f"the microphone {device.name} does not record at {RATE} Hz: choose another with --device"
    return (
        f"the microphone {device.name} cannot be opened ({_said(fault)}): connect it, or choose another with --device"
    )


def _said(fault: Exception) -> str:
    return str(fault.args[0]) if fault.args else type(fault).__name__


class _Address(ctypes.Structure):
    """AudioObjectPropertyAddress."""

    _fields_ = (("selector", ctypes.c_uint32), ("scope", ctypes.c_uint32), ("element", ctypes.c_uint32))


def default_input() -> int | None:
    """macOS's number of the microphone that is now the default, which PortAudio does not see while a stream is open.
    None elsewhere, and if macOS does not say: sound servers on Linux move streams themselves."""
    if platform.system() != "Darwin":
        return None
    try:
        core = ctypes.CDLL(_CORE_AUDIO)
        ask = core.AudioObjectGetPropertyData
    except (OSError, AttributeError):
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    ask.argtypes, ask.restype = [number, pointer, number, pointer, pointer, pointer], ctypes.c_int32
    address = _Address(int.from_bytes(b"dIn "), int.from_bytes(b"glob"), 0)
    found, size = number(0), number(ctypes.sizeof(number))
    system = 1  # kAudioObjectSystemObject
    status = ask(system, ctypes.byref(address), 0, None, ctypes.byref(size), ctypes.byref(found))
    return found.value if status == 0 and found.value else None
