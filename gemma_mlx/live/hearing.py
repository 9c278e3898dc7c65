"""A spoken turn, read while it is spoken: what the inbox hands over becomes the open turn of a chat.

The chat is told what was said so far, and reads what is new of it: a false start, silence that is trimmed and speech
that returns are nothing but other values. After a pause the turn is closed and its answer begun on speculation; if
speech returns, that never was. Sound longer than a block is cut at its quietest, when the block is full.

Runs on the thread that owns the model. Knows a chat and an inbox: no devices, voice activity, terminals or threads.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Protocol

from gemma_mlx.capture import cutting
from gemma_mlx.capture.vad import FRAME_SAMPLES, SAMPLE_RATE
from gemma_mlx.chat import Chat, Keep
from gemma_mlx.context.context import never
from gemma_mlx.conversation.history import History
from gemma_mlx.errors import GemmaError
from gemma_mlx.generation.events import Event, Finished, Notice, TextDelta
from gemma_mlx.inputs.message import Audio, Part
from gemma_mlx.live.inbox import Closed, Inbox, Item, Opened, Paused, Resumed, Sound, Told, Withdrawn
from gemma_mlx.live.recording import Recording

FEWEST_FRAMES, MOST_FRAMES = 4, 12  # that are waited for before they are read: 0.16 to 0.48 s
HELD_EVENTS = 8  # of an answer that is begun on speculation: its first words must not wait to be decoded
_FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
_WAIT = 0.02  # seconds after which it is asked again whether there is something better to do
Events = Generator[Event, None, None]


class Room(Protocol):
    """Where a conversation takes place."""

    @property
    def chat(self) -> Chat:
        """The conversation that is spoken to now."""

    def reply(self) -> Events:
        """The answer to the chat's open turn."""

    def tell(self, line: str) -> None:
        """A line for the person."""


@dataclass(frozen=True, eq=False)
class _Early:
    """An answer that is begun before it is certain that the turn is over, at `stop` samples; the chat before it."""

    stop: int
    events: Events
    history: History
    pending: tuple[Part, ...]
    dropped: int
    keep: Keep | None
    held: list[Event] = field(default_factory=list)

    @property
    def has_begun(self) -> bool:
        """Whether the first words are there, or it has none."""
        return len(self.held) >= HELD_EVENTS or any(isinstance(event, TextDelta | Finished) for event in self.held)


