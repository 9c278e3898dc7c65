"""The conversation of `gemma-mlx chat` under its options, and what is saved of it: what happens on the model's thread.

Knows chats, files and the store: not lines, keys or threads.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Self

from gemma_mlx.commands.overview import overview
from gemma_mlx.commands.speaking import Person, Speaking
from gemma_mlx.conversation import history as turns
from gemma_mlx.errors import GemmaError, InputError
from gemma_mlx.generation.events import Event, Finished, Notice
from gemma_mlx.inputs.attachment import open_picture
from gemma_mlx.inputs.film import by_file
from gemma_mlx.inputs.message import Part
from gemma_mlx.memory.sizes import gigabytes
from gemma_mlx.models import name_of
from gemma_mlx.options import Settings
from gemma_mlx.store.store import Store
from gemma_mlx.terminal.status import Status, figures
from gemma_mlx.terminal.words import asked, describe_all

if TYPE_CHECKING:
    from gemma_mlx.capture.screen import Picture
    from gemma_mlx.chat import Chat, WhenFull
    from gemma_mlx.live.inbox import Inbox
    from gemma_mlx.loading import Gemma, Prepared
    from gemma_mlx.store.saved import SavedChat

_NOTHING = "nothing was said yet: there is nothing to save"
LAST = "last"  # instead of a name: the conversation that was used last
Events = Generator[Event, None, None]


@dataclass(frozen=True)
class Keeping:
    """What becomes of conversations. `save`: the name of the first one; `save_always`: they are saved without being
    asked for; `when_full`: as for `Chat`."""

    save: str | None
    save_always: bool
    when_full: "WhenFull"


class Session:
    """One conversation after the other with a loaded model. Whatever raises `GemmaError` has changed nothing.

    `status` is replaced, never changed, so that another thread may read it. `check` is called where reading may be
    interrupted, and raises then.
    """

    def __init__(
        self,
        settings: Settings,
        prepared: "Prepared",
        gemma: "Gemma",
        keeping: Keeping,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings, self.prepared, self.gemma, self.keeping, self.check = settings, prepared, gemma, keeping, check
        self.when_full = keeping.when_full
        self.store = Store()
        self.thinking = settings.think
        self._answering = False
        self._speaking: Speaking | None = None
        self.last: Finished | None = None
        self.saved: SavedChat | None = None
        self._begin(keeping.save)

    def resume(self, name: str) -> list[str]:
        """Go on with a saved conversation; what the person should know, a line each."""
        saved = self.store.open(self._last_used() if name == LAST else name)
        lines = saved.restore(self.chat)
        if self.thinking:
            self.chat.enable_thinking = True
        self.thinking = self.chat.enable_thinking
        if self.keeping.save_always:
            self.saved = saved
        else:
            saved.close()
            self.chat.keep = None
        self.status = self._status()
        return lines

    def answer(self, text: str) -> Events:
        yield from self._watched(self.settings.reply(self.chat, text))

    def retry(self) -> Events:
        with self._unchanged():
            yield from self._watched(self.settings.retry(self.chat))

    def edit(self, text: str) -> Events:
        with self._unchanged():
            self.chat.edit(text)
            yield from self._watched(self.settings.reply(self.chat))

    def listen(self, inbox: "Inbox", person: Person) -> None:
        """From now on take what is said from `inbox`, in `rest`."""
        self._speaking = Speaking(self, inbox, person)

    def rest(self, interrupted: Callable[[], bool]) -> None:
        """What there is to do while nobody asks for anything: read the last reply as the next turn will want it, what
        is attached, and what is being said."""
        if self._speaking is None:
            self.read_ahead(interrupted)
        else:
            self._speaking.rest(interrupted)

    def read_ahead(self, interrupted: Callable[[], bool]) -> None:
        self.chat.settle(interrupted)
        with suppress(GemmaError):  # the answer that does not fit will say so
            self.chat.read_ahead(interrupted)
        self.status = self._status()

    def aside(self) -> Self:
        """The session, for anything but `answer_spoken`: what is being said stays out of that."""
        if self._speaking is not None:
            self._speaking.put_aside()
        return self

    def answer_spoken(self) -> Events:
        """The answer to the spoken turn that is over."""
        assert self._speaking is not None, "nobody listens"
        yield from self._watched(self._speaking.answer())

    def reply(self) -> Events:
        """The answer to the open turn."""
        return self.settings.reply(self.chat)

    def exchange(self) -> tuple[str, str] | None:
        """The last question and what was answered; None before the first."""
        if not turns.turn_starts(self.chat.history):
            return None
        asked = turns.before_last_turn(self.chat.history)
        question, *replies = self.chat.history[len(asked) :]
        return question.text, "\n\n".join(reply.text for reply in replies if reply.role == "assistant")

    def undo(self) -> str:
        """Take back what is attached, or else the last question and its answer; what it was."""
        taken = self.chat.undo()
        if taken is None:
            raise InputError("nothing was asked yet: there is nothing to take back")
        self.changed()
        return asked(taken.parts)

    def attach(self, *parts: Part) -> str:
        """Attach something, of one or more parts, to be read when nothing else is asked for; what it is."""
        before = self.chat.pending
        try:
            for part in parts:
                self.chat.add(part, read=False)
        except GemmaError:
            self.chat.pending = before
            raise
        finally:
            self.changed()
        return describe_all(parts, self.settings.fps)

    def attach_file(self, file: str) -> str:
        lines = list[str]()
        parts = self.settings.attachment(file, self.prepared, self._room(), lines.append)
        return "\n".join([self.attach(*parts), *lines])

    def attach_picture(self, picture: "Picture", name: str) -> str:
        lines = list[str]()
        rate = self.last.timing.prefill_tok_s or None if self.last else None
        reading = self.settings.reading(self.prepared, self._room(), rate)
        parts = open_picture(picture, reading, notice=lines.append, name=name)
        return "\n".join([self.attach(*parts), *lines])

    def _room(self) -> int:
        """Tokens that are left for what is attached, and a reply."""
        limit = self.chat.context.limit
        left = limit - self.chat.n_tokens
        return max(left, limit // 2) if self.when_full == "drop" else left

    def drop(self) -> int:
        """Forget what is attached; how much it was."""
        dropped = self.chat.undo() if self.chat.pending else None
        self.changed()
        return len(by_file(dropped.parts)) if dropped else 0

    def new(self) -> str | None:
        """Another conversation; the last one stays as it is saved. A line about that."""
        line = self.leave()
        self._begin(None)
        return line

    def think(self, on: bool) -> None:
        self.chat.enable_thinking = self.thinking = on

    def could_drop(self) -> bool:
        """Whether there are turns that a full context would let go if it were allowed to."""
        return self.when_full == "stop" and bool(turns.turn_starts(self.chat.history))

    def make_room(self, drop: bool) -> None:
        """Whether a full context lets the oldest turns go."""
        self.when_full = self.chat.when_full = "drop" if drop else "stop"

    def context(self) -> str:
        """What is read, in a few lines."""
        return overview(self.chat, self.when_full)

    def stats(self) -> str:
        """The last reply in figures, and the memory that the conversation takes."""
        if self.last is None:
            raise InputError("no answer has come to its end yet: ask something")
        return f"{figures(self.last)}\nmemory   {gigabytes(self.chat.context.nbytes)} for what is read"

    def save(self, name: str | None) -> str:
        """Save what there is, under that name from now on; what was done, in a line."""
        if self.saved is None:
            self.saved = self.store.create(name)
            self.saved.follow(self.chat)
        elif name is not None and name != self.saved.name:
            self.saved.rename(name)
        self.saved.save(self.chat)
        self.status = self._status()
        return self._kept()

    def branch(self, name: str | None) -> str:
        """Leave the conversation as it is saved and go on in a copy of that name; what was done, in a line."""
        copy = self.store.create(name)
        before = self.saved.name if self.saved and self.saved.conversation else None
        if self.saved is not None:
            self.saved.save(self.chat)
            self.saved.save_caches(self.chat)
            self.saved.close()
        self.saved = copy
        copy.follow(self.chat)
        copy.save(self.chat)
        self.status = self._status()
        return f"{self._kept()}; {before} stays as it is" if before else self._kept()

    def leave(self) -> str | None:
        """Save the caches and let others open the conversation, without what is being said; a line about what is kept,
        None if nothing is."""
        if self._speaking is not None and self._speaking.hearing.open:
            self._speaking.hearing.put_aside()
        if self.saved is None:
            return None
        self.saved.save(self.chat)
        if self.saved.conversation is None:
            return self.saved.fault
        why_not = self.saved.save_caches(self.chat)
        line = self.saved.fault or why_not or self._kept()
        self.saved.close()
        self.saved = None
        return line

    def _kept(self) -> str:
        if self.saved is None:
            return _NOTHING
        if self.saved.fault is not None:
            return self.saved.fault
        name = quote(self.saved.name) if self.saved.name else None
        if self.saved.conversation is None:
            return f"{_NOTHING}; what is said now is saved as {name}" if name else _NOTHING
        return f"saved: gemma-mlx chat --resume {name}"

    def _watched(self, events: Events) -> Events:
        """The events; the last one is remembered, a conversation that cannot be saved is told once."""
        fault = self._fault()
        heard = events if self._speaking is None else self._speaking.until_speech(events)
        try:
            for event in heard:
                self._answering = self._answering or not isinstance(event, Notice)
                if isinstance(event, Finished):
                    self.last = event
                    if (now := self._fault()) and now != fault:
                        yield Notice(now)
                yield event
        finally:
            heard.close()
            self.status = self._status()

    def _fault(self) -> str | None:
        return self.saved.fault if self.saved else None

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """What ends before anything was answered, by a fault or Ctrl-C, leaves the conversation as it was."""
        before = self.chat.history, self.chat.pending, self.chat.dropped
        self._answering = False
        try:
            yield
        finally:
            if not self._answering:
                self.chat.history, self.chat.pending, self.chat.dropped = before
                self.changed()

    def changed(self) -> None:
        """What was changed without being read is kept as well."""
        if self.saved is not None:
            self.saved.save(self.chat)
        self.status = self._status()

    def _begin(self, name: str | None) -> None:
        """A conversation without anything in it yet."""
        self.last = None
        self.chat = self._new_chat()
        self.chat.enable_thinking = self.thinking
        self.saved = self.store.create(name) if self.keeping.save_always else None
        if self.saved is not None:
            self.saved.follow(self.chat)
        self.status = self._status()

    def _new_chat(self) -> "Chat":
        chat = self.settings.chat(self.gemma, self.when_full)
        admit, check = chat.context.admit, self.check

        def checked(positions: int, piece: int, held: int) -> None:
            check()
            admit(positions, piece, held)

        chat.context.admit = checked
        return chat

    def _last_used(self) -> str:
        whole = [each.name for each in self.store.summaries() if each.fault is None]
        if not whole:
            raise InputError("no conversation is saved yet: start one with gemma-mlx chat --save NAME")
        return whole[0]

    def _status(self) -> Status:
        context, name = self.chat.context, self.saved.name if self.saved else None
        return Status(name_of(self.gemma.path), len(context.keys), context.limit, self.last, name)
