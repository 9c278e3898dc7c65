"""All saved conversations, a directory each: made, opened, listed, deleted.

Knows names and directories: not what is in a conversation (`record`), nor chats (`saved`).
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unicodedata import normalize

from gemma_mlx.errors import StoreError
from gemma_mlx.models import home_directory
from gemma_mlx.store.caches import BOUND, CacheFiles
from gemma_mlx.store.home import Home, read_record, sweep
from gemma_mlx.store.media import DIRECTORY
from gemma_mlx.store.record import Conversation
from gemma_mlx.store.saved import SavedChat


@dataclass(frozen=True)
class Summary:
    """One line about a conversation. `fault`: why it cannot be resumed, with what to do; the rest is then empty."""

    name: str
    updated: datetime
    turns: int = 0
    first_words: str = ""
    model: str = ""
    media_bytes: int = 0
    cache_bytes: int = 0
    fault: str | None = None


class Store:
    """The conversations in `directory` (without one: `chats` beside the models), whose caches take at most `bound`
    bytes together."""

    def __init__(self, directory: Path | None = None, bound: int = BOUND) -> None:
        self.directory = home_directory() / "chats" if directory is None else directory
        self._caches = CacheFiles(self.directory, bound)

    def create(self, name: str | None = None) -> SavedChat:
        """A new conversation. Without a name, its time and first words become one. Raises `StoreError` if it is no
        name, or taken."""
        saved = SavedChat(self._caches, None)
        if name is not None:
            saved.rename(name)
        return saved

    def open(self, name: str) -> SavedChat:
        """A saved conversation, to `restore`. Raises `StoreError` if there is none of that name, another program has
        it, or it cannot be read."""
        home = self._locked(name)
        try:
            conversation = read_record(home.path)
            home.media.keep_only(conversation.media)
        except OSError as fault:
            home.release()
            raise _unreadable(home.path, fault) from None
        except BaseException:
            home.release()
            raise
        return SavedChat(self._caches, home.path.name, home, conversation)

    def read(self, name: str) -> Conversation:
        """What is kept, without its media, also while a program has it open. Raises `StoreError`."""
        return read_record(self.path(name))

    def path(self, name: str) -> Path:
        """The directory of a conversation. Raises `StoreError` if there is none of that name."""
        found = {normalize("NFC", path.name): path for path in self._directories()}  # some file systems decompose
        name = normalize("NFC", name)
        if name in found:
            return found[name]
        alike = sorted(other for other in found if other.startswith(name))[:3] if name else []
        hint = f"is it {' or '.join(alike)}?" if alike else "gemma-mlx chats lists them"
        raise StoreError(f"there is no conversation {name or repr(name)}: {hint}")

    def summaries(self) -> list[Summary]:
        """All conversations, the last used first, damaged ones too. Raises `StoreError` if they cannot be listed."""
        found = filter(None, map(self._summary, self._directories()))
        return sorted(found, key=lambda summary: (summary.updated, summary.name), reverse=True)

    def delete(self, name: str) -> None:
        """Delete a conversation with its media and caches. Raises `StoreError` if there is none of that name, another
        program has it, or files cannot be deleted."""
        home = self._locked(name)
        try:
            home.delete()
        except OSError as fault:
            raise StoreError(f"{home.path} cannot be deleted ({fault.strerror}): check its permissions") from None
        sweep(self.directory)

    def _locked(self, name: str) -> Home:
        path = self.path(name)
        try:
            return Home(path)
        except OSError as fault:
            raise _unreadable(path, fault) from None

    def _directories(self) -> list[Path]:
        try:
            found = sorted(self.directory.iterdir()) if self.directory.exists() else []
        except OSError as fault:
            raise _unreadable(self.directory, fault) from None
        return [path for path in found if not path.name.startswith(".") and path.is_dir()]

    def _summary(self, path: Path) -> Summary | None:
        """None if it was deleted in between."""
        try:
            kept = read_record(path)
            media = sum(entry.stat().st_size for entry in os.scandir(path / DIRECTORY)) if _has_media(path) else 0
            caches = self._caches.nbytes(path.name)
        except (StoreError, OSError) as fault:
            with suppress(OSError):
                return Summary(path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC), fault=str(fault))
            return None
        return Summary(path.name, kept.updated, kept.turns, kept.first_words, kept.model, media, caches)


def _has_media(path: Path) -> bool:
    return (path / DIRECTORY).is_dir()


def _unreadable(path: Path, fault: OSError) -> StoreError:
    return StoreError(f"{path} cannot be opened ({fault.strerror}): check its permissions")
