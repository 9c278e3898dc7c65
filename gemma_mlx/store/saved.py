"""One saved conversation while a `Chat` goes on with it: written before each prefill and after each reply.

It gets its directory, with its first message in it, when there is something to keep. Knows chats and records: not who
talks, nor which other conversations there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from gemma_mlx.errors import GemmaError, StoreError
from gemma_mlx.inputs.message import SPOKEN, Audio, Message, Part, Text
from gemma_mlx.models import name_of
from gemma_mlx.store import names
from gemma_mlx.store.caches import CacheFiles
from gemma_mlx.store.fingerprint import fingerprint
from gemma_mlx.store.home import Home, sweep
from gemma_mlx.store.media import Media
from gemma_mlx.store.record import Conversation, StoredMessage, encode

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat

UNANSWERED = "the last message has no answer yet: /retry answers it"


class SavedChat:
    """A conversation that is kept. Made by `Store.create` and `Store.open`; `close` lets others open it.

    `conversation` is what was written last, None before there was anything. `fault`: why the last change could not be
    written, in one line, None if it was; the conversation goes on.
    """

    def __init__(
        self, caches: CacheFiles, name: str | None, home: Home | None = None, conversation: Conversation | None = None
    ) -> None:
        self.conversation = conversation
        self.fault: str | None = None
        self._caches, self._name, self._home = caches, name, home
        self._cached: Sequence[object] | None = None  # what the file of caches holds, None if that is not known
        self._provisional = False  # the name is automatic, and only that of an attachment
        self._closed = False

    @property
    def name(self) -> str | None:
        """None as long as nothing was said and nobody named it."""
        return self._name if self._home is None else self._home.path.name

    def follow(self, chat: "Chat") -> None:
        """Keep from now on what is said in `chat`."""
        chat.keep = _keeper(self, chat)

    def restore(self, chat: "Chat") -> list[str]:
        """Put the conversation into a new `chat` and follow it. Returns what the person should know, a line each.

        Raises `StoreError` if a file of its media is gone or damaged; the chat is then as it was.
        """
        assert self._home is not None, "only what was opened can be restored"
        assert self.conversation is not None, "only what was opened can be restored"
        kept, media = self.conversation, self._home.media
        history = tuple(_loaded(message, media) for message in kept.messages)
        pending = tuple(media.load(part) for part in kept.pending)
        if any(map(_is_sent, pending)):
            history, pending = (*history, Message("user", pending)), ()
        chat.history, chat.pending, chat.dropped = history, pending, kept.dropped
        chat.enable_thinking, chat.tools = kept.thinking, kept.tools
        self.follow(chat)
        notices = []
        if kept.model != (model := name_of(chat.gemma.path)):
            notices.append(f"{self.name} was held with {kept.model}, {model} goes on with it")
        if history and history[-1].role == "user":
            notices.append(UNANSWERED)
        if kept.turns and (line := self._load_caches(chat)):
            notices.append(line)
        return notices

    def save(self, chat: "Chat") -> None:
        """Write the conversation as it is now: for changes that read nothing, such as an undo."""
        self.keep(chat, chat.history, chat.pending)

    def save_caches(self, chat: "Chat") -> str | None:
        """Write the conversation and its caches, so that resuming reads a file. Returns why there are none, in one
        line."""
        self.save(chat)
        context = chat.context
        if self._home is None or not context.keys:
            return None
        name = self._home.path.name
        if context.keys == self._cached and self._caches.nbytes(name):  # unless another program made room
            return None
        known = _fingerprint(chat)
        if isinstance(known, GemmaError):
            return f"{name} is read again when it is resumed: {known}"
        line = self._caches.save(name, context.nbytes, lambda path: context.save(path, known))
        self._cached = None if line else [*context.keys]
        return line

    def rename(self, name: str) -> None:
        """Raises `StoreError` if it is no name, another conversation has it, or the directory cannot be changed."""
        name = names.checked(name)
        try:
            free = self._home.move(name) if self._home else not (self._caches.root / name).exists()
        except OSError as fault:
            raise StoreError(f"{self.name} cannot be renamed to {name} ({fault.strerror})") from None
        if not free:
            raise StoreError(f"there is a conversation {name} already: choose another name")
        self._name, self._provisional = name, False

    def close(self) -> None:
        """Let others open it. What is said afterwards is not kept."""
        self._closed, self._name = True, self.name
        if self._home is not None:
            self._home.release()
            self._home = None

    def keep(self, chat: "Chat", messages: tuple[Message, ...], pending: tuple[Part, ...]) -> None:
        """Write what was said, unless that is nothing yet. What keeps it from being written becomes `fault`."""
        nothing = not pending and all(message.role == "system" for message in messages)
        if self._closed or (self._home is None and nothing):
            return
        try:
            if self._home is None:
                self._begin(chat, messages, pending)
            else:
                self._write(self._home, chat, messages, pending)
                if self._provisional and self.conversation and self.conversation.first_words:
                    self._name_by_its_beginning(self._home)
        except OSError as fault:
            place = self._caches.root
            self.fault = (
                f"the conversation cannot be saved in {place} ({fault.strerror}): make room, or let it be written"
            )
        else:
            self.fault = None

    def _begin(self, chat: "Chat", messages: tuple[Message, ...], pending: tuple[Part, ...]) -> None:
        home = Home.hidden(self._caches.root)
        try:
            self._write(home, chat, messages, pending)
            if self._name is None or not home.move(self._name):
                self._name_by_its_beginning(home)
        except BaseException:
            self.conversation = None
            home.delete()
            raise
        self._home = home
        sweep(self._caches.root)

    def _name_by_its_beginning(self, home: Home) -> None:
        assert self.conversation is not None, "it was written"
        words = self.conversation.first_words
        self._provisional = not words
        media = (Path(medium.name).name for medium in self.conversation.media)
        for name in names.automatic(words or next(media, ""), self.conversation.created.astimezone()):
            if home.move(name):
                break

    def _write(self, home: Home, chat: "Chat", messages: tuple[Message, ...], pending: tuple[Part, ...]) -> None:
        """Replace the record, unless it says the same already."""
        now = datetime.now(UTC).replace(microsecond=0)
        before = self.conversation
        written = Conversation(
            model=name_of(chat.gemma.path),
            created=before.created if before else now,
            updated=now,
            messages=tuple(_stored(message, home.media) for message in messages),
            pending=tuple(home.media.store(part) for part in pending),
            thinking=chat.enable_thinking,
            tools=tuple(chat.tools),
            dropped=chat.dropped,
        )
        if before is None or encode(before) != encode(replace(written, updated=before.updated)):
            home.write(written)
            self.conversation = written

    def _load_caches(self, chat: "Chat") -> str | None:
        assert self._home is not None
        known, context = _fingerprint(chat), chat.context
        if isinstance(known, GemmaError):
            return f"{self.name} is read again with the next message: {known}"
        line = self._caches.load(self._home.path.name, lambda path: context.load(path, known))
        self._cached = None if line else [*context.keys]
        return line


def _keeper(saved: SavedChat, chat: "Chat") -> Callable[[tuple[Message, ...], tuple[Part, ...]], None]:
    followed = ref(chat)  # a chat that refers to itself is freed late, and the next one needs its memory

    def keep(messages: tuple[Message, ...], pending: tuple[Part, ...]) -> None:
        if (chat := followed()) is not None:
            saved.keep(chat, messages, pending)

    return keep


def _fingerprint(chat: "Chat") -> "str | GemmaError":
    """Of the chat's model; the fault if its directory is not what it was when it was loaded."""
    try:
        return fingerprint(chat.gemma.path, str(chat.gemma.model.language_model.norm.weight.dtype))
    except GemmaError as fault:
        return fault
    except OSError as fault:
        return StoreError(f"{chat.gemma.path} cannot be read ({fault.strerror})")


def _stored(message: Message, media: Media) -> StoredMessage:
    parts = tuple(media.store(part) for part in message.parts)
    return StoredMessage(message.role, parts, message.thinking, message.calls, message.answers, message.value)


def _loaded(stored: StoredMessage, media: Media) -> Message:
    parts = tuple(media.load(part) for part in stored.parts)
    return Message(stored.role, parts, stored.thinking, stored.calls, stored.answers, stored.value)


def _is_sent(part: Part) -> bool:
    """Whether a turn with this part was sent: what is only attached waits for more."""
    return isinstance(part, Text) or (isinstance(part, Audio) and part.name == SPOKEN)
