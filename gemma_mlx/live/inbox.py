"""The hand-over of what is heard, from the thread that listens to the thread that owns the model.

The listening side puts and never waits; the other side takes when it has time, and gets all sound that waits as one
piece, so that a slow reader catches up in larger ones. What is over before anybody saw it is never seen: a false start,
a pause in which speech came back. Bounded: sound that does not fit is left out of its turn, a notice says how much, and
later positions count what was handed over. Knows items and their order: no microphone, no model.
"""

import math
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from gemma_mlx.capture.vad import FRAME_SAMPLES, SAMPLE_RATE

State = Literal["listening", "hearing", "thinking", "answering"]

_MOST_NOTICES = 32


@dataclass(frozen=True)
class Opened:
    """A turn begins, `at` so many samples after the listener did. Positions in it are samples since its first one,
    multiples of 640."""

    at: int = 0


@dataclass(frozen=True, eq=False)
class Sound:
    """What follows in the open turn, pauses as well."""

    samples: np.ndarray  # int16 (640 n,), n > 0, 16 kHz, read-only


@dataclass(frozen=True)
class Paused:
    """The turn may be over; then it is its first `stop` samples, which have been handed over."""

    stop: int


@dataclass(frozen=True)
class Resumed:
    """It is not over: it goes on after the pause."""


@dataclass(frozen=True)
class Closed:
    """The turn is over. It is its first `stop` samples, at least 640, which have been handed over."""

    stop: int


@dataclass(frozen=True)
class Withdrawn:
    """The turn is over and nothing of it counts."""


@dataclass(frozen=True)
class Told:
    """A notice for the person, one line."""

    text: str


Item = Opened | Sound | Paused | Resumed | Closed | Withdrawn | Told


@dataclass(frozen=True)
class Meter:
    """What a person is shown."""

    state: State
    level_db: float  # of full scale, -inf for silence
    muted: bool


@dataclass
class _Turn:
    """The putting side's view of a turn."""

    taken: bool = False  # its Opened
    wants: bool = False  # the floor
    paused: bool = False  # by a pause that was added
    offered: int = 0  # samples
    left_out: list[tuple[int, int]] = field(default_factory=list)  # first and last + 1 of these samples

    def kept(self, stop: int) -> int:
        """How many of its first `stop` samples were not left out."""
        return stop - sum(max(0, min(last, stop) - first) for first, last in self.left_out)

    def leave_out(self, first: int, last: int) -> None:
        if self.left_out and self.left_out[-1][1] == first:
            first = self.left_out.pop()[0]
        self.left_out.append((first, last))


