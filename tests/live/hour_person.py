"""Who sits at the microphone of a simulated hour: types, is woken by spoken turns, and sees what became of them.

The loop of the terminal is the real one, and so is the talk with the session; after each job, on the thread of the
model, what was said must be in the conversation. Knows sessions and lines: no listener.
"""

import random
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TypeVar

import numpy as np
from PIL import Image as Pictures

from gemma_mlx.chat import Chat
from gemma_mlx.commands.chat import _Talk
from gemma_mlx.commands.session import Session
from gemma_mlx.commands.speaking import BARGED_IN
from gemma_mlx.conversation import history as turns
from gemma_mlx.errors import ContextError, GemmaError
from gemma_mlx.generation.events import Event, Finished, Notice
from gemma_mlx.inputs.message import Audio, Part
from gemma_mlx.live.listener import Listener
from gemma_mlx.terminal.repl import Repl, Replies
from gemma_mlx.terminal.spoken import SPOKEN, Spoken
from gemma_mlx.worker import Worker
from tests.chats import rendered, settled
from tests.live.hour_script import MEASURE, SETTLE
from tests.live.hour_witness import Witness

Value = TypeVar("Value")


class Desk:
    """A surface whose lines come from a course. `occupied`: a reply is being shown; `idle_since`: None while anything
    is done."""

    def __init__(self, witness: Witness, rng: random.Random, broken_off: float) -> None:
        """`broken_off`: the part of replies that end with Ctrl-C."""
        self.witness, self.rng, self.broken_off = witness, rng, broken_off
        self.counts = Counter[str]()
        self.occupied = False
        self.moved_at = time.monotonic()
        self._changed = threading.Condition()
        self._lines = deque[str | Spoken | None]()
        self._asking = False

    @property
    def waiting(self) -> int:
        """Lines and wakes that nobody took yet; one while something is done."""
        return len(self._lines) + (not self._asking)

    def type(self, line: str | Spoken | None, first: bool = False) -> None:
        """From any thread; None ends the input."""
        with self._changed:
            if first:
                self._lines.appendleft(line)
            else:
                self._lines.append(line)
            self._changed.notify()

    def wake(self) -> None:
        self.type(SPOKEN)

    def ask(self) -> str | Spoken:
        self.occupied = False
        with self._changed:
            self._asking = True
            while not self._lines:
                self._changed.wait(0.1)
            self._asking = False
            line = self._lines.popleft()
        self.moved_at = time.monotonic()
        self.counts["woken" if line is SPOKEN else "typed"] += 1
        self.occupied = True
        if line is None:
            raise EOFError
        return line

    def say(self, line: str) -> None:
        self.witness.untold.discard(line)

    def show(self, events: Iterator[Event]) -> Finished | None:
        broken_off = self.rng.randrange(1, 12) if self.rng.random() < self.broken_off else 0
        for number, event in enumerate(events, 1):
            self.moved_at = time.monotonic()
            if isinstance(event, Notice):
                self.say(event.text)
                self.counts["interrupted" if event.text == BARGED_IN else "notices"] += 1
                self.counts["turns dropped"] += "no longer read" in event.text
            if isinstance(event, Finished):
                self.counts["answers"] += 1
                return event
            if number == broken_off:
                self.counts["broken off"] += 1
                signal.raise_signal(signal.SIGINT)
        return None

    def choose(self, question: str, choices: Mapping[str, str]) -> str | None:
        return None

    def correct(self, text: str) -> str | None:
        return None

    def explain(self, live: bool) -> None: ...
    def recall(self, question: str, answer: str) -> None: ...


