"""A microphone as blocks of samples and notices of what went wrong, in the order in which they happened.

PortAudio's thread copies into a ring; everything else (watching, opening again, judging the samples) happens inside of
`read`, on the thread that calls it; only the end of a stream has a thread of its own (`devices.stop`). The reader must
read all the time, several times a second: a pump, never the thread that owns the model. Knows samples and devices: not
what is said in them. Sources: the documentation of sounddevice 0.5; PortAudio's issue 158 and python-sounddevice's 196
and 267 (callbacks that cease, and silence in place of a permission, neither with an error).
"""

import platform
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from gemma_mlx.capture import devices
from gemma_mlx.capture.devices import FRAME, RATE, Device, SoundDevice, Stream
from gemma_mlx.capture.ring import Block, Ring
from gemma_mlx.capture.watch import Clipping, Pace, Silence
from gemma_mlx.errors import InputError

Kind = Literal["dropped", "overflow", "silent", "heard", "clipped", "lost", "reopened", "switched", "pace"]

_REOPENINGS = 2  # for a wrong pace; a clock that is simply wrong would go on for ever
_SETTLED = 60.0  # seconds of a right pace after which the reopenings count anew
_LOOK = 0.1  # seconds of waiting after which the state is looked at


@dataclass(frozen=True)
class Options:
    """Times in seconds."""

    device: str | None = None  # number or name; None follows the system's default
    block: int = 320  # samples to a callback, a divisor of a frame
    ring: float = 60.0  # what may wait for a late reader
    stall: float = 1.0  # without a callback, until the device counts as lost
    retry: float = 1.0  # between attempts to open a lost device, and between looks at the default
    silence: float = 1.0  # of exact zeros
    pace: float = 1.5  # of one stretch of samples; two changes from one to the next are needed for a wrong rate
    tolerance: float = 0.03  # of the rate

    def __post_init__(self) -> None:
        if self.block < 1 or FRAME % self.block:
            raise ValueError(f"a block of {self.block} samples does not divide a frame of {FRAME}")


@dataclass(frozen=True)
class Notice:
    """Something a person should know, one line, at its place between the blocks. `samples` did not arrive or were
    dropped there, as far as anybody knows."""

    kind: Kind
    text: str
    samples: int = 0


