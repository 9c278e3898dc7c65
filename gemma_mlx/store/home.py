"""The directory of one conversation: `conversation.json`, `media/`, `caches.safetensors` and a lock.

It is made in a hidden directory and appears with its record in it. Knows files: not chats.
"""

import errno
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from shlex import quote

from gemma_mlx.errors import StoreError
from gemma_mlx.store.files import PRIVATE_DIRECTORY, Lock, locked, sync_directory, write
from gemma_mlx.store.media import DIRECTORY, Media
from gemma_mlx.store.record import RECORD, Conversation, NewerVersion, decode, encode

_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})
_HIDDEN = re.compile(r"\.\d+-[0-9a-f]{8}")  # others' hidden directories, such as .git, are none of ours
_STALE = 60  # seconds after which a hidden directory that nobody has locked is left over


class Home:
    """A conversation's directory while this program has it locked; its name may change."""

    def __init__(self, path: Path) -> None:
        """Raises `StoreError` if another program has it, and `OSError`."""
        self.path, self._lock = path, Lock(path)
        self.media = Media(path / DIRECTORY)

    @classmethod
    def hidden(cls, root: Path) -> "Home":
        """A new one, not listed until it is moved. Raises `OSError`."""
        root.parent.mkdir(parents=True, exist_ok=True)
        root.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        path = root / _hidden_name()
        path.mkdir(mode=PRIVATE_DIRECTORY)
        return cls(path)

    def write(self, conversation: Conversation) -> None:
        """Replace the record. Raises `OSError`."""
        write(self.path / RECORD, encode(conversation))
        sync_directory(self.path)

    def move(self, name: str) -> bool:
        """Give it another name, unless one of that name is there: then False. Raises `OSError`."""
        target = self.path.with_name(name)
        try:
            self.path.rename(target)
        except OSError as fault:
            if fault.errno in _TAKEN:
                return False
            raise
        self.path, self.media.directory = target, target / DIRECTORY
        sync_directory(target.parent)
        return True

    def delete(self) -> None:
        """All of it, and let go of it: it disappears at once, even if the files do not. Raises `OSError`."""
        try:
            if not self.path.name.startswith("."):
                self.move(_hidden_name())
            shutil.rmtree(self.path)
        finally:
            self.release()

    def release(self) -> None:
        """Let others have it."""
        self._lock.release()


def read_record(directory: Path) -> Conversation:
    """What is kept in a directory. Raises `StoreError` that names the file and what to do."""
    path = directory / RECORD
    delete = f"gemma-mlx chats delete {quote(directory.name)}"
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{path} is gone: put it back, or delete what is left with {delete}") from None
    except OSError as fault:
        raise StoreError(f"{path} cannot be read ({fault.strerror}): check its permissions") from None
    except NewerVersion as fault:
        raise StoreError(f"{path}: {fault}: update gemma-mlx") from None
    except ValueError as fault:
        raise StoreError(f"{path} is damaged ({fault}): put a copy back, or delete it with {delete}") from None


def sweep(root: Path) -> None:
    """Delete the hidden directories that programs left which ended while they made or deleted a conversation."""
    for path in root.glob(".*"):
        with suppress(OSError, StoreError):
            if _HIDDEN.fullmatch(path.name) and time.time() - path.stat().st_mtime > _STALE:
                with locked(path):
                    shutil.rmtree(path)


def _hidden_name() -> str:
    return f".{os.getpid()}-{os.urandom(4).hex()}"
