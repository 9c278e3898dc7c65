"""A model slower than speech: nothing is lost while it fits, and what is left out is told."""

from dataclasses import dataclass, field, replace

import numpy as np

from gemma_mlx.benchmarks.throttle import Rate, Throttled
from gemma_mlx.capture.activity import Ear
from gemma_mlx.chat import Chat
from gemma_mlx.live.hearing import Events, Hearing
from gemma_mlx.live.inbox import Inbox, Item, Sound
from gemma_mlx.live.listener import Listener
from gemma_mlx.loading import Gemma
from tests.chats import GREEDY, demo, end_of
from tests.live.simulation import RATE, Clock, FakeMicrophone, Loud, Pause, Scene, Speech, timeline
from tests.live.test_faults import FRAME, TOKENS, place, sound_of


@dataclass
class Slow:
    """A model in a time of its own, in which it is listened to: each pass lasts as long as `rate` says."""

    script: tuple[Scene, ...]
    rate: Rate
    told: list[str] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)  # frames of each sound

    def __post_init__(self) -> None:
        self.clock, self.inbox = Clock(), Inbox()
        self.listener = Listener(FakeMicrophone(self.script, self.clock), Ear(Loud()), self.inbox, clock=self.clock)
        gemma: Gemma = demo()
        model = Throttled(gemma.model, self.rate, self.clock, lambda seconds: self.until(self.clock.now + seconds))
        self.chat = Chat(replace(gemma, model=model))
        self.hearing = Hearing(self, self.inbox, self.clock)

    def until(self, seconds: float) -> None:
        while self.clock.now < seconds - 1e-9:
            self.listener.step(min(0.02, seconds - self.clock.now))

    def reply(self) -> Events:
        return self.chat.reply(None, GREEDY, max_tokens=TOKENS, draft_depth=0)

    def tell(self, line: str) -> None:
        self.told.append(line)

    def hear(self) -> np.ndarray:
        """Until a turn is over and answered; what the conversation has of it."""
        while not self.hearing.closed:
            item: Item | None = self.hearing.step(0)
            if isinstance(item, Sound):
                self.taken.append(item.samples.size // FRAME)
            if item is None:
                self.until(self.clock.now + 0.02)
        end_of(self.hearing.answer())
        return sound_of(self.chat.history[-2])


def test_a_model_slower_than_speech_loses_nothing_and_reads_in_larger_pieces() -> None:
    script = (Pause(1), Speech(50), Pause(2))
    slow = Slow(script, Rate(prefill=18, decode=4))  # 25 frames come in a second
    heard = slow.hear()
    assert slow.told == []
    place(heard, timeline(script))
    assert heard.size > 50 * RATE
    assert max(slow.taken) > 10 * slow.taken[1]
    assert slow.clock.now > 60


def test_what_more_than_two_minutes_of_waiting_leave_out_is_told() -> None:
    script = (Pause(1), Speech(129), Pause(2))
    slow = Slow(script, Rate(prefill=1e6, decode=0.05))
    end_of(slow.chat.reply("hello", GREEDY, max_tokens=TOKENS + 1, draft_depth=0))  # takes 20 s a token
    assert slow.clock.now > 130
    heard = slow.hear()
    played = timeline(script)
    at = place(heard, played)
    assert heard.size == 120 * RATE
    left_out = (at, at + 120 * RATE)
    spoken = RATE * 130 + round(0.2 * RATE)  # with the silence that belongs to it
    (told,) = slow.told
    seconds = float(told.split()[0])
    assert told.endswith("s of what was said were left out: the model was too slow to listen")
    assert seconds >= (spoken - left_out[1]) / RATE
    assert seconds <= (played.size - left_out[1]) / RATE
