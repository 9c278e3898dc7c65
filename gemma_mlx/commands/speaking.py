"""A session that is spoken to: what is said is read while nothing else is asked for, and stops what is being answered.

On the thread that owns the model. Knows sessions and what hears: no devices, keys or lines.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemma_mlx.conversation import history as turns
from gemma_mlx.errors import GemmaError
from gemma_mlx.generation.events import Event, Finished, Notice, TextDelta
from gemma_mlx.inputs.message import Audio
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

        while not (self.hearing.closed or interrupted()):
            if not self.hearing.open:
                self.session.read_ahead(busy)
                if self.person.transcript and not busy():
                    self._write_down()
            self.hearing.listen(interrupted)
            if self.hearing.closed:
                self.person.spoken()

    def answer(self) -> Events:
        """The answer to the turn that is over, or to what a fault left open of it."""
        return self.hearing.answer() if self.hearing.closed else self.reply()

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

    def _write_down(self) -> None:
        """Show what was said last, in the model's own words, and keep it as the name of the recording."""
        chat = self.session.chat
        left = len(turns.before_last_turn(chat.history))
        before, last, after = chat.history[:left], chat.history[left : left + 1], chat.history[left + 1 :]
        with suppress(GemmaError):  # it does not fit: the recording stays without
            for message in last:
                written = written_down(message, self.session.gemma)
                if written is not message:
                    chat.history = (*before, written, *after)
                    said = [part.name for part in written.parts if isinstance(part, Audio)]
                    self.session.changed()
                    self.tell(f"you said: {' '.join(said)}")
