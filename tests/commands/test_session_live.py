"""A session that listens: turns from an inbox, between and during what is typed."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from gemma_mlx.capture.vad import FRAME_SAMPLES
from gemma_mlx.commands.session import Keeping, Session
from gemma_mlx.commands.speaking import BARGED_IN, Person
from gemma_mlx.generation.events import Finished, Notice, TextDelta
from gemma_mlx.inputs.message import Audio
from gemma_mlx.live.inbox import Closed, Inbox, Opened, Paused, Sound, Told, Withdrawn
from gemma_mlx.loading import Prepared
from gemma_mlx.options import Settings
from gemma_mlx.store.store import Store
from tests.chats import demo, image, settled

SPEECH = np.random.default_rng(0).integers(-9000, 9000, 40 * FRAME_SAMPLES).astype(np.int16)
STOP = 30 * FRAME_SAMPLES


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return Settings(model="demo").prepare()


@pytest.fixture
def talk(prepared: Prepared) -> Session:
    return Session(Settings(model="demo", temperature=0, max_tokens=12), prepared, demo(), Keeping("it", True, "stop"))


@dataclass
class Said:
    """What reaches the person: lines, and how often a turn was said to be over."""

    told: list[str] = field(default_factory=list)
    over: int = 0

    def spoken(self) -> None:
        self.over += 1


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def inbox(talk: Session, said: Said) -> Inbox:
    made = Inbox()
    talk.listen(made, Person(said.told.append, said.spoken))
    return made


def rest(talk: Session, inbox: Inbox) -> None:
    """Rest until everything that waits is taken."""
    talk.rest(lambda: not inbox.waiting)


def spoken(inbox: Inbox) -> None:
    inbox.put(Opened())
    inbox.put(Sound(SPEECH))
    inbox.put(Paused(STOP))
    inbox.put(Closed(STOP))


def test_a_spoken_turn_is_answered_and_kept(talk: Session, inbox: Inbox, said: Said) -> None:
    spoken(inbox)
    rest(talk, inbox)
    assert said.over == 1
    events = [*talk.answer_spoken()]
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.audio_tokens == 30
    (asked, answer) = talk.chat.history
    assert [part.samples.shape for part in asked.parts if isinstance(part, Audio)] == [(STOP,)]
    assert answer.text == events[-1].text
    assert Store().read("it").turns == 1
    settled(talk.chat)


def test_speech_stops_an_answer_and_what_was_shown_stays(talk: Session, inbox: Inbox) -> None:
    shown = ""
    events = talk.answer("hello")
    for event in events:
        if isinstance(event, TextDelta) and not shown:
            shown = event.text
            inbox.put(Opened())
            inbox.put(Sound(SPEECH))
            inbox.interrupt()
        last = event
    assert last == Notice(BARGED_IN)
    assert talk.chat.history[-1].text == shown
    inbox.put(Closed(STOP))
    rest(talk, inbox)
    assert isinstance([*talk.answer_spoken()][-1], Finished)
    assert [message.role for message in talk.chat.history] == ["user", "assistant"] * 2
    settled(talk.chat)


def test_something_typed_while_somebody_speaks_is_answered_first(talk: Session, inbox: Inbox) -> None:
    inbox.put(Opened())
    inbox.put(Sound(SPEECH))
    rest(talk, inbox)
    assert isinstance([*talk.aside().answer("hello")][-1], Finished)
    assert [len(message.parts) for message in talk.chat.history] == [1, 1]
    inbox.put(Closed(STOP))
    rest(talk, inbox)
    assert isinstance([*talk.answer_spoken()][-1], Finished)
    assert [type(part) for part in talk.chat.history[2].parts] == [Audio]
    settled(talk.chat)


def test_a_false_start_is_read_and_forgotten(talk: Session, inbox: Inbox, said: Said) -> None:
    answered = [*talk.answer("hello")]
    inbox.put(Opened())
    inbox.put(Sound(SPEECH))
    rest(talk, inbox)
    inbox.put(Withdrawn())
    inbox.put(Told("the microphone is gone"))
    rest(talk, inbox)
    assert (said.told, said.over) == (["the microphone is gone"], 0)
    assert isinstance(answered[-1], Finished)
    settled(talk.chat)


def test_what_is_attached_is_read_while_nothing_is_asked(talk: Session) -> None:
    talk.attach(image(3, 4))
    assert talk.chat.context.keys == []
    talk.rest(lambda: False)
    assert len(talk.chat.context.keys) > 12
    assert talk.status.used == len(talk.chat.context.keys)
    finished = [*talk.answer("What do you see?")][-1]
    assert isinstance(finished, Finished)
    assert finished.usage.cached_tokens > 12


def test_a_session_without_a_microphone_has_nothing_to_wait_for(talk: Session) -> None:
    asked = iter([False, True])

    def interrupted() -> bool:
        return next(asked, True)

    talk.rest(interrupted)  # comes back
    assert (talk.chat.history, talk.chat.context.keys) == ((), [])


def test_speech_is_heard_where_a_transcript_is_wanted_and_nothing_was_said_yet(talk: Session, said: Said) -> None:
    inbox = Inbox()
    talk.listen(inbox, Person(said.told.append, said.spoken, transcript=True))
    rest(talk, inbox)
    spoken(inbox)
    rest(talk, inbox)
    assert said.over == 1


def test_a_turn_that_waits_for_its_answer_is_told_again(talk: Session, inbox: Inbox, said: Said) -> None:
    spoken(inbox)
    rest(talk, inbox)
    talk.rest(lambda: False)
    assert said.over == 2
    assert isinstance([*talk.answer_spoken()][-1], Finished)
    talk.attach(image())
    assert [*talk.answer_spoken()] == []  # it has its answer, and a picture waits for its question
    assert len(talk.chat.pending) == 1


def test_what_is_being_said_is_not_part_of_another_answer(talk: Session, inbox: Inbox) -> None:
    """A wake that comes too late finds a turn that is still open."""
    inbox.put(Opened())
    inbox.put(Sound(SPEECH))
    inbox.put(Paused(STOP))
    rest(talk, inbox)
    assert [*talk.answer_spoken()] == []
    inbox.put(Closed(STOP))
    rest(talk, inbox)
    assert isinstance([*talk.answer_spoken()][-1], Finished)
    assert [len(message.parts) for message in talk.chat.history] == [1, 1]
    settled(talk.chat)


def test_half_a_sentence_is_not_saved(talk: Session, inbox: Inbox) -> None:
    list(talk.answer("hello"))
    inbox.put(Opened())
    inbox.put(Sound(SPEECH))
    inbox.put(Paused(STOP))
    rest(talk, inbox)
    talk.leave()
    kept = Store().read("it")
    assert (kept.turns, kept.pending) == (1, ())


def test_a_new_conversation_begins_while_somebody_speaks(talk: Session, inbox: Inbox) -> None:
    list(talk.answer("hello"))
    inbox.put(Opened())
    inbox.put(Sound(SPEECH))
    rest(talk, inbox)
    talk.aside().new()
    assert talk.chat.history == ()
    inbox.put(Paused(STOP))
    inbox.put(Closed(STOP))
    rest(talk, inbox)
    finished = [*talk.answer_spoken()][-1]
    assert isinstance(finished, Finished)
    assert finished.usage.audio_tokens == 30
    settled(talk.chat)


def test_a_line_that_waits_is_not_stopped_by_what_was_said_before_it(talk: Session, inbox: Inbox) -> None:
    inbox.put(Opened())
    inbox.put(Sound(SPEECH))
    inbox.interrupt()
    assert isinstance([*talk.aside().answer("hello")][-1], Finished)


def test_what_was_said_is_written_down(talk: Session, said: Said) -> None:
    inbox = Inbox()
    talk.listen(inbox, Person(said.told.append, said.spoken, transcript=True))
    spoken(inbox)
    rest(talk, inbox)
    list(talk.answer_spoken())
    talk.rest(lambda: bool(said.told))
    (line,) = said.told
    assert line.startswith("you said: ")
    (part,) = (part for part in talk.chat.history[0].parts if isinstance(part, Audio))
    assert line == f"you said: {part.name}"
    assert [medium.name for medium in Store().read("it").media] == [part.name]
    settled(talk.chat)
