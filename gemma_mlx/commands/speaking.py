"""A session that is spoken to: what is said is read while nothing else is asked for, and stops what is being answered.

On the thread that owns the model. Knows sessions and what hears: no devices, keys or lines.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemma_mlx.errors import GemmaError
from gemma_mlx.generation.events import Event, Finished, Notice, TextDelta
from gemma_mlx.inputs.message import SPOKEN, Audio
from gemma_mlx.live.hearing import Hearing
from gemma_mlx.live.transcript import written_down

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat
    from gemma_mlx.commands.session import Session
    from gemma_mlx.live.inbox import Inbox

BARGED_IN = "stopped: you spoke"
Events = Generator[Event, None, None]


@dataclass(frozen=True)
class Person:
    """Who speaks, reached from the model's thread: `tell` shows a line, `spoken` says that a turn is over and waits for
    its answer. `transcript`: whether they want to read what they said."""

    tell: Callable[[str], None]
    spoken: Callable[[], None]
    transcript: bool = False


class Speaking:
    """What is said in a session."""

    def __init__(self, session: "Session", inbox: "Inbox", person: Person) -> None:
        self.session, self.inbox, self.person = session, inbox, person
        self.hearing = Hearing(self, inbox)

    @property
    def chat(self) -> "Chat":
        return self.session.chat

    def reply(self) -> Events:
        return self.session.reply()

    def tell(self, line: str) -> None:
        self.person.tell(line)

    def rest(self, interrupted: Callable[[], bool]) -> None:
        """As `Session.rest`, until a turn is over as well."""

        def busy() -> bool:
            return interrupted() or self.inbox.waiting

        rested = False
        try:
            while not (self.hearing.closed or interrupted()):
                if not self.hearing.open:
                    self.session.read_ahead(busy)
                    if self.person.transcript:
                        self._write_down(busy)
                self.hearing.listen(interrupted)
            rested = True
        finally:
            if self.hearing.closed or not rested:  # a fault is told to whoever asks next: let them ask
                self.person.spoken()

    def answer(self) -> Events:
        """The answer to the turn that is over, or to what a fault left of it; nothing if there is none."""
        if self.hearing.closed:
            yield from self.hearing.answer()
            return
        self.hearing.put_aside()
        if any(isinstance(part, Audio) and part.name == SPOKEN for part in self.chat.pending):
            yield from self.reply()

    def put_aside(self) -> None:
        """What is being said stays out of what follows; what ended the last answer is heard now, not taken for an
        interruption of the next."""
        while self.inbox.waiting and not self.hearing.closed:
            self.hearing.step(0, lambda: True)
        self.hearing.put_aside()

    def until_speech(self, events: Events) -> Events:
        """The events of an answer, until somebody speaks; meanwhile the meter shows what goes on."""
        self.inbox.show("thinking")
        try:
            for event in events:
                yield event
                if isinstance(event, Finished):
                    return
                if isinstance(event, TextDelta) and event.channel == "answer":
                    self.inbox.show("answering")
                if self.inbox.interrupts:
                    yield Notice(BARGED_IN)
                    return
        finally:
            events.close()
            self.inbox.show("listening")

    def _write_down(self, interrupted: Callable[[], bool]) -> None:
        """Show what was said, in the model's own words, and keep it as the names of recordings."""
        chat = self.session.chat
        for number, message in enumerate(chat.history):
            with suppress(GemmaError):  # it does not fit: the recording stays without
                written = written_down(message, self.session.gemma, interrupted)
                if written is not message:
                    chat.history = (*chat.history[:number], written, *chat.history[number + 1 :])
                    said = [part.name for part in written.parts if isinstance(part, Audio)]
                    self.session.changed()
                    self.tell(f"you said: {' '.join(said)}")
