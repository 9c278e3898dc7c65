"""What happens in an hour beside a microphone, drawn at random: who speaks and how long, what is typed, what breaks.

`Course` hands the scenes to a microphone, the rest to whoever is there, and remembers what was to be heard where. Knows
scenes, lines and samples: no listener and no model.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tests.live.simulation import RATE, Gap, Noise, Pause, Scene, Speech, Switched, Unplugged, part

SETTLE, MEASURE = "(settle)", "(measure)"  # lines that a person cannot type
_REMEMBERED = 600  # scenes
_TYPED = (
    "hello",
    "what did I say?",
    "/stats",
    "/context",
    "/undo",
    "/retry",
    "/edit hello",
    "/new",
    "/screen",
    "/drop",
)
_TYPED_WEIGHTS = (8, 4, 1, 1, 3, 3, 2, 1, 4, 1)


@dataclass(frozen=True)
class Typed:
    """A line of the person."""

    line: str


@dataclass(frozen=True)
class Hurry:
    """From now on time passes however far the model is behind, or not any more."""

    on: bool


@dataclass(frozen=True)
class Ahead:
    """So much sound may wait for the model before time stops; 0: it is taken as it comes."""

    seconds: float


Step = Scene | Typed | Hurry | Ahead


def speech(rng: random.Random, shortest: float = 0.5, longest: float = 40.0) -> list[Step]:
    """A turn with pauses that are none, and now and then a line that is typed meanwhile."""
    steps, left = list[Step](), math.exp(rng.uniform(math.log(shortest), math.log(longest)))
    while left > 0:
        piece = min(left, max(0.4, rng.expovariate(1 / 4)))
        steps.append(Speech(piece))
        left -= piece
        if rng.random() < 0.1:
            steps.append(typed(rng))
        elif left > 0:
            steps.append(Pause(rng.uniform(0.15, 0.65)))
    return steps


def typed(rng: random.Random) -> Step:
    return Typed(rng.choices(_TYPED, _TYPED_WEIGHTS)[0])


def broken(rng: random.Random) -> list[Step]:
    """Somebody speaks while something is wrong with the device."""
    seconds = math.exp(rng.uniform(math.log(0.02), math.log(20)))
    faults: list[Scene] = [Gap(min(seconds, 4)), Unplugged(seconds), Switched(min(seconds, 5))]
    after: Scene = Speech(rng.uniform(0.05, 5)) if rng.random() < 0.7 else Pause(1.5)
    return [Speech(rng.uniform(0.3, 6)), rng.choice(faults), after]


def muted(rng: random.Random) -> list[Step]:
    """Somebody speaks to others."""
    before: list[Step] = [Speech(rng.uniform(0.1, 3))] if rng.random() < 0.5 else []
    after: list[Step] = [Speech(rng.uniform(0.5, 3))] if rng.random() < 0.5 else [Pause(1)]
    return [*before, Typed("/mute on"), *speech(rng, 2, 15), Pause(1), Typed("/mute off"), *after]


def hurried(rng: random.Random) -> list[Step]:
    """More is said than the model can read in that time."""
    return [Hurry(True), *speech(rng, 20, 40), Pause(0.8), *speech(rng, 20, 40), Pause(1), Hurry(False)]


def rest(rng: random.Random) -> list[Step]:
    """Between two of them: often short, so that an answer is interrupted."""
    quiet = Pause(rng.choice([rng.uniform(0.75, 2.5), rng.uniform(2, 8)]))
    noise: list[Step] = [Noise(rng.uniform(0.2, 5))] if rng.random() < 0.3 else []
    return [*noise, quiet, Ahead(rng.choice([0, 0, 1, 10]))]


def course(seed: int, minutes: float) -> Iterator[Step]:
    """So many minutes and a little more."""
    rng, seconds, looked, measured = random.Random(seed), 0.0, 0.0, 0.0
    kinds: list[Callable[[], list[Step]]] = [
        lambda: speech(rng),
        lambda: speech(rng, 0.5, 3),
        lambda: [Speech(rng.uniform(0.05, 0.22)), Pause(1)],
        lambda: broken(rng),
        lambda: muted(rng),
        lambda: [typed(rng)],
        lambda: hurried(rng),
        lambda: speech(rng, 80, 100),
    ]
    while seconds < 60 * minutes:
        steps = rng.choices(kinds, [30, 25, 10, 10, 6, 15, 2, 1])[0]() + rest(rng)
        seconds += sum(each.seconds for each in steps if isinstance(each, Scene))
        yield from steps
        if seconds - looked > 45:
            looked = seconds
            yield Typed(SETTLE)
        if seconds - measured > 120:
            measured = seconds
            yield from (Pause(3), Typed(MEASURE))
    yield from (Hurry(False), Pause(3), Typed(SETTLE), Typed(MEASURE), Pause(3))


class Course:
    """The steps, `do` what is no scene; `spoken`: first and last + 1 of the samples of each piece of speech,
    `breaks`: of what the device lost."""

    def __init__(self, steps: Iterator[Step], do: Callable[[Typed | Hurry | Ahead], None]) -> None:
        self.spoken: list[tuple[int, int]] = []
        self.breaks = set[int]()
        self._steps, self._do = steps, do
        self._past = deque[tuple[int, int, Scene]](maxlen=_REMEMBERED)

    def scenes(self) -> Iterator[Scene]:
        at = 0
        for step in self._steps:
            if not isinstance(step, Scene):
                self._do(step)
                continue
            end = at + round(step.seconds * RATE)
            self._past.append((at, end, step))
            if isinstance(step, Speech):
                joins = bool(self.spoken) and self.spoken[-1][1] == at
                self.spoken.append((self.spoken.pop()[0] if joins else at, end))
            elif isinstance(step, Gap | Unplugged | Switched):
                self.breaks |= {at, end}
            yield step
            at = end

    def heard(self, first: int, last: int) -> np.ndarray:
        """The samples at these positions, zeros where nothing is known, lost or yet to come."""
        samples = np.zeros(last - first, np.int16)
        for start, end, scene in self._past:
            begin, until = max(start, first), min(end, last)
            if begin < until:
                samples[begin - first : until - first] = part(scene, begin, until)
        return samples
