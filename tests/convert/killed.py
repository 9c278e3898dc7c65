"""`python -m tests.convert.killed SOURCE OUTPUT N`: a conversion that is killed when it touches the disk for the Nth
time, in the middle of the write if it is one. With N = 0 it ends well and prints how often it did."""

import os
import signal
import sys
import threading
from pathlib import Path

from gemma_mlx.convert.recipes import RECIPES
from gemma_mlx.convert.run import Sizes, convert

SIZES = Sizes(shard=60_000, slice=1000, commit=20_000)
_EVENTS = frozenset({"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"})


class Executioner:
    """Counts, from any thread, what changes the hidden files of an output that is called `out`."""

    def __init__(self, last: int) -> None:
        self.last, self.count, self.lock = last, 0, threading.Lock()
        self.pwrite = os.pwrite

    def is_over(self) -> bool:
        with self.lock:
            self.count += 1
            return self.count == self.last

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in _EVENTS and "/.out." in str(arguments[0]) and self.is_over():
            self.kill()

    def write(self, descriptor: int, data: memoryview, start: int) -> int:
        if self.is_over():
            self.pwrite(descriptor, data[: len(data) // 2], start)
            self.kill()
        return self.pwrite(descriptor, data, start)

    def sync(self, descriptor: int) -> None:
        if self.is_over():
            self.kill()


def main(source: str, output: str, last: str) -> None:
    executioner = Executioner(int(last))
    os.pwrite, os.fsync = executioner.write, executioner.sync  # type: ignore[assignment]
    sys.addaudithook(executioner.audit)
    convert(Path(source), Path(output), RECIPES["4bit"], force=True, sizes=SIZES)
    print(executioner.count)


if __name__ == "__main__":
    main(*sys.argv[1:])