class Inbox:
    """One thread puts (`put`, `interrupt`, `heard`, `fail`), one takes (`take`, `show`), any looks."""

    def __init__(self, most_samples: int = 120 * SAMPLE_RATE) -> None:
        """`most_samples` of sound wait at most, or a frame of 640."""
        self._most = max(1, most_samples // FRAME_SAMPLES) * FRAME_SAMPLES
        self._changed = threading.Condition()
        self._items = deque[Item]()
        self._samples = 0  # that wait
        self._turn: _Turn | None = None  # that is being put
        self._untaken = deque[_Turn]()  # whose Opened waits
        self._interrupts = False
        self._lost = self._unsaid = 0  # samples and notices that were left out, which nobody was told yet
        self._fault: BaseException | None = None
        self._heard = Meter("listening", -math.inf, False)
        self._shown: State = "listening"

    @property
    def waiting(self) -> bool:
        """Whether `take` would return something, or raise, at once."""
        return bool(self._items or self._lost or self._unsaid or self._fault)

    @property
    def turning(self) -> bool:
        """Whether anything but sound and notices waits: what a turn is changes, so that speculation on it may end."""
        with self._changed:
            return self._fault is not None or not all(isinstance(item, Sound | Told) for item in self._items)

    @property
    def interrupts(self) -> bool:
        """Whether a turn that nobody took yet wants the floor: an answer should stop."""
        return self._interrupts

    @property
    def meter(self) -> Meter:
        """What is going on now: what is heard comes before what the model does."""
        heard, shown = self._heard, self._shown
        return Meter(shown, heard.level_db, heard.muted) if heard.state == "listening" else heard

    def put(self, item: Item) -> None:
        """Add what happened next; never waits. Raises ValueError for what cannot come next."""
        with self._changed:
            if isinstance(item, Told):
                self._tell(item)
            elif isinstance(item, Opened):
                self._open(item)
            elif self._turn is None:
                raise ValueError(f"{type(item).__name__} outside of a turn")
            elif isinstance(item, Sound):
                self._add_sound(_checked(item.samples), self._turn)
            else:
                self._add(item, self._turn)
            self._changed.notify()

    def interrupt(self) -> None:
        """Speech has lasted long enough to stop an answer; nothing if its turn is taken, and so no answer goes on."""
        with self._changed:
            if self._turn is not None:
                self._turn.wants = True
                self._weigh()

    def heard(self, meter: Meter) -> None:
        """The listening side's part of the meter; `state` is "listening" or "hearing"."""
        self._heard = meter

    def show(self, state: State) -> None:
        """The model's part of the meter; "listening" while it does nothing."""
        self._shown = state

    def fail(self, fault: BaseException) -> None:
        """The listening side ends with a fault: the next `take` raises it."""
        with self._changed:
            self._fault = fault
            self._changed.notify()

    def take(self, timeout: float) -> Item | None:
        """What is next, None if nothing came in `timeout` seconds; sounds that follow each other are one. Raises what
        `fail` was given, once."""
        with self._changed:
            self._changed.wait_for(lambda: self.waiting, timeout)
            if self._fault is not None:
                fault, self._fault = self._fault, None
                raise fault
            told = self._own_notice()
            if told is not None or not self._items:
                return told
            item = self._items.popleft()
            if isinstance(item, Opened):
                self._untaken.popleft().taken = True
                self._weigh()
            if not isinstance(item, Sound):
                return item
            parts = [item.samples]
            while self._items and isinstance(following := self._items[0], Sound):
                parts.append(following.samples)
                self._items.popleft()
            self._samples -= sum(part.size for part in parts)
        return Sound(_frozen(np.concatenate(parts))) if len(parts) > 1 else item

    def _own_notice(self) -> Told | None:
        if self._lost:
            seconds, self._lost = self._lost / SAMPLE_RATE, 0
            return Told(f"{seconds:.2f} s of what was said were left out: the model was too slow to listen")
        if self._unsaid:
            notices, self._unsaid = self._unsaid, 0
            return Told(f"{notices} earlier notices were left out")
        return None

    def _tell(self, told: Told) -> None:
        notices = [item for item in self._items if isinstance(item, Told)]
        if notices[-1:] == [told]:
            return
        if len(notices) == _MOST_NOTICES:
            self._items.remove(notices[0])
            self._unsaid += 1
        self._items.append(told)

    def _open(self, item: Opened) -> None:
        if self._turn is not None:
            raise ValueError("a turn in a turn")
        self._turn = _Turn()
        self._untaken.append(self._turn)
        self._items.append(item)

    def _add(self, item: Item, turn: _Turn) -> None:
        if isinstance(item, Paused | Closed):
            if item.stop % FRAME_SAMPLES or not 0 < item.stop <= turn.offered:
                raise ValueError(f"{item} of {turn.offered} samples")
            item = type(item)(turn.kept(item.stop))
        if isinstance(item, Closed | Withdrawn):
            self._turn = None
        if isinstance(item, Withdrawn) or (isinstance(item, Closed) and not item.stop):
            self._withdraw(turn)
        elif isinstance(item, Resumed) and (not turn.paused or self._forget_pause()):
            turn.paused = False
        elif not (isinstance(item, Paused) and not item.stop):  # a pause after nothing is none
            turn.paused = isinstance(item, Paused)
            self._items.append(item)

    def _add_sound(self, samples: np.ndarray, turn: _Turn) -> None:
        kept = samples[: self._most - self._samples]
        if kept.size < samples.size:
            self._lost += samples.size - kept.size
            turn.leave_out(turn.offered + kept.size, turn.offered + samples.size)
        turn.offered += samples.size
        if kept.size:
            self._items.append(Sound(_frozen(kept)))
            self._samples += kept.size

    def _withdraw(self, turn: _Turn) -> None:
        """Remove what waits of the last turn; all of it if nobody took its beginning."""
        others = deque[Item]()
        while self._items and not isinstance(item := self._items.pop(), Opened):
            if isinstance(item, Told):
                others.appendleft(item)
            elif isinstance(item, Sound):
                self._samples -= item.samples.size
        self._items += others
        if turn.taken:
            self._items.append(Withdrawn())
        else:
            self._untaken.pop()
            self._weigh()

    def _forget_pause(self) -> bool:
        """Remove the last turn's pause if it waits; whether it did. Once it is taken, none before it waits."""
        for i in reversed(range(len(self._items))):
            if isinstance(self._items[i], Paused):
                del self._items[i]
                return True
        return False

    def _weigh(self) -> None:
        self._interrupts = any(turn.wants for turn in self._untaken)


def _checked(samples: np.ndarray) -> np.ndarray:
    if samples.dtype != np.int16 or samples.ndim != 1 or not samples.size or samples.size % FRAME_SAMPLES:
        raise ValueError(f"{samples.dtype} {samples.shape} is not whole frames of int16 samples")
    return samples


def _frozen(samples: np.ndarray) -> np.ndarray:
    view = samples.view()
    view.flags.writeable = False
    return view
