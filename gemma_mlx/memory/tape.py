"""Arrays as sizes only: when each is made, when it was last read, and how many bytes are alive at once.

MLX's CPU backend allocates results when it queues an operation, and frees an array when the last operation that reads
it has run. Queueing runs ahead of computing by `AHEAD` queue entries, so everything that lives within that distance is
alive together. Knows no model. Source: mlx `transforms.cpp` (MAX_ACTIVE_TASKS = 10 tasks before queueing waits) and
`backend/cpu/encoder.h` (DISPATCHES_PER_TASK = 10 entries count as one task).
"""

from dataclasses import dataclass
from itertools import accumulate

AHEAD = 115  # eleven tasks of ten entries, and those of the operation during which the limit is passed
_FOREVER = 2**60


@dataclass
class Sized:
    """An array of `nbytes`: queue entry that makes it, and the last that reads it."""

    nbytes: int
    born: int
    last: int


class Tape:
    """Operations in the order in which they are queued. Every operation takes queue entries: usually two, one to
    compute and one to release what it read; views take one."""

    def __init__(self) -> None:
        self.clock = 0
        self.lanes = 1  # equal operations that are queued side by side, counted together
        self._arrays: list[Sized] = []

    def held(self, nbytes: int) -> Sized:
        """What is there before; it goes when an operation has read it last (`read`), or stays (`keep`)."""
        return self._add(Sized(nbytes, 0, 0))

    def new(self, nbytes: int, *read: Sized, entries: int = 2) -> Sized:
        """The result of an operation that reads arrays and takes a buffer of its own."""
        self.read(*read, entries=entries)
        return self._add(Sized(nbytes, self.clock, self.clock))

    def read(self, *arrays: Sized, entries: int = 2) -> None:
        """An operation whose result is small, a view, or takes over the buffer of something that it reads."""
        self.clock += entries * self.lanes
        for array in arrays:
            array.last = max(array.last, self.clock)

    def keep(self, *arrays: Sized) -> None:
        """These outlive the tape."""
        for array in arrays:
            array.last = _FOREVER

    def peak(self) -> int:
        """Most bytes alive at once."""
        changes = [(array.born, array.nbytes) for array in self._arrays]
        changes += [(array.last + AHEAD, -array.nbytes) for array in self._arrays]
        return max(accumulate((change for _, change in sorted(changes)), initial=0))

    def _add(self, array: Sized) -> Sized:
        self._arrays.append(array)
        return array
