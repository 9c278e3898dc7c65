"""Somebody who does something while the program waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread


@contextmanager
def beside(*works: Callable[[], object]) -> Iterator[None]:
    """Threads of their own for these works."""
    threads = [Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()
