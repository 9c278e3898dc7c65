"""Sound that arrives bit by bit, with pauses, returns and false starts, against the same recordings read at once."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from gemma_mlx.capture import cutting
from gemma_mlx.capture.vad import FRAME_SAMPLES
from gemma_mlx.chat import Chat
from gemma_mlx.conversation.history import History
from gemma_mlx.errors import ContextError
from gemma_mlx.generation.events import Event, Finished
from gemma_mlx.inputs.message import Audio, Part, Text
from gemma_mlx.live.hearing import FEWEST_FRAMES, MOST_FRAMES, Events, Hearing
from gemma_mlx.live.inbox import Closed, Inbox, Item, Opened, Paused, Resumed, Sound, Told, Withdrawn
from gemma_mlx.loading import Gemma
from tests import chats
from tests.chats import GREEDY, end_of, image, settled

TOKENS = 6
SPEECH = np.random.default_rng(0).integers(-9000, 9000, 800 * FRAME_SAMPLES).astype(np.int16)


@dataclass
class Room:
    """A chat that answers in a few tokens. `asked`: how many answers were begun."""

    chat: Chat
    told: list[str] = field(default_factory=list)
    asked: int = 0

    def reply(self) -> Events:
        self.asked += 1
        return self.chat.reply(None, GREEDY, max_tokens=TOKENS)

    def tell(self, line: str) -> None:
        self.told.append(line)


@pytest.fixture(scope="module", params=["demo", "noise"])
def gemma(request: pytest.FixtureRequest) -> Gemma:
    return chats.demo() if request.param == "demo" else chats.noise()


def begun(gemma: Gemma, context: int | None = None) -> tuple[Hearing, Room]:
    room = Room(Chat(gemma, "Be brief.", context=context))
    return Hearing(room, Inbox()), room


def sound(first: int, last: int) -> Sound:
    """These frames of what is said."""
    return Sound(SPEECH[first * FRAME_SAMPLES : last * FRAME_SAMPLES])


def hear(hearing: Hearing, *items: Item) -> None:
    """The items one after the other, each with all the time that it takes."""
    for item in items:
        hearing.inbox.put(item)
        while hearing.inbox.waiting:
            hearing.step(0)


def said(frames: int) -> tuple[Audio, ...]:
    """The recordings that a turn of the first `frames` frames consists of."""
    samples = SPEECH[: frames * FRAME_SAMPLES]
    at = [FRAME_SAMPLES * frame for frame in cutting.cuts(cutting.levels(samples))]
    return tuple(Audio("a.wav", part.astype(np.float32) / 32768) for part in np.split(samples, at))


def at_once(gemma: Gemma, history: History, parts: tuple[Part, ...], context: int | None) -> Finished:
    """The answer of a chat that gets these parts as files."""
    cold = Chat(gemma, context=context)
    cold.history, cold.pending = history, parts
    return end_of(cold.reply(None, GREEDY, max_tokens=TOKENS))


def answered(hearing: Hearing, before: History, *parts: Part) -> None:
    """Fails unless the answer, and all that is held after it, are those of a chat that gets these parts as files."""
    chat = hearing.room.chat
    assert hearing.closed
    expected, found = at_once(chat.gemma, before, parts, chat.context.limit), end_of(hearing.answer())
    assert (found.tokens, found.text, found.reason) == (expected.tokens, expected.text, expected.reason)
    assert found.usage.audio_tokens == expected.usage.audio_tokens
    heard, wanted = ([part.samples for part in of if isinstance(part, Audio)] for of in (chat.history[-2].parts, parts))
    assert len(heard) == len(wanted)
    assert all(np.array_equal(a, b) for a, b in zip(heard, wanted, strict=True))
    assert (hearing.open, hearing.closed, chat.pending) == (False, False, ())
    settled(chat)


@pytest.mark.parametrize("frames", [1, FEWEST_FRAMES, MOST_FRAMES + 1, 70])
def test_a_turn_is_that_of_its_file(gemma: Gemma, frames: int) -> None:
    hearing, room = begun(gemma)
    before = room.chat.history
    hear(hearing, Opened(), *(sound(i, i + 1) for i in range(frames)), Closed(frames * FRAME_SAMPLES))
    answered(hearing, before, *said(frames))
    assert room.asked == 1


def test_most_is_read_while_somebody_speaks(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    hear(hearing, Opened(), *(sound(i, i + 1) for i in range(60)))
    held = len(room.chat.context.keys)
    hear(hearing, Closed(60 * FRAME_SAMPLES))
    usage = end_of(hearing.answer()).usage
    assert usage.cached_tokens == held
    assert usage.audio_tokens == 60
    assert usage.prompt_tokens - held < MOST_FRAMES + 12


def test_an_answer_begun_in_the_pause_is_the_answer(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    before = room.chat.history
    hear(hearing, Opened(), sound(0, 20), Paused(15 * FRAME_SAMPLES))
    read = len(room.chat.context.keys)
    hear(hearing, sound(20, 24), Closed(15 * FRAME_SAMPLES))
    assert len(room.chat.context.keys) == read
    answered(hearing, before, *said(15))
    assert room.asked == 1


def test_speech_that_returns_takes_the_answer_back(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    before, kept = room.chat.history, []
    room.chat.keep = lambda history, pending: kept.append((history, pending))
    hear(hearing, Opened(), sound(0, 20), Paused(15 * FRAME_SAMPLES), sound(20, 24), Resumed(), sound(24, 40))
    assert (room.asked, room.chat.history, kept) == (1, before, [])
    hear(hearing, Paused(38 * FRAME_SAMPLES), sound(40, 43), Closed(38 * FRAME_SAMPLES))
    assert kept == []
    answered(hearing, before, *said(38))
    assert room.asked == 2
    assert [history for history, _ in kept] == [room.chat.history[:-1], room.chat.history]


def test_a_turn_that_ends_elsewhere_than_its_pause(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    before = room.chat.history
    hear(hearing, Opened(), sound(0, 20), Paused(15 * FRAME_SAMPLES), sound(20, 24), Closed(22 * FRAME_SAMPLES))
    answered(hearing, before, *said(22))


def test_a_false_start_leaves_nothing(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    end_of(room.chat.reply("Hello!", GREEDY, max_tokens=TOKENS))
    settled(room.chat)
    before = room.chat.history
    hear(hearing, Opened(), sound(0, 300), Paused(290 * FRAME_SAMPLES), Withdrawn())
    assert (room.chat.history, room.chat.pending) == (before, ())
    settled(room.chat)


def test_a_turn_of_several_blocks(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    before = room.chat.history
    hear(hearing, Opened(), *(sound(i, i + 25) for i in range(0, 800, 25)), Closed(800 * FRAME_SAMPLES))
    assert len(said(800)) == 2
    answered(hearing, before, *said(800))


@pytest.mark.parametrize("frames", [750, 751, 752])
def test_the_edge_of_a_block(frames: int) -> None:
    hearing, room = begun(chats.noise())
    before = room.chat.history
    hear(hearing, Opened(), sound(0, 745), *(sound(i, i + 1) for i in range(745, frames + 4)))
    hear(hearing, Closed(frames * FRAME_SAMPLES))
    assert len(said(frames)) == (1 if frames == 750 else 2)
    answered(hearing, before, *said(frames))


def test_little_is_read_again_where_a_block_is_cut() -> None:
    room = Room(Chat(chats.with_snapshots(chats.noise(), 4), context=2048))
    hearing, read = Hearing(room, Inbox()), list[int]()
    model = room.chat.context.model
    hear(hearing, Opened(), *(sound(i, i + 10) for i in range(0, 750, 10)))
    forward = model.__call__

    class Counting:
        def __getattr__(self, name: str) -> object:
            return getattr(model, name)

        def __call__(self, embeddings: object, *rest: object, last: bool) -> object:
            read.append(embeddings.shape[1])  # type: ignore[attr-defined]
            return forward(embeddings, *rest, last=last)  # type: ignore[arg-type]

    room.chat.context.model = Counting()  # type: ignore[assignment]
    hear(hearing, sound(750, 770))
    assert 0 < sum(read) <= cutting.SEARCH_FRAMES + 64 + 30


def test_something_else_is_asked_while_somebody_speaks(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    hear(hearing, Opened(), sound(0, 20), Paused(15 * FRAME_SAMPLES), sound(20, 24))
    hearing.put_aside()
    assert room.chat.pending == ()
    end_of(room.chat.reply("Hello!", GREEDY, max_tokens=TOKENS))
    before = room.chat.history
    hear(hearing, Resumed(), sound(24, 40), Closed(40 * FRAME_SAMPLES))
    hearing.put_aside()  # once more, before it is answered
    answered(hearing, before, *said(40))


def test_a_picture_that_is_attached_while_somebody_speaks(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    before, picture = room.chat.history, image()
    hear(hearing, Opened(), sound(0, 20))
    hearing.put_aside()
    room.chat.add(picture)
    hear(hearing, sound(20, 40), Closed(40 * FRAME_SAMPLES))
    answered(hearing, before, picture, *said(40))


def test_older_turns_come_back_when_what_pushed_them_out_is_put_aside() -> None:
    hearing, room = begun(chats.noise(), context=160)
    room.chat.when_full = "drop"
    for text in ("Hello!", "And you?", "Good."):
        end_of(room.chat.reply(text, GREEDY, max_tokens=TOKENS))
    before = room.chat.history
    hear(hearing, Opened(), *(sound(i, i + 5) for i in range(0, 100, 5)))
    dropped = room.chat.dropped
    assert dropped > 0
    hearing.put_aside()
    assert (room.chat.history, room.chat.pending, room.chat.dropped) == (before, (), 0)
    hear(hearing, sound(100, 101), Paused(101 * FRAME_SAMPLES), Closed(101 * FRAME_SAMPLES))
    list(hearing.answer())
    assert room.chat.dropped >= dropped


def test_what_does_not_fit_says_so_when_it_is_answered() -> None:
    hearing, room = begun(chats.noise(), context=60)
    hear(hearing, Opened(), *(sound(i, i + 5) for i in range(0, 80, 5)), Paused(70 * FRAME_SAMPLES))
    hear(hearing, Closed(70 * FRAME_SAMPLES))
    with pytest.raises(ContextError, match="the context holds 60"):
        list(hearing.answer())
    room.chat.pending = ()
    hear(hearing, Opened(), sound(0, 10), Closed(10 * FRAME_SAMPLES))
    answered(hearing, room.chat.history, *said(10))


def test_notices_reach_the_person() -> None:
    hearing, room = begun(chats.noise())
    hear(hearing, Told("the microphone is gone"))
    assert room.told == ["the microphone is gone"]


def test_an_answer_that_is_left_keeps_what_was_said(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    hear(hearing, Opened(), sound(0, 20), Paused(15 * FRAME_SAMPLES), Closed(15 * FRAME_SAMPLES))
    events, first = hearing.answer(), list[Event]()
    first.append(next(events))
    events.close()
    assert [message.role for message in room.chat.history[1:]] in (["user"], ["user", "assistant"])
    settled(room.chat)


def test_pieces_grow_where_reading_is_slow() -> None:
    """Twice as many frames are waited for as come in while they are read, within bounds."""
    times = iter(np.arange(0.0, 1000.0, 0.1).tolist())  # each reading takes 0.1 s
    room = Room(Chat(chats.noise()))
    hearing, held = Hearing(room, Inbox(), lambda: next(times)), list[int]()
    hear(hearing, Opened())
    for i in range(20):
        hear(hearing, sound(i, i + 1))
        held.append(len(room.chat.context.keys))
    grown = [i for i in range(1, 20) if held[i] != held[i - 1]]
    assert grown == [FEWEST_FRAMES - 1, FEWEST_FRAMES - 1 + 5, FEWEST_FRAMES - 1 + 10, FEWEST_FRAMES - 1 + 15]


@pytest.mark.parametrize("seed", range(6))
def test_random_turns(gemma: Gemma, seed: int) -> None:
    """Any order of pauses, returns, false starts, typed turns and pictures: always as if read from files."""
    rng = random.Random(seed)
    hearing, room = begun(gemma)
    for _ in range(3):
        before, parts, frames = room.chat.history, list[Part](), 0
        hear(hearing, Opened())
        paused = 0
        for _ in range(rng.randint(1, 6)):
            more = rng.randint(1, 30)
            hear(hearing, sound(frames, frames + more))
            frames += more
            if paused:
                if rng.random() < 0.3:
                    break
                hear(hearing, Resumed())
                paused = 0
            elif rng.random() < 0.6:
                paused = rng.randint(max(1, frames - 20), frames)
                hear(hearing, Paused(paused * FRAME_SAMPLES))
            if rng.random() < 0.3:
                hearing.put_aside()
                if rng.random() < 0.5:
                    parts.append(image(1, 2, rng.randrange(99)))
                    room.chat.add(parts[-1], read=rng.random() < 0.5)
                elif not parts:
                    end_of(room.chat.reply("Hello!", GREEDY, max_tokens=TOKENS))
                    before = room.chat.history
        if rng.random() < 0.2:
            hear(hearing, Withdrawn())
            room.chat.pending = ()
            settled(room.chat)
        else:
            stop = paused or frames
            hear(hearing, Closed(stop * FRAME_SAMPLES))
            answered(hearing, before, *parts, *said(stop))


def test_typed_text_before_speech_stays_in_the_turn(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    before, text = room.chat.history, Text("Listen: ")
    room.chat.add(text)
    hear(hearing, Opened(), sound(0, 20), Paused(15 * FRAME_SAMPLES), Closed(15 * FRAME_SAMPLES))
    answered(hearing, before, text, *said(15))


def test_sound_of_the_pause_does_not_keep_the_answer_from_beginning(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    hear(hearing, Opened(), sound(0, 20))
    hearing.inbox.put(Paused(15 * FRAME_SAMPLES))
    hearing.inbox.put(sound(20, 21))
    hearing.step(0)
    read = len(room.chat.context.keys)
    hearing.step(0)
    hear(hearing, Closed(15 * FRAME_SAMPLES))
    assert len(room.chat.context.keys) == read > 15
    assert room.asked == 1


def test_an_answer_that_was_held_up_in_the_pause_begins_with_the_next_sound(gemma: Gemma) -> None:
    hearing, room = begun(gemma)
    hear(hearing, Opened(), sound(0, 20))
    hearing.inbox.put(Paused(15 * FRAME_SAMPLES))
    hearing.step(0, lambda: True)
    hear(hearing, sound(20, 21))
    before = len(room.chat.context.keys)
    hear(hearing, Closed(15 * FRAME_SAMPLES))
    events = hearing.answer()
    next(events)
    assert len(room.chat.context.keys) == before
    events.close()
