"""Private files that appear whole or not at all, and a lock that ends with its process.

Knows bytes and directories: not what is in them. POSIX: a rename replaces, `flock` is released by the system.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gemma_mlx.errors import StoreError

PRIVATE_DIRECTORY, PRIVATE_FILE = 0o700, 0o600
LOCK = "lock"
_NEW = ".new"  # suffix of a file in the making


def write(path: Path, content: bytes) -> None:
    """Replace a file, on the disk but for its name: that is safe after `sync_directory`. Raises `OSError`."""
    new = path.with_name(path.name + _NEW)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        new.rename(path)
    except BaseException:  # an interrupt as well
        with suppress(OSError):
            new.unlink()
        raise


def move_into_place(new: Path, place: Path) -> None:
    """Give a file that another writer made its name, once it is private and on the disk. Raises `OSError`."""
    new.chmod(PRIVATE_FILE)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.rename(place)
    sync_directory(place.parent)


def sync_directory(directory: Path) -> None:
    """Names of new files survive a power cut from here on."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Lock:
    """Nobody else has the directory: until `release`, or until the process ends in whatever way.

    The system holds the lock, so none is ever stale; the file only says whose it is. Raises `StoreError`, with the
    process, if another program has it, and `OSError`.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):  # a full disk must not keep anybody from deleting
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            owner = os.pread(self._descriptor, 20, 0).decode(errors="replace")
            self.release()
            raise StoreError(
                f"{directory.name} is open in another program (process {owner}): leave it there first"
            ) from None
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        os.close(self._descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """The directory, alone. Raises what `Lock` raises."""
    lock = Lock(directory)
    try:
        yield
    finally:
        lock.release()