class Hearing:
    """What the model has of the turn that is being spoken. `clock`: seconds, to see how long reading takes."""

    def __init__(self, room: Room, inbox: Inbox, clock: Callable[[], float] = time.monotonic) -> None:
        self.room, self.inbox, self.clock = room, inbox, clock
        self.open = False  # a turn is being spoken
        self.closed = False  # one is over and waits for its answer
        self._stop = 0  # of that one
        self._recording = Recording()
        self._parts: tuple[Audio, ...] = ()  # what the chat's open turn has of it
        self._early: _Early | None = None
        self._before: tuple[History, int] = (), 0  # of the chat without `_parts`: its history, and what it had dropped
        self._notices: list[Event] = []  # of answers that were taken back
        self._enough = FEWEST_FRAMES

    def listen(self, interrupted: Callable[[], bool]) -> None:
        """Take what comes, and read it, until a turn is over (`closed`) or was none, or until there is something better
        to do. Raises what ended the listening."""
        while not self.closed and not interrupted():
            if isinstance(self.step(_WAIT, interrupted), Withdrawn):
                return

    def step(self, timeout: float, interrupted: Callable[[], bool] = never) -> Item | None:
        """Take what comes next, if anything does in `timeout` seconds, and do what follows from it. Returns it."""
        item = self.inbox.take(timeout)
        match item:
            case Told(text):
                self.room.tell(text)
            case Opened():
                self._begin()
                self.open = True
            case Sound(samples):
                self._recording.append(samples)
                if self._early is None and self._unread() >= self._enough:
                    self._read(self._recording.samples, interrupted)
            case Paused(stop):
                self._begin_early(stop)
            case Resumed():
                self._take_back()
            case Closed(stop):
                self._close(stop)
            case Withdrawn():
                self.forget()
        if self._early is not None and not self.closed:
            self._speculate(self._early, interrupted)
        return item

    def answer(self) -> Events:
        """The answer to the turn that is over."""
        early, self._early = self._early, None
        if early is None:
            self._place(self._recording.parts(self._stop))
        notices = [notice for notice in self._notices if early is None or notice not in early.held]
        self._begin()
        yield from notices
        if early is None:
            yield from self.room.reply()
            return
        chat = self.room.chat
        try:
            yield from early.held
            if chat.keep is not None:  # only now: the first words do not wait for a disk
                chat.keep(chat.history, chat.pending)
            yield from early.events
        finally:
            early.events.close()

    def put_aside(self) -> None:
        """Take what was said so far out of the chat, which is used for something else; `listen` or `answer` puts it
        back."""
        self._take_back()
        self._place(())

    def forget(self) -> None:
        """What was said of this turn does not count."""
        self.put_aside()
        self._begin()

    def _begin(self) -> None:
        self.open, self.closed = False, False
        self._parts, self._recording, self._notices = (), Recording(), []

    def _unread(self) -> int:
        return (self._recording.samples - sum(len(part.samples) for part in self._parts)) // FRAME_SAMPLES

    def _read(self, stop: int, interrupted: Callable[[], bool]) -> None:
        """Read the turn up to that sample. After that, as many frames are waited for as come in twice the time that it
        took, so that half of it is left for the rest of the machine."""
        before = self.clock()
        self._place(self._recording.parts(stop))
        last_block = len(self._parts[-1].samples) // FRAME_SAMPLES
        try:
            self.room.chat.read_ahead(interrupted, max(0, last_block - cutting.MOST_FRAMES + cutting.SEARCH_FRAMES))
        except GemmaError:  # does not fit: the answer will say so
            self._enough = cutting.MOST_FRAMES
            return
        wanted = round(2 * (self.clock() - before) / _FRAME_SECONDS)
        self._enough = min(max(wanted, FEWEST_FRAMES), MOST_FRAMES)

    def _place(self, parts: tuple[Audio, ...]) -> None:
        """Put these recordings in place of those that the open turn has. With none, older turns that they had pushed
        out of the context are read again."""
        chat = self.room.chat
        history, dropped = self._before
        if not self._parts:
            self._before = chat.history, chat.dropped
        elif not parts and chat.history == history:
            chat.dropped = dropped
        others = tuple(part for part in chat.pending if part not in self._parts)
        chat.pending, self._parts = (*others, *parts), parts

    def _begin_early(self, stop: int) -> None:
        """Close the turn there, so that its answer may begin."""
        self._take_back()
        self._place(self._recording.parts(stop))
        chat = self.room.chat
        self._early = _Early(stop, self.room.reply(), chat.history, chat.pending, chat.dropped, chat.keep)
        chat.keep = None  # nothing is stored of what may never have been

    def _speculate(self, early: _Early, interrupted: Callable[[], bool]) -> None:
        """Go on with an answer as far as its first words, while nothing says that the turn goes on or is over."""
        try:
            while not (early.has_begun or interrupted() or self.inbox.turning):
                early.held.append(next(early.events))
        except GemmaError:  # comes again when the turn is certainly over
            self._take_back()

    def _take_back(self) -> None:
        """What was begun on speculation never was."""
        if self._early is not None:
            early, self._early = self._early, None
            early.events.close()
            self._notices += [each for each in early.held if isinstance(each, Notice) and each not in self._notices]
            chat = self.room.chat
            chat.history, chat.pending, chat.dropped = early.history, early.pending, early.dropped
            chat.keep = early.keep

    def _close(self, stop: int) -> None:
        """The turn is over there: what was begun on speculation holds, if it ends there as well."""
        if self._early is not None and self._early.stop != stop:
            self._take_back()
        if self._early is None:
            self._place(self._recording.parts(stop))
        else:
            self.room.chat.keep = self._early.keep
        self.open, self.closed, self._stop = False, True, stop
