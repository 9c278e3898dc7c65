"""When a person speaks: probabilities of voice, window by window, become the turns of a conversation.

A turn begins when enough of the last windows hold speech, and with a pre-roll, so that its onset is not lost. After a
short silence it may be over (`Paused`: time to read its end on speculation), after a longer one it is (`Ended`). Time
is counted in samples since the microphone was opened, never read from a clock. What a turn consists of are the samples
`start` … `stop - 1`; both are multiples of 640, so that they are whole frames of the model. Where samples were dropped
the caller hears zeros, so that positions stay true.

Knows probabilities and counts: not where they come from (`activity`), no devices, no model. Source of the times: what
OpenAI's server_vad, LiveKit and Pipecat use, and of the lower threshold for going on: Silero's own iterator.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum

from gemma_mlx.errors import InputError

SAMPLE_RATE = 16000
FRAME_SAMPLES = 640
END_RANGE_MS = (400, 1500)


@dataclass(frozen=True)
class Timing:
    """When sound is speech and when speech is a turn. Probabilities of a window, and milliseconds.

    Raises `InputError` where the values contradict each other.
    """

    enter: float = 0.5  # speech from this probability on
    leave: float = 0.35  # and while it lasts from this one on
    start_ms: int = 200  # of speech in `start_window_ms` begin a turn
    start_window_ms: int = 300
    pre_roll_ms: int = 300  # before the first speech of a turn, part of it
    pause_ms: int = 300  # of silence: the turn may be over
    resume_ms: int = 100  # of speech in `start_window_ms` end a pause; less is a click
    end_ms: int = 700  # of silence: the turn is over
    tail_ms: int = 200  # of the silence after a turn, part of it
    least_ms: int = 250  # of speech in a turn, else it is a false start
    barge_in_ms: int = 400  # of speech interrupt an answer

    def __post_init__(self) -> None:
        low, high = END_RANGE_MS
        if not 0 < self.leave <= self.enter <= 1:
            raise InputError(f"speech thresholds {self.leave} and {self.enter}: give 0 < leave <= enter <= 1")
        if not low <= self.end_ms <= high:
            raise InputError(f"{self.end_ms} ms of silence to end a turn: give {low} to {high}")
        if not 0 < self.start_ms <= self.start_window_ms:
            raise InputError(f"{self.start_ms} ms of speech begin a turn: give 1 to {self.start_window_ms}")
        if not 0 < self.resume_ms <= self.start_window_ms:
            raise InputError(f"{self.resume_ms} ms of speech end a pause: give 1 to {self.start_window_ms}")
        if not 0 < self.pause_ms <= self.end_ms:
            raise InputError(f"{self.pause_ms} ms of silence are a pause: give 1 to {self.end_ms}")
        most = self.pause_ms - 1000 * FRAME_SAMPLES // SAMPLE_RATE  # whole frames of a tail have been heard by then
        if not 0 <= self.tail_ms <= most:
            raise InputError(f"{self.tail_ms} ms of silence kept after a turn: give 0 to {most}")
        if min(self.pre_roll_ms, self.least_ms, self.barge_in_ms) < 0:
            raise InputError("times of speech and pre-roll are 0 ms or more")

    @property
    def reach(self) -> int:
        """No event points back to a sample further than this from the last one heard, for windows up to a frame."""
        back_ms = max(self.start_window_ms, self.start_ms) + max(self.pre_roll_ms, self.end_ms)
        return samples(back_ms) + 3 * FRAME_SAMPLES


@dataclass(frozen=True)
class Began:
    """Somebody speaks. The turn is to be read from sample `start`, the pre-roll; `at`: samples heard so far."""

    start: int
    at: int


@dataclass(frozen=True)
class Sustained:
    """Speech has lasted long enough to interrupt an answer. Once in a turn at most."""

    at: int


@dataclass(frozen=True)
class Paused:
    """Silence. If the turn ends here, it ends before sample `stop`, which has been heard."""

    stop: int
    at: int


@dataclass(frozen=True)
class Resumed:
    """Speech has returned: the turn goes on at `start`, which is where it would have stopped."""

    start: int
    at: int


@dataclass(frozen=True)
class Ended:
    """The turn is samples `start` … `stop - 1`; `stop` is that of the last pause."""

    start: int
    stop: int
    at: int


@dataclass(frozen=True)
class FalseStart:
    """Too little speech for a turn: what was read from `start` on is to be taken back."""

    start: int
    at: int


Event = Began | Sustained | Paused | Resumed | Ended | FalseStart


class Phase(Enum):
    """What a person would say that the listener does."""

    LISTENING = "listening"
    HEARING = "hearing"
    WAITING = "waiting"  # in a pause


def samples(milliseconds: int) -> int:
    """Samples of that time."""
    return SAMPLE_RATE * milliseconds // 1000


class Turns:
    """The state machine. Positions are counted from sample `origin`, where the first of its windows begins."""

    def __init__(self, window: int, timing: Timing | None = None, origin: int = 0) -> None:
        """`window`: samples for which one probability stands, 1 to 640."""
        if not 1 <= window <= FRAME_SAMPLES:
            raise ValueError(f"a window is 1 to {FRAME_SAMPLES} samples, got {window}")
        self.window, self.timing = window, timing or Timing()
        self.phase = Phase.LISTENING
        self.heard = origin
        fewest = -(-samples(self.timing.start_ms) // window)
        self._recent = deque[bool](maxlen=max(fewest, samples(self.timing.start_window_ms) // window))
        self._voiced = False
        self._free = _up(origin)  # no sample before it is part of a turn to come
        self._start = self._last = self._spoken = 0  # of this turn: first sample, end of speech, samples of speech
        self._sustained = False

    def hear(self, probability: float) -> list[Event]:
        """The next window holds speech with that probability."""
        self.heard += self.window
        self._voiced = probability >= (self.timing.leave if self._voiced else self.timing.enter)
        self._recent.append(self._voiced)
        if self.phase is Phase.LISTENING:
            return self._begun()
        return self._spoke() if self._voiced else self._silent()

    def finish(self) -> list[Event]:
        """The turn ends now, whatever was heard last: a key was pressed, the microphone is gone or muted.

        Its `stop` may lie up to 639 samples past the last one heard; these are zeros.
        """
        events = [] if self.phase is Phase.LISTENING else self._ended()
        self._recent.clear()
        self._voiced = False
        return events

    def _begun(self) -> list[Event]:
        if not self._voiced or self._speech() < samples(self.timing.start_ms):
            return []
        onset = self.heard - self.window * (len(self._recent) - self._recent.index(True))
        self._start = _down(max(onset - samples(self.timing.pre_roll_ms), self._free))
        self._spoken, self._sustained = 0, False
        return [Began(self._start, self.heard), *self._speaking(self._speech())]

    def _spoke(self) -> list[Event]:
        if self.phase is Phase.HEARING:
            return self._speaking(self.window)
        if self._speech() < samples(self.timing.resume_ms):
            return []
        return [Resumed(self._stop(), self.heard), *self._speaking(self._speech())]

    def _speaking(self, more: int) -> list[Event]:
        """`more` samples of speech, up to now."""
        self.phase, self._last = Phase.HEARING, self.heard
        self._spoken += more
        if self._sustained or self._spoken < samples(self.timing.barge_in_ms):
            return []
        self._sustained = True
        return [Sustained(self.heard)]

    def _silent(self) -> list[Event]:
        events: list[Event] = []
        silence = self.heard - self._last
        if self.phase is Phase.HEARING and silence >= samples(self.timing.pause_ms):
            self.phase = Phase.WAITING
            self._recent.clear()  # what ends the pause is spoken in it
            events.append(Paused(self._stop(), self.heard))
        if silence >= samples(self.timing.end_ms):
            events += self._ended()
        return events

    def _ended(self) -> list[Event]:
        self.phase = Phase.LISTENING
        if self._spoken < samples(self.timing.least_ms):
            return [FalseStart(self._start, self.heard)]
        self._free = self._stop()
        return [Ended(self._start, self._free, self.heard)]

    def _speech(self) -> int:
        """Samples of speech among the recent windows."""
        return sum(self._recent) * self.window

    def _stop(self) -> int:
        return _up(min(self._last + samples(self.timing.tail_ms), self.heard))


def _down(position: int) -> int:
    return position // FRAME_SAMPLES * FRAME_SAMPLES


def _up(position: int) -> int:
    return -(-position // FRAME_SAMPLES) * FRAME_SAMPLES