class Microphone:
    """One microphone, open from `open` (or `with`) to `close`. PortAudio looks for devices anew when one is opened, so
    that a process has one at a time, and none after one that the system did not let go of."""

    def __init__(
        self,
        options: Options = Options(),
        sound: SoundDevice | None = None,
        clock: Callable[[], float] = time.monotonic,
        default_input: Callable[[], int | None] = devices.default_input,
    ) -> None:
        self._options, self._sound, self._clock, self._default_input = options, sound, clock, default_input
        blocks = RATE / options.block  # a second
        self._ring = Ring(max(1, round(options.ring * blocks)))
        self._out: deque[Block | Notice] = deque()
        self._opening = threading.Lock()  # held while a stream is opened or closed
        self._stream: Stream | None = None
        self._ended = False  # PortAudio says that the stream is over
        self._closed = False
        self._device: Device | None = None
        self._wanted = options.device
        self._default: int | None = None
        self._opened = self._arrived = self._heard_until = self._looked = self._next_look = 0.0
        self._starving: float | None = None  # since when the ring was found empty
        self._dropped = 0
        self._said: set[Kind] = set()  # conditions that were told and still hold
        self._wrong_paces = 0
        self._watch()

    @property
    def device(self) -> Device | None:
        """What records now, None while nothing does."""
        return self._device if self._stream is not None else None

    @property
    def dropped(self) -> int:
        """Samples that were dropped until now because nobody read."""
        return self._dropped

    def open(self) -> Self:
        """Start to record. Raises `InputError` if there is no such device or it does not open."""
        with self._opening:
            if self._closed or self._stream is not None:
                raise RuntimeError("a microphone is opened once")
            self._start(self._wanted)
        return self

    def read(self, timeout: float) -> Block | Notice | None:
        """The next block or notice, in order; None after `timeout` seconds without one, and at once when closed."""
        until = self._clock() + timeout
        while not self._closed:
            if self._out:
                return self._out.popleft()
            block = self._ring.take()
            now = self._clock()
            if block is not None:
                self._judge(block)
                self._out.append(block)
            self._supervise(now, self._starved(now, block))
            if block is None and not self._out:
                if now >= until:
                    return None
                self._ring.wait(min(until - now, _LOOK))
        return None

    def close(self) -> None:
        """Stop recording, from any thread and in any state. A second call does nothing."""
        self._closed = True
        self._ring.wake()
        with self._opening:
            self._stop()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, wanted: str | None) -> None:
        """Open a device; the lock is held."""
        if self._sound is None:
            self._sound = devices.portaudio()
        devices.look_again(self._sound)
        device = devices.choose(devices.microphones(self._sound), wanted)
        self._ended = False
        self._opened = self._arrived = self._clock()
        self._default = self._default_input()
        self._stream = devices.start(self._sound, device, self._options.block, self._callback, self._finished)
        self._device = device
        self._next_look = self._opened + self._options.retry
        if wanted is not None:
            self._wanted = device.name  # numbers change when devices come and go
        self._watch()

    def _stop(self) -> None:
        """Close the stream if there is one; the lock is held."""
        stream, self._stream = self._stream, None
        if stream is not None and self._sound is not None and not devices.stop(self._sound, stream):
            self._tell(
                "lost", f"the system does not let go of the microphone {self._name()}: start gemma-mlx again to record"
            )
            self._device = None

    def _watch(self) -> None:
        """Begin to watch a new stream."""
        self._silence = Silence(round(self._options.silence * RATE))
        self._clipping = Clipping(RATE)
        self._pace = Pace(RATE, self._options.pace, self._options.tolerance)
        self._rate: int | None = None  # a wrong one, measured

    def _callback(self, data: Any, samples: int, times: Any, flags: Any) -> None:
        """On PortAudio's thread: copy and return."""
        now = self._clock()
        self._arrived = now
        self._ring.put(bytes(data), now, bool(flags.input_overflow))

    def _finished(self) -> None:
        """On PortAudio's thread: the stream is over, by us or by a fault."""
        self._ended = True
        self._ring.wake()

    def _judge(self, block: Block) -> None:
        """Notices that belong before a block."""
        if block.lost:
            samples = block.lost * self._options.block
            self._dropped += samples
            self._tell("dropped", f"{samples / RATE:.2f} s were dropped: this program was too slow to listen", samples)
        if block.overflow:
            self._tell("overflow", "the system lost some sound: too much runs beside this program")
        silent = self._silence.push(block.samples)
        if silent:
            self._tell_once("silent", _silent(self._device))
        elif "silent" in self._said and block.samples.any():
            self._said.discard("silent")
            self._tell("heard", "there is sound again")
        if self._clipping.push(block.samples):
            self._tell_once("clipped", "the sound is clipped: move away from the microphone, or turn its input down")
        else:
            self._said.discard("clipped")
        if block.time >= self._opened:  # not what still waited from a stream before
            self._rate = self._pace.push((block.number + 1) * self._options.block, block.time) or self._rate

    def _starved(self, now: float, block: Block | None) -> float | None:
        """For how long nothing came, None if something did. The time in which nobody looked counts only until now: a
        program that was stopped must not take its own pause for the device's."""
        looked, self._looked = self._looked, now
        if block is not None:
            self._starving = None
            return None
        if self._starving is None or now - looked > self._options.stall:
            self._starving = now
        return now - max(self._arrived, self._starving)

    def _supervise(self, now: float, starved: float | None) -> None:
        """Notice a stream that is over, stuck, wrong or not of the default device any more; open it again."""
        if self._stream is None:
            if self._device is not None and now >= self._next_look:
                self._next_look = now + self._options.retry
                self._reopen()
        elif starved is not None and self._ended:
            self._lose("lost", f"the microphone {self._name()} is gone: waiting for one")
        elif starved is not None and starved >= self._options.stall:
            self._lose("lost", f"the microphone {self._name()} delivers nothing: opening it again")
        elif self._rate is not None:
            self._mend_pace(now, self._rate)
        elif now >= self._next_look:
            self._next_look = now + self._options.retry
            if self._wanted is None and self._default_input() != self._default:
                self._lose("switched", f"the default microphone is another than {self._name()} now: changing to it")

    def _mend_pace(self, now: float, rate: int) -> None:
        self._rate = None
        self._wrong_paces = 1 if now - self._opened > _SETTLED else self._wrong_paces + 1
        said = f"the microphone {self._name()} delivers {rate} samples a second, not {RATE}"
        if self._wrong_paces <= _REOPENINGS:
            self._lose("pace", f"{said}: opening it again")
        else:
            self._tell_once("pace", f"{said}, also when opened again: choose another with --device")

    def _lose(self, kind: Kind, text: str) -> None:
        """Give the stream up; another one is opened at the next look."""
        self._tell(kind, text)
        self._heard_until = self._arrived
        with self._opening:
            self._stop()
        self._next_look = 0.0

    def _reopen(self) -> None:
        """Open what was wanted, or else the default. Failing is no fault: there is a next time."""
        with self._opening:
            if self._closed:
                return
            if not any(self._starts(wanted) for wanted in dict.fromkeys((self._wanted, None))):
                return
        samples = max(0, round((self._opened - self._heard_until) * RATE))
        self._tell("reopened", f"recording from {self._name()}; {samples / RATE:.1f} s were not heard", samples)

    def _starts(self, wanted: str | None) -> bool:
        try:
            self._start(wanted)
        except InputError:
            return False
        return True

    def _name(self) -> str:
        return "" if self._device is None else self._device.name

    def _tell(self, kind: Kind, text: str, samples: int = 0) -> None:
        self._out.append(Notice(kind, text, samples))

    def _tell_once(self, kind: Kind, text: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._tell(kind, text)


def _silent(device: Device | None) -> str:
    name = "the microphone" if device is None else f"the microphone {device.name}"
    if platform.system() == "Darwin":
        return (
            f"macOS gives silence from {name}: allow your terminal in System Settings > Privacy & Security > "
            "Microphone, then quit and reopen the terminal; or it is muted"
        )
    return f"{name} gives exact silence: unmute it in the sound settings, or choose another with --device"
