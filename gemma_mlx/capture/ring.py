"""A bounded ring between the thread that records and the thread that reads.

The recording side copies, appends and returns: it takes no lock that the reader could hold. When the reader is late the
oldest blocks go, the newest stay, and the blocks' numbers tell the reader how many went. Knows blocks and their
numbers: no device and no clock. Source of what a recording thread may do: PortAudio's `PaStreamCallback` (no waiting,
no files, nothing that may take long).
"""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Block:
    """Some samples in a row. `number` counts blocks from 0, those that were lost as well."""

    number: int
    samples: np.ndarray  # int16 (n,), read-only, 16 kHz, one channel
    time: float  # seconds of the microphone's clock when the block arrived
    lost: int = 0  # blocks just before this one that the reader was too slow for
    overflow: bool = False  # the system lost samples just before this block, nobody knows how many


class Ring:
    """At most `capacity` blocks that wait. One thread puts, one thread reads."""

    def __init__(self, capacity: int) -> None:
        self._waiting: deque[tuple[int, bytes, float, bool]] = deque(maxlen=capacity)
        self._put = 0  # only the putting thread changes it
        self._next = 0  # only the reading thread changes it
        self._nothing = threading.Lock()  # held: nothing came since the reader last looked
        self._nothing.acquire()

    def put(self, data: bytes, time: float, overflow: bool) -> None:
        """On the recording thread: add a block of int16 samples; never waits."""
        self._waiting.append((self._put, data, time, overflow))  # a full deque drops its oldest
        self._put += 1
        self.wake()

    def wake(self) -> None:
        """On any thread: let a waiting reader look; never waits."""
        if self._nothing.locked():
            try:
                self._nothing.release()
            except RuntimeError:  # another thread woke the reader in this moment
                return

    def wait(self, seconds: float) -> None:
        """On the reading thread: until something comes or the time is over."""
        self._nothing.acquire(timeout=max(0.0, seconds))

    def take(self) -> Block | None:
        """On the reading thread: the oldest block that waits, None if there is none."""
        try:
            number, data, time, overflow = self._waiting.popleft()
        except IndexError:
            return None
        block = Block(number, np.frombuffer(data, dtype=np.int16), time, number - self._next, overflow)
        self._next = number + 1
        return block
