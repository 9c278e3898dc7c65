"""A recording, packet by packet, to the clips that the model hears: cut in pauses, and without silence.

All samples are in exactly one piece, in order; a piece is a clip, or silence that is left out. A clip ends at the first
pause that is long enough. Where there is none within the longest clip, it ends in a shorter one: the longest of the
last sixth, else the last that there is, and only sound without any is cut by the rule of live speech, at its quietest.
Never more than one clip and a packet are held.

Knows samples and levels: no files, no model. What silence is: 40 ms that are little louder than the quietest tenth of
the time around them and much fainter than the loudest; the decibels are experience. Judged too strictly, clips only
hold more silence.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from gemma_mlx.capture import cutting
from gemma_mlx.inputs.audio import FRAME_SAMPLES, MAX_BLOCK_TOKENS, SAMPLE_RATE, frames
from gemma_mlx.inputs.message import Audio

FRAMES_PER_SECOND = SAMPLE_RATE // FRAME_SAMPLES
QUIETEST = -70.0  # decibels of full scale: below them nothing is heard
ABOVE_FLOOR, BELOW_LOUD = 6.0, 6.0  # decibels
FIRST_LOUD = -40.0  # as if something this loud had been heard before: a room at rest is not


@dataclass(frozen=True)
class Rule:
    """Where clips end, in frames of 40 ms."""

    most: int = MAX_BLOCK_TOKENS  # frames of a clip
    pause: int = 25  # of silence end a clip
    breath: int = 5  # of silence are no place within a word
    margin: int = 8  # of silence stay at the ends of a clip, where there are: a last "t" is faint and comes late
    click: int = 2  # of sound between silence are no word

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MAX_BLOCK_TOKENS:
            raise ValueError(f"a clip is 1 to {MAX_BLOCK_TOKENS} frames, got {self.most}")
        if min(self.pause, self.breath) < 1 or min(self.margin, self.click) < 0:
            raise ValueError("pauses are a frame or more, margin and click none or more")


@dataclass(frozen=True, eq=False)
class Clip:
    """What is written down at once. `start`: seconds since the recording began."""

    start: float
    audio: Audio

    @property
    def end(self) -> float:
        return self.start + len(self.audio.samples) / SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Piece:
    """Samples float32 `(n,)` from sample `start` of the recording on, and whether they are a clip."""

    start: int
    samples: np.ndarray
    heard: bool


def clips(chunks: Iterable[np.ndarray], rule: Rule, name: str) -> Iterator[Clip]:
    """The clips of a recording, float32 `(n,)` by float32 `(n,)`, as soon as their ends are known."""
    for piece in pieces(chunks, rule):
        if piece.heard:
            yield Clip(piece.start / SAMPLE_RATE, Audio(name, piece.samples))


def pieces(chunks: Iterable[np.ndarray], rule: Rule) -> Iterator[Piece]:
    """All samples in order. Each piece but the last is whole frames, at most `rule.most`."""
    source = iter(chunks)
    rest, position, loud = np.empty(0, np.float32), 0, FIRST_LOUD
    most = (rule.most + 1) * FRAME_SAMPLES
    while len(rest := _filled(rest, source, most)):
        energies = cutting.levels(frames(rest[:most]))
        levels = decibels(energies)
        loud = max(loud, loudest(levels))
        silent = levels < threshold(levels, loud)
        count = cut(energies, silent, rule)
        samples = rest[: count * FRAME_SAMPLES].copy()  # a view would hold all of `rest`
        yield Piece(position, samples, int(np.count_nonzero(~silent[:count])) > rule.click)
        rest = rest[len(samples) :]
        position += len(samples)


def decibels(energies: np.ndarray) -> np.ndarray:
    """Levels of frames with such energies, 0 for the loudest square wave; -inf for zeros."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(energies / FRAME_SAMPLES)


def loudest(levels: np.ndarray) -> float:
    """The level that a hundredth of the frames exceeds: a click is no speech."""
    known = levels[np.isfinite(levels)]
    return float(np.percentile(known, 99)) if known.size else QUIETEST


def threshold(levels: np.ndarray, loud: float) -> float:
    """The level below which frames are silence, where the recording has been as loud as `loud`.

    Exact zeros say nothing about the room. A steady sound is silence only where another was louder.
    """
    known = levels[np.isfinite(levels)]
    floor = float(np.percentile(known, 10)) if known.size else QUIETEST
    return max(QUIETEST, min(floor + ABOVE_FLOOR, loud - BELOW_LOUD))


def cut(energies: np.ndarray, silent: np.ndarray, rule: Rule) -> int:
    """Frames of the first piece of `rule.most` + 1 frames, or of fewer, which are then the last: 1 … `rule.most`."""
    length = len(silent)
    if silent.all():
        return min(length, rule.most)
    lead = int(np.argmin(silent))
    if lead > rule.margin:
        return lead - rule.margin
    runs = [(first, end) for first, end in _runs(silent) if first > lead]
    for first, end in runs:
        if end - first >= rule.pause and first < rule.most:
            return min(_into(first, end, rule), rule.most)
    if length <= rule.most:
        first = runs[-1][0] if runs and runs[-1][1] == length else length
        return min(first + rule.margin, length)
    places = [(end - first, _into(first, end, rule)) for first, end in runs if end - first >= rule.breath]
    places = [place for place in places if place[1] <= rule.most]
    near = [place for place in places if place[1] >= rule.most - rule.most // 6]
    if near:
        return max(near)[1]
    return places[-1][1] if places else cutting.cut(energies, rule.most, rule.most // 6)


def _into(first: int, end: int, rule: Rule) -> int:
    """Where to cut in silence: after the margin of what ends there, with no less for what follows."""
    return first + min(rule.margin, (end - first) // 2)


def _runs(silent: np.ndarray) -> list[tuple[int, int]]:
    """Each run of silent frames: the first, and one past the last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def _filled(rest: np.ndarray, source: Iterator[np.ndarray], most: int) -> np.ndarray:
    """`rest` and what follows, until it is `most` samples, or all that is left."""
    if len(rest) >= most:
        return rest
    parts = [rest]
    missing = most - len(rest)
    while missing > 0 and (chunk := next(source, None)) is not None:
        parts.append(chunk)
        missing -= len(chunk)
    return np.concatenate(parts)