class Talk(_Talk):
    """The program's, with a picture in place of the screen. `owed`: what was said and is not in the conversation yet;
    `muted`: when it was, in seconds of the listener's clock."""

    def __init__(self, worker: "Worker[Session]", desk: Desk, ears: Listener, clock: Callable[[], float]) -> None:
        super().__init__(worker, desk.say, ears)
        self.desk, self.clock = desk, clock
        self.owed: list[np.ndarray] = []
        self.asked = 0  # questions in the conversation
        self.muted: list[tuple[float, float]] = []

    def spoken(self) -> Replies:
        def answered(session: Session) -> Replies:
            if len(self.desk.witness.over) > 0:  # else somebody was woken twice
                self.owed.append(self.desk.witness.over.popleft())
                self.desk.counts["spoken"] += 1
            yield from self._seen(session, session.answer_spoken())

        return self.worker.stream(answered)

    def mute(self, on: bool | None) -> bool:
        before, now = bool(self.muted) and self.muted[-1][1] == np.inf, self.clock()
        after = super().mute(on)
        if after and not before:
            self.muted.append((now, np.inf))
        elif before and not after:
            self.muted[-1] = (self.muted[-1][0], self.clock())
        return after

    def look(self, words: str) -> str:
        drawn = np.random.default_rng(self.desk.rng.randrange(2**32)).integers(0, 256, (96, 144, 3), np.uint8)
        picture = Pictures.fromarray(drawn)
        return self._do(lambda session: session.attach_picture(picture, "screen"))

    def _do(self, job: Callable[[Session], Value]) -> Value:
        def done(session: Session) -> Value:
            value = job(session.aside())
            self._check(session.chat, forgotten=True)
            return value

        return self.worker.run(done)

    def _reply(self, job: Callable[[Session], Replies]) -> Replies:
        return self.worker.stream(lambda session: self._seen(session, job(session.aside())))

    def _seen(self, session: Session, events: Replies) -> Generator[Event]:
        try:
            yield from events
        finally:
            events.close()
            self._check(session.chat, forgotten=False)

    def _check(self, chat: Chat, forgotten: bool) -> None:
        """What was said is in the last turn or in the open one, in order; `forgotten` if the person may have wanted
        that."""
        before, self.asked = self.asked, len(turns.turn_starts(chat.history))
        assert self.asked <= before + (not forgotten), f"{self.asked} questions after {before}: one was never asked"
        asked = chat.history[len(turns.before_last_turn(chat.history)) :][:1] if turns.turn_starts(chat.history) else ()
        last = _sound([part for message in asked for part in message.parts])
        pending, owed = _sound(chat.pending), np.concatenate([np.zeros(0, np.int16), *self.owed])
        if np.array_equal(pending, owed):
            self.desk.counts["unanswered"] += bool(self.owed)
            return
        assert not pending.size, f"{pending.size} samples are open, of {owed.size}"
        self.desk.counts["forgotten"] += (held := np.array_equal(last, owed)) is False
        assert held or forgotten, f"{owed.size} samples were said, {last.size} are in the conversation"
        self.owed = []


class Person(Repl):
    """`look` is called on the model's thread, for what a person cannot do."""

    def __init__(self, talk: Talk, desk: Desk, look: Callable[[str], None]) -> None:
        super().__init__(talk, desk, live=True)
        self.desk, self.look = desk, look

    def turn(self, line: str | Spoken) -> None:
        if line in (SETTLE, MEASURE):
            self.look(str(line))
            return
        try:
            super().turn(line)
        except ContextError:
            self.desk.counts["did not fit"] += 1
            self.desk.type("/drop", first=True)
            raise
        except GemmaError:
            self.desk.counts["refused"] += 1
            raise


def as_cold(session: Session) -> bool:
    """Fails unless the conversation is held as one that reads it anew would; whether it could be compared."""
    chat = session.aside().chat
    nothing = not turns.as_read(chat.history, chat.dropped)  # templates do not render that
    if chat.pending or nothing or rendered(chat).n_tokens > chat.context.limit:
        return False
    settled(chat)
    return True


def _sound(parts: "list[Part] | tuple[Part, ...]") -> np.ndarray:
    """What was said, as it was heard."""
    found = [np.round(part.samples * 32768).astype(np.int16) for part in parts if isinstance(part, Audio)]
    return np.concatenate([np.zeros(0, np.int16), *found])
