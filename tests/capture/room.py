"""A microphone with a stand-in for sounddevice, in a time that a test moves."""

from collections.abc import Callable

import numpy as np

from gemma_mlx.capture.microphone import Microphone, Notice, Options
from gemma_mlx.capture.ring import Block
from tests.capture.sound import BLOCK, FakeSound

SECOND = 50  # blocks


class Room:
    """A microphone, its stand-in module, and the time."""

    def __init__(self, *names: str, options: Options | None = None, default: int = 0) -> None:
        self.sound = FakeSound(*(names or ("Built-in", "AirPods")), default=default)
        self.now = 100.0
        self.default: int | None = 40
        self.ears = Microphone(options or Options(), self.sound, lambda: self.now, lambda: self.default)
        self._noise = np.random.default_rng(3)

    def noise(self) -> np.ndarray:
        return self._noise.integers(-2000, 2000, BLOCK).astype(np.int16)

    def hear(self, blocks: int, make: Callable[[], np.ndarray] | None = None, pace: float = 1.0) -> list[Notice]:
        """That many blocks in time, each read at once; what was noticed."""
        noticed = []
        for _ in range(blocks):
            self.now += BLOCK / 16000 / pace
            if self.ears.device is not None:
                self.sound.stream.hear((make or self.noise)())
            noticed += self.read()[1]
        return noticed

    def wait(self, seconds: float) -> list[Notice]:
        """Time in which nothing is heard, with a look each tenth of a second."""
        noticed = []
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            noticed += self.read()[1]
        return noticed

    def read(self) -> tuple[list[Block], list[Notice]]:
        blocks, noticed = [], []
        while (event := self.ears.read(0)) is not None:
            if isinstance(event, Block):
                blocks.append(event)
            else:
                noticed.append(event)
        return blocks, noticed


def kinds(notices: list[Notice]) -> list[str]:
    return [each.kind for each in notices]


def zeros() -> np.ndarray:
    return np.zeros(BLOCK, np.int16)
