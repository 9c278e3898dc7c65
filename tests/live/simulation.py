"""A microphone that plays a script at any speed, in a time that only passes when somebody waits for it.

Every sample is a function of its position since the beginning, so that what was heard of an hour can be checked without
keeping it; what a device loses takes its time as well. Speech and noise are what `Loud`, a judge without a memory, says
that they are. A stand-in for devices and for voices: not for what either of them sounds like.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gemma_mlx.capture.activity import Ear
from gemma_mlx.capture.microphone import Notice
from gemma_mlx.capture.ring import Block
from gemma_mlx.live.inbox import Inbox, Item, Sound, Told
from gemma_mlx.live.listener import Listener, Options

RATE = 16000
BLOCK = 320
SPOKEN, NOISY = 8192, 64  # the loudest samples


@dataclass(frozen=True)
class Speech:
    seconds: float


@dataclass(frozen=True)
class Pause:
    """Nobody speaks; the microphone hears the least that it can."""

    seconds: float


@dataclass(frozen=True)
class Noise:
    """Loud enough to be seen on the meter, and not speech."""

    seconds: float


@dataclass(frozen=True)
class Gap:
    """Blocks that were dropped."""

    seconds: float


@dataclass(frozen=True)
class Unplugged:
    """The device is gone for that time, and open again after it."""

    seconds: float


@dataclass(frozen=True)
class Switched:
    """Another device is taken, which takes that time."""

    seconds: float


Scene = Speech | Pause | Noise | Gap | Unplugged | Switched
LOUDEST = {Speech: SPOKEN, Pause: 1, Noise: NOISY}


class Clock:
    """Seconds that pass when it is told so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Loud:
    """A judge for whom speech is what is loud."""

    window = 512

    def probability(self, samples: np.ndarray) -> float:
        return float(np.abs(samples).max() > SPOKEN // 2)

    def reset(self) -> None:
        pass


class FakeMicrophone:
    """As `Microphone` for its reader. `position`: samples until now, those that were lost as well."""

    def __init__(self, script: Iterable[Scene], clock: Clock, block: int = BLOCK) -> None:
        self.clock, self.block = clock, block
        self.position = 0
        self.opened = self.closed = False
        self._number = 0
        self._events = self._play(script)
        self._next: Block | Notice | None = None
        self._began = clock.now

    def open(self) -> "FakeMicrophone":
        self.opened = True
        return self

    def close(self) -> None:
        self.closed = True

    @property
    def over(self) -> bool:
        """Whether the script is; silence without blocks follows."""
        if self._next is None:
            self._next = next(self._events, None)
        return self._next is None

    def read(self, timeout: float) -> Block | Notice | None:
        until = self.clock.now + timeout
        if self.closed:
            return None
        if self.over:
            self.clock.now = until
            return None
        coming = self._next
        due = self._began + self.position / RATE  # what `over` has looked at counts as recorded
        if due > until:
            self.clock.now = until
            return None
        self.clock.now = max(self.clock.now, due)
        self._next = None
        return coming

    def _play(self, script: Iterable[Scene]) -> Iterator[Block | Notice]:
        for scene in script:
            samples = round(scene.seconds * RATE)
            if isinstance(scene, Gap):
                self.position += samples
                yield Notice("dropped", f"{scene.seconds} s were dropped", samples)
            elif isinstance(scene, Unplugged | Switched):
                gone = Notice("lost", "the microphone is gone")
                yield gone if isinstance(scene, Unplugged) else Notice("switched", "changing to another microphone")
                self.position += samples
                yield Notice("reopened", f"{scene.seconds} s were not heard", samples)
            else:
                yield from self._blocks(samples, LOUDEST[type(scene)])

    def _blocks(self, samples: int, loudest: int) -> Iterator[Block]:
        end = self.position + samples
        while self.position < end:
            first = self.position
            self.position = min(first + self.block, end)
            self._number += 1
            heard = sample(np.arange(first, self.position), loudest)
            yield Block(self._number - 1, heard, self._began + self.position / RATE)


def sample(positions: np.ndarray, loudest: int = SPOKEN) -> np.ndarray:
    """What is heard there, int16, speech by default: never zero, and no two seconds are the same."""
    mixed = (positions.astype(np.uint64) * np.uint64(2654435761) >> np.uint64(7)) % np.uint64(2 * loudest)
    values = mixed.astype(np.int64) - loudest
    return np.where(values >= 0, values + 1, values).astype(np.int16)


def timeline(script: Iterable[Scene]) -> np.ndarray:
    """All samples of a script, zeros for what is lost."""
    parts, at = [np.zeros(0, np.int16)], 0
    for scene in script:
        samples = round(scene.seconds * RATE)
        parts.append(part(scene, at, at + samples))
        at += samples
    return np.concatenate(parts)


def part(scene: Scene, first: int, last: int) -> np.ndarray:
    """The samples of a scene at these positions, zeros for what is lost."""
    loudest = LOUDEST.get(type(scene))
    return np.zeros(last - first, np.int16) if loudest is None else sample(np.arange(first, last), loudest)


class Everything(Inbox):
    """Keeps all that was ever put."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Item] = []

    def put(self, item: Item) -> None:
        self.items.append(item)
        super().put(item)


class Room:
    """A listener in a time of its own. `read`: what it hears is taken at once."""

    read = True

    def __init__(
        self, *script: Scene, block: int = BLOCK, options: Options | None = None, pushed: bool = False
    ) -> None:
        self.clock = Clock()
        self.microphone = FakeMicrophone(script, self.clock, block)
        self.inbox = Everything()
        ear = None if pushed else Ear(Loud())
        self.listener = Listener(self.microphone, ear, self.inbox, options or Options(), self.clock)

    @property
    def items(self) -> list[Item]:
        """What it put until now."""
        return self.inbox.items

    def until(self, seconds: float) -> list[Item]:
        """Listen until then; what came, in all."""
        while self.clock.now < seconds - 1e-9:
            self.step()
        return self.items

    def all(self, wishes: Mapping[float, Callable[[Listener], None]] | None = None) -> list[Item]:
        """Listen to the whole script, with what a person wants at some times."""
        for seconds, wish in (wishes or {}).items():
            self.until(seconds)
            wish(self.listener)
        while not self.microphone.over:
            self.step()
        return self.items

    def step(self) -> None:
        self.listener.step(0.1)
        while self.read and self.inbox.take(0) is not None:
            pass


def told(items: list[Item]) -> list[str]:
    return [item.text for item in items if isinstance(item, Told)]


def kinds(items: list[Item]) -> list[str]:
    return [type(item).__name__ for item in items if not isinstance(item, Sound)]
