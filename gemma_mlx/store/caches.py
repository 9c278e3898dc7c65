"""Files of caches, which spare reading a conversation again: bounded together, the least recently used go first.

They can always be deleted: whatever is missing is read again. Knows files, sizes and times: what is in them is told by
the functions that write and read them.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gemma_mlx.errors import GemmaError, StoreError
from gemma_mlx.memory.sizes import gigabytes
from gemma_mlx.store.files import locked, move_into_place

BOUND = 4_000_000_000  # bytes of all conversations' caches together
SPARE = 2_000_000_000  # bytes of the disk that they leave free
CACHES = "caches.safetensors"
_NEW = "caches.new.safetensors"  # whole, but not yet counted
_LEFT = (_NEW, f".{Path(_NEW).stem}-*.safetensors")  # what a program may leave that ends while it writes


class CacheFiles:
    """The caches of the conversations in the directories below `root`."""

    def __init__(self, root: Path, bound: int = BOUND, spare: int = SPARE) -> None:
        self.root, self.bound, self.spare = root, bound, spare

    def save(self, name: str, most: int, write: Callable[[Path], None]) -> str | None:
        """Let `write(path)` make the caches of a conversation, which this program has locked, of at most `most` bytes.

        Deletes others' as the bound demands. Returns why there are none, in one line; what was there stays then.
        """
        directory = self.root / name
        again = f"{name} is read again when it is resumed"
        new = directory / _NEW
        try:
            self._sweep(but=directory)
            if (free := shutil.disk_usage(directory).free) < most + self.spare:
                return f"{again}: {gigabytes(free)} are free at {directory}, too little for caches"
            write(new)
            if (size := new.stat().st_size) > self.bound:
                return f"{again}: its caches take {gigabytes(size)}, all together may take {gigabytes(self.bound)}"
            self._make_room(size, but=directory)
            move_into_place(new, directory / CACHES)
        except GemmaError as fault:
            return f"{again}: {fault}"
        except OSError as fault:
            return f"{again}: its caches cannot be written to {directory} ({fault.strerror})"
        finally:
            with suppress(OSError):
                new.unlink()
        return None

    def load(self, name: str, read: Callable[[Path], None]) -> str | None:
        """Let `read(path)` take the caches of a conversation. Returns why there are none, in one line."""
        path = self.root / name / CACHES
        again = f"{name} is read again with the next message"
        if not path.exists():
            return f"{again}: it has no caches"
        try:
            read(path)
            os.utime(path)
        except GemmaError as fault:  # of another model, damaged, or more than the memory takes
            return f"{again}: {fault}"
        except OSError as fault:
            return f"{again}: {path} cannot be read ({fault.strerror})"
        return None

    def nbytes(self, name: str) -> int:
        """Bytes of the caches of a conversation."""
        path = self.root / name / CACHES
        return path.stat().st_size if path.exists() else 0

    def _make_room(self, nbytes: int, but: Path) -> None:
        """Delete the least recently used until so many bytes more are within the bound."""
        others = [path for path in self.root.glob(f"*/{CACHES}") if path.parent != but]
        found = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in others)
        total = nbytes + sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= self.bound:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _sweep(self, but: Path) -> None:
        """Delete what programs left that ended while they wrote."""
        for left in [path for pattern in _LEFT for path in self.root.glob(f"*/{pattern}")]:
            if left.parent == but:
                left.unlink(missing_ok=True)
            else:
                with suppress(StoreError), locked(left.parent):
                    left.unlink(missing_ok=True)
