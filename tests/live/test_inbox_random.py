"""The inbox against a list that is searched again and again, in random orders, and with a thread at each end."""

import threading
import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest

from gemma_mlx.live.inbox import Closed, Inbox, Item, Opened, Paused, Resumed, Sound, Told, Withdrawn

FRAME = 640
Kind = Literal["opened", "frame", "paused", "resumed", "closed", "withdrawn"]


def sound(frames: int, first: int) -> Sound:
    return Sound(np.repeat(np.arange(first, first + frames), FRAME).astype(np.int16))


@dataclass(frozen=True)
class Entry:
    kind: Kind
    turn: int
    number: int = 0  # of a frame, or frames before a stop


@dataclass
class Slow:
    """What waits, frame by frame. Says what it does in whole passes over all of it."""

    most: int
    queue: list[Entry] = field(default_factory=list)
    left_out: set[tuple[int, int]] = field(default_factory=set)  # turn and number of frames
    paused: set[int] = field(default_factory=set)  # turns whose reader was, or will be, told of a pause
    lost: int = 0
    turn: int = -1
    frames: int = 0  # of this turn

    def put(self, item: Item) -> None:
        match item:
            case Opened():
                self.turn, self.frames = self.turn + 1, 0
                self.queue.append(Entry("opened", self.turn))
            case Sound(samples):
                for _ in range(samples.size // FRAME):
                    self.add_frame()
            case Paused(stop) if self.kept(stop):
                self.queue.append(Entry("paused", self.turn, self.kept(stop)))
                self.paused.add(self.turn)
            case Resumed() if self.turn in self.paused:
                waits = [entry for entry in self.queue if entry.kind == "paused" and entry.turn == self.turn]
                self.queue = [entry for entry in self.queue if entry not in waits]
                self.queue += [] if waits else [Entry("resumed", self.turn)]
                self.paused.discard(self.turn)
            case Closed(stop) if self.kept(stop):
                self.queue.append(Entry("closed", self.turn, self.kept(stop)))
            case Closed() | Withdrawn():
                seen = Entry("opened", self.turn) not in self.queue
                self.queue = [entry for entry in self.queue if entry.turn != self.turn]
                self.queue += [Entry("withdrawn", self.turn)] if seen else []

    def add_frame(self) -> None:
        if sum(entry.kind == "frame" for entry in self.queue) < self.most:
            self.queue.append(Entry("frame", self.turn, self.frames))
        else:
            self.left_out.add((self.turn, self.frames))
            self.lost += 1
        self.frames += 1

    def kept(self, stop: int) -> int:
        return sum((self.turn, number) not in self.left_out for number in range(stop // FRAME))

    def take(self) -> object:
        if self.lost:
            lost, self.lost = self.lost, 0
            return lost
        frames: list[int] = []
        while self.queue and self.queue[0].kind == "frame":
            frames.append(self.queue.pop(0).number)
        if frames or not self.queue:
            return frames or None
        entry = self.queue.pop(0)
        return entry.kind, entry.number


def taken(inbox: Inbox) -> object:
    """The next item as `Slow.take` gives it."""
    item = inbox.take(0)
    match item:
        case Told(text):
            return round(float(text.split()[0]) / 0.04)
        case Sound(samples):
            return [int(frame[0]) for frame in samples.reshape(-1, FRAME)]
        case Paused(stop) | Closed(stop):
            return type(item).__name__.lower(), stop // FRAME
    return None if item is None else (type(item).__name__.lower(), 0)


class Speaker:
    """Random items, each of which may follow on the one before."""

    def __init__(self, rng: np.random.Generator, whole: bool = False) -> None:
        self.rng, self.whole = rng, whole  # all of each turn counts
        self.open = False
        self.frames = 0  # of the open turn
        self.stop = 0  # of its pause, 0 in speech

    def next(self) -> Item:
        chance = self.rng.random()
        if not self.open:
            self.open, self.frames, self.stop = True, 0, 0
            return Opened()
        if not self.frames or chance < 0.6:
            more = int(self.rng.integers(1, 4))
            self.frames += more
            return sound(more, self.frames - more)
        if chance < 0.7 and not self.whole:
            self.open = False
            return Withdrawn()
        if self.stop and chance < 0.85:
            self.stop = 0
            return Resumed()
        if self.stop or chance < 0.75:
            self.open = False
            return Closed((self.frames if self.whole else self.stop or self.frames) * FRAME)
        self.stop = int(self.rng.integers(max(1, self.frames - 3), self.frames + 1))
        return Paused(self.stop * FRAME)


@pytest.mark.parametrize("most", [1, 5, 1000])
def test_any_order_gives_what_the_slow_one_gives(most: int) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        inbox, slow, speaker = Inbox(most * FRAME), Slow(most), Speaker(rng)
        reads = rng.choice([0.05, 0.3, 0.6])
        for _ in range(120):
            item = speaker.next()
            inbox.put(item)
            slow.put(item)
            while rng.random() < reads:
                assert inbox.waiting == bool(slow.lost or slow.queue)
                assert taken(inbox) == slow.take()
        while (expected := slow.take()) is not None:
            assert taken(inbox) == expected
        assert taken(inbox) is None


@pytest.mark.parametrize("most", [3, 10000])
def test_with_a_thread_at_each_end_every_frame_is_taken_or_reported(most: int) -> None:
    inbox, said = Inbox(most * FRAME), [0]
    over = threading.Event()

    def speak() -> None:
        speaker = Speaker(np.random.default_rng(1), whole=True)
        while said[0] < 6000 or speaker.open:
            item = speaker.next()
            said[0] += item.samples.size // FRAME if isinstance(item, Sound) else 0
            inbox.put(item)
            inbox.interrupt()
            if isinstance(item, Closed):
                time.sleep(0.0002)
        over.set()

    thread = threading.Thread(target=speak)
    thread.start()
    counts = {"heard": 0, "lost": 0, "turns": 0}
    frames: list[int] = []
    try:
        while not over.is_set() or inbox.waiting:
            item = inbox.take(0.001)
            match item:
                case Opened():
                    frames = []
                    counts["turns"] += 1
                case Told(text):
                    counts["lost"] += round(float(text.split()[0]) / 0.04)
                case Sound(samples):
                    new = [int(frame[0]) for frame in samples.reshape(-1, FRAME)]
                    assert new == sorted(new)
                    assert not frames or frames[-1] < new[0]
                    frames += new
                    counts["heard"] += len(new)
                case Paused(stop) | Closed(stop):
                    assert 0 < stop <= len(frames) * FRAME
    finally:
        thread.join()
    assert counts["heard"] + counts["lost"] == said[0]
    assert counts["turns"] > 10
    assert (counts["lost"] == 0) == (most == 10000)
    assert not inbox.interrupts
