"""The thread that listens: reads the microphone, finds the turns in what it hears, and puts them into an inbox.

A turn is found by an `Ear` (hands-free) or begun and ended by `push` (push-to-talk). Time is counted in samples; what
is known to be missing counts as well: a short gap is heard as zeros, a longer one ends the turn. The clock only orders
what a person does among what is heard. Knows sound and turns: no model and no terminal.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from gemma_mlx.capture import vad
from gemma_mlx.capture.activity import Ear
from gemma_mlx.capture.microphone import Notice
from gemma_mlx.capture.ring import Block
from gemma_mlx.capture.vad import FRAME_SAMPLES, SAMPLE_RATE
from gemma_mlx.capture.watch import level
from gemma_mlx.live.inbox import Closed, Inbox, Meter, Opened, Paused, Resumed, Sound, Told, Withdrawn

_LOOK = 0.1  # seconds of waiting for sound after which the thread looks whether it should end
_SHOWN = SAMPLE_RATE // 10  # samples whose level the meter shows


class Source(Protocol):
    """What we use of a microphone. The time of a block is that of the listener's clock."""

    def open(self) -> object: ...
    def read(self, timeout: float) -> Block | Notice | None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Options:
    """Samples, but for `starving`."""

    reach: int = vad.Timing().reach  # that of the ear's timing: what is kept of what was heard
    gap: int = SAMPLE_RATE // 2  # at most that much is missing within a turn
    least: int = SAMPLE_RATE // 4  # of a turn between two pushes, else it is none
    most: int = 600 * SAMPLE_RATE  # of any turn
    starving: float = 2.0  # seconds in which nothing comes end a turn


@dataclass
class _Turn:
    """The open turn: its first sample, and the first one that was not handed over yet."""

    start: int
    next: int


