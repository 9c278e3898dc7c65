"""Bars for long work: on a terminal with bytes, speed and time left, otherwise silence.

Knows bytes and a stream: not what takes so long.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = Callable[[int, int], None]  # bytes done, bytes in all
_SHORT = 100_000_000  # bytes that are done before a bar could be read


@contextmanager
def byte_bar(label: str, stream: TextIO) -> Iterator[Progress]:
    """A bar that the yielded function moves; it goes away when the work ends."""
    if not stream.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=Console(file=stream), transient=True) as bars:
        task = bars.add_task(label, visible=False, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total, visible=total >= _SHORT)
