"""What the thread of a worker owns in tests."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from gemma_mlx.worker import Worker

WAIT = 20.0  # seconds until a test that hangs fails


class Owned:
    """What the thread owns: remembers who touched it and whether it was given up."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.threads: set[str] = set()

    def note(self, word: str) -> None:
        self.log.append(word)
        self.threads.add(threading.current_thread().name)


def owner(owned: Owned) -> Callable[[Worker[Owned]], AbstractContextManager[Owned]]:
    @contextmanager
    def own(worker: Worker[Owned]) -> Iterator[Owned]:
        owned.note("made")
        try:
            yield owned
        finally:
            owned.note("given up")

    return own