class Listener:
    """Listens from `start` (or `with`) to `close`. `ear` finds the turns; without one, `push` makes them."""

    def __init__(
        self,
        microphone: Source,
        ear: Ear | None,
        inbox: Inbox,
        options: Options = Options(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._microphone, self._ear, self._inbox, self._options, self._clock = microphone, ear, inbox, options, clock
        self._thread = threading.Thread(target=self._run, name="listener")
        self._over = False
        self._wishes = deque[tuple[float, Callable[[], None]]]()  # what a person did, and when
        self._mute_wanted = self._muted = False
        self._turn: _Turn | None = None
        self._position = 0  # samples until now, with those that are known to be missing
        self._tail = np.zeros(0, np.int16)  # the last of them, without a gap
        self._starved = 0.0  # seconds
        self._withheld: Notice | None = None  # of silence, which is no news while muted

    @property
    def muted(self) -> bool:
        """Whether it is, or will be in a moment."""
        return self._mute_wanted

    def start(self) -> Self:
        """Open the microphone and listen. Raises `InputError` if it does not open."""
        self._microphone.open()
        self._thread.start()
        return self

    def mute(self, on: bool) -> None:
        """From any thread: throw away what is heard from now on. An open turn ends as it is."""
        self._mute_wanted = on
        self._wishes.append((self._clock(), lambda: self._set_muted(on)))

    def push(self) -> None:
        """From any thread: begin a turn, or end the open one. Only without an ear."""
        if self._ear is not None:
            raise ValueError("an ear finds the turns of this listener")
        self._wishes.append((self._clock(), self._pushed))

    def close(self) -> None:
        """End the thread and close the microphone, in any state; an open turn is withdrawn. A second call does
        nothing."""
        self._over = True
        self._microphone.close()
        if self._thread.ident is not None:
            self._thread.join()
        self._withdraw()
        self._show()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def step(self, timeout: float) -> bool:
        """What the thread does again and again, public for whoever has a clock of their own and no thread: read once
        and do what follows. Whether anything came in `timeout` seconds."""
        since = self._clock()
        heard = self._microphone.read(timeout)
        if heard is None:
            self._obey(math.inf)
            self._starve(min(self._clock() - since, timeout))
        elif isinstance(heard, Notice):
            self._note(heard)
        else:
            self._obey(heard.time)
            self._starved = 0.0
            self._hear(heard.samples)
        self._show()
        return heard is not None

    def _run(self) -> None:
        try:
            while not self._over:
                self.step(_LOOK)
        except BaseException as fault:  # noqa: BLE001 - goes to the model's thread
            self._inbox.fail(fault)
            self._microphone.close()

    def _obey(self, now: float) -> None:
        """Do what a person wanted before the time of what was heard: the thread may be late."""
        while self._wishes and self._wishes[0][0] < now:
            self._wishes.popleft()[1]()

    def _hear(self, samples: np.ndarray) -> None:
        self._position += samples.size
        if self._muted:
            return
        self._tail = np.concatenate([self._tail, samples])
        if self._ear is not None:
            self._follow(self._ear.hear(samples))
        if self._turn is not None:
            self._hand_frames(self._turn, self._position)
            if self._position - self._turn.start >= self._options.most:
                self._end()
                minutes = self._options.most / SAMPLE_RATE / 60
                self._inbox.put(Told(f"after {minutes:g} minutes a turn is over; mute the microphone if nobody speaks"))
        self._tail = self._tail[-max(self._options.reach, FRAME_SAMPLES) :]

    def _follow(self, events: list[vad.Event]) -> None:
        """Hand on what an ear found."""
        for event in events:
            if isinstance(event, vad.Began):
                self._begin(event.start)
            turn = self._turn
            assert turn is not None, "an ear begins a turn before anything else"
            self._hand_frames(turn, event.at)
            if isinstance(event, vad.Sustained):
                self._inbox.interrupt()
            elif isinstance(event, vad.Paused):
                self._inbox.put(Paused(event.stop - turn.start))
            elif isinstance(event, vad.Resumed):
                self._inbox.put(Resumed())
            elif isinstance(event, vad.Ended):
                self._close_turn(turn, event.stop)
            elif isinstance(event, vad.FalseStart):
                self._withdraw()

    def _begin(self, start: int) -> None:
        self._turn = _Turn(start, start)
        self._inbox.put(Opened(start))

    def _end(self) -> None:
        """End an open turn as it is."""
        if self._ear is not None:
            self._follow(self._ear.finish())
        elif self._turn is not None and self._position - self._turn.start < self._options.least:
            self._withdraw()
            self._inbox.put(Told("that was too short: push once before you speak, and once after it"))
        elif self._turn is not None:
            self._close_turn(self._turn, self._turn.start + _up(self._position - self._turn.start))

    def _close_turn(self, turn: _Turn, stop: int) -> None:
        if turn.next < stop:  # the last frame was not heard to its end
            self._hand(turn, stop)
        self._turn = None
        self._inbox.put(Closed(stop - turn.start))

    def _withdraw(self) -> None:
        if self._turn is not None:
            self._turn = None
            self._inbox.put(Withdrawn())

    def _hand_frames(self, turn: _Turn, until: int) -> None:
        """Hand over the whole frames until then."""
        frames = (until - turn.next) // FRAME_SAMPLES
        if frames > 0:
            self._hand(turn, turn.next + frames * FRAME_SAMPLES)

    def _hand(self, turn: _Turn, until: int) -> None:
        """Hand over the samples until then; zeros follow on the last one heard."""
        first = turn.next - (self._position - self._tail.size)
        if first < 0:
            raise ValueError(f"sound was not kept for {-first} samples more")
        samples = np.zeros(until - turn.next, np.int16)
        heard = self._tail[first : first + samples.size]
        samples[: heard.size] = heard
        self._inbox.put(Sound(samples))
        turn.next = until

    def _note(self, notice: Notice) -> None:
        """Something is wrong with the microphone, or right again."""
        if notice.kind == "silent" and self._muted:
            self._withheld = notice
        elif notice.kind == "heard" and self._withheld is not None:
            self._withheld = None
        else:
            self._inbox.put(Told(notice.text))
        if notice.kind == "lost":
            self._break(0)
        elif notice.samples > self._options.gap:
            self._break(notice.samples)
        elif notice.samples:
            self._hear(np.zeros(notice.samples, np.int16))

    def _break(self, missing: int) -> None:
        """Too much sound is missing for a turn to go on."""
        pushed = self._ear is None and self._turn is not None
        self._end()
        self._begin_anew(missing)
        if pushed:
            self._inbox.put(Told("the turn is over, since sound is missing: push again to go on"))

    def _begin_anew(self, missing: int) -> None:
        """What comes next does not follow on what was heard; so many samples lie between, as far as is known."""
        self._position += missing
        self._tail = self._tail[:0]
        if self._ear is not None:
            self._ear.restart(self._position)

    def _starve(self, seconds: float) -> None:
        self._starved += seconds
        if self._turn is not None and self._starved >= self._options.starving:
            self._break(0)

    def _set_muted(self, on: bool) -> None:
        if on != self._muted:
            self._end()
            self._begin_anew(0)
            self._muted = on
            if not on and self._withheld is not None:
                self._inbox.put(Told(self._withheld.text))
                self._withheld = None

    def _pushed(self) -> None:
        if self._muted:
            self._inbox.put(Told("the microphone is muted"))
        elif self._turn is not None:
            self._end()
        else:
            self._begin(self._position)
            self._inbox.interrupt()

    def _show(self) -> None:
        silent = self._muted or self._over or self._starved > 0
        loudness = -math.inf if silent else level(self._tail[-_SHOWN:]).rms_db
        self._inbox.heard(Meter("listening" if self._turn is None else "hearing", loudness, self._muted))


def _up(samples: int) -> int:
    return -(-samples // FRAME_SAMPLES) * FRAME_SAMPLES
