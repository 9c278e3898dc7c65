"""A video with its sound: frames and blocks of sound in order of time, as parts that take turns.

The sound is cut into blocks of at most 30 s where it is quietest (`audio.blocks`); the frames of the time that a block
fills come before it. So `Video(00:00 … 00:27)`, `Audio`, `Video(00:28 … 00:55)`, `Audio`, and a last `Video` where the
pictures go on alone. The times of frames are those of the whole file.

Nothing published says how a sound track belongs into a prompt: the processor (transformers, `gemma4_unified`) reads
none. This order keeps what it does with each medium: a frame behind its time, sound without one, nothing in between.
Blocks are long, since every cut of speech costs words.

Knows streams and their clocks, and what sound costs in tokens. Does not know the model or the conversation.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gemma_mlx.errors import InputError
from gemma_mlx.inputs import audio, tiles, video
from gemma_mlx.inputs.audio import FRAME_SAMPLES, MAX_SECONDS, SAMPLE_RATE, container_of
from gemma_mlx.inputs.message import Audio, Image, Part, Video
from gemma_mlx.inputs.source import label

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

FRAME_MARKS, BLOCK_MARKS = 9, 2
"""Most tokens around the soft ones: the time (`MM:SS`) between spaces, begin and end of a frame; begin and end of a
block."""
_TOKEN = Fraction(FRAME_SAMPLES, SAMPLE_RATE)
_GAP = Fraction(1, 10)  # seconds; less than that between packets is how their times are rounded, not sound that is lost

FilmPart = Audio | Video


@dataclass(frozen=True)
class _Track:
    """When a sound track is heard, by the clock of the file: its first second, and where samples are missing."""

    start: Fraction
    gaps: tuple[tuple[Fraction, Fraction], ...]  # seconds of sound before it, its own seconds

    def silences(self) -> Iterator[tuple[int, int]]:
        """The gaps in samples."""
        for before, seconds in self.gaps:
            yield round(before * SAMPLE_RATE), round(seconds * SAMPLE_RATE)


def read(
    source: str | Path | bytes,
    *,
    fps: float | None = None,
    max_frames: int | None = None,
    most_tokens: int | None = None,
    notice: Callable[[str], None] | None = None,
    name: str | None = None,
) -> tuple[FilmPart, ...]:
    """Frames of a video, chosen as `Video.open` does, and its first sound track, in order of time.

    A video without a sound track, or with one of zeros only, gives one part, as `Video.open` does. With sound, the
    times of frames count from where pictures or sound begin, whichever is first, and follow a frame rate that changes.
    `most_tokens`: what all of it may take. Sound that does not fit, or that is damaged, is told to `notice` in a line
    and left out; without a `notice` it raises `InputError`, as do the faults that `video.read` names.
    """
    name = name or label(source)
    chosen = video.choose(source, fps=fps, max_frames=max_frames, name=name)
    room = MAX_SECONDS * SAMPLE_RATE // FRAME_SAMPLES
    if most_tokens is not None:
        frames = video.token_cost(chosen.frames) + FRAME_MARKS * len(chosen.frames)
        room = min(room, max(0, most_tokens - frames))
    begin, blocks = Fraction(0), list[np.ndarray]()
    try:
        begin, blocks = _sound(source, chosen.moments[0], room, name)
    except InputError as fault:
        if notice is None:
            raise
        notice(f"only the pictures are read, no sound: {fault}")
    if not blocks:
        return (Video(name, chosen.frames, chosen.timestamps),)
    times = [moment - begin for moment in chosen.moments]
    return tuple(interleaved(name, chosen.frames, times, blocks))


def interleaved(
    name: str, frames: Sequence[np.ndarray], times: Sequence[Fraction], blocks: Sequence[np.ndarray]
) -> Iterator[FilmPart]:
    """Frames uint8 (h, w, 3) at ascending seconds, and blocks float32 (n, 640) that follow one another from second 0.

    A frame belongs to the block that is heard while it is shown, the first frames to the first block.
    """
    at, stop = 0, Fraction(0)
    for block in blocks:
        stop += len(block) * _TOKEN
        end = bisect_left(times, stop, lo=at)
        yield from _pictures(name, frames[at:end], times[at:end])
        yield Audio(name, block.reshape(-1))
        at = end
    yield from _pictures(name, frames[at:], times[at:])


def by_file(parts: Sequence[Part]) -> list[tuple[Part, ...]]:
    """Parts in groups, one for each attachment: the parts of a film bear one name, and their time goes on; those of a
    picture bear its."""
    groups: list[tuple[Part, ...]] = []
    for part in parts:
        if groups and _goes_on(groups[-1], part):
            groups[-1] = (*groups[-1], part)
        else:
            groups.append((part,))
    return groups


def _goes_on(group: Sequence[Part], part: Part) -> bool:
    before = group[-1]
    if isinstance(part, Image):
        return tiles.goes_on(part.name, after=before)
    if not isinstance(part, FilmPart) or not isinstance(before, FilmPart) or part.name != before.name:
        return False
    pictures = [each for each in group if isinstance(each, Video)]
    if isinstance(part, Audio):
        return bool(pictures)
    return not pictures or (isinstance(before, Audio) and part.timestamps[0] > pictures[-1].timestamps[-1])


def _pictures(name: str, frames: Sequence[np.ndarray], times: Sequence[Fraction]) -> Iterator[Video]:
    if frames:
        yield Video(name, tuple(frames), tuple(map(float, times)))


def _sound(source: str | Path | bytes, shown: Fraction, room: int, name: str) -> tuple[Fraction, list[np.ndarray]]:
    """When the film begins by the clock of the file, and its sound from there in blocks; none if it has no sound.

    `shown`: when the first frame is. Silence stands for sound that comes later than the first frame or breaks off.
    Blocks of zeros at the end are left out. Raises `InputError` for more than `room` tokens and for damaged sound.
    """
    track = _track(source, shown, room, name)
    if track is None:
        return shown, []
    samples = audio.decode(source, name=name)
    # In whole tokens, so that the model hears the frames of the sound track alone; less is how codecs begin.
    late = int((track.start - shown) / _TOKEN)
    pieces = [np.zeros(max(0, late) * FRAME_SAMPLES, np.float32)]
    at = 0
    for before, missing in track.silences():
        pieces += [samples[at:before], np.zeros(missing, np.float32)]
        at = before
    blocks = audio.blocks(np.concatenate([*pieces, samples[at:]]))
    while blocks and not blocks[-1].any():
        blocks.pop()
    if sum(len(block) + BLOCK_MARKS for block in blocks) > room:
        raise _too_long(room, name)
    return (track.start if late < 0 else shown), blocks


def _track(source: str | Path | bytes, shown: Fraction, room: int, name: str) -> _Track | None:
    """The clock of the first sound track, from the times of its decoded packets; None if there is nothing to hear."""
    with container_of(source, name) as container:
        if not container.streams.audio:
            return None
        start, due, heard, gaps = Fraction(0), Fraction(0), Fraction(0), list[tuple[Fraction, Fraction]]()
        for time, seconds in _times(container, container.streams.audio[0]):
            if not heard:
                start = due = shown if time is None else time
            elif time is not None and time - due > _GAP:
                gaps.append((heard, time - due))
                due = time
            heard += seconds
            due += seconds
            if due - min(start, shown) > room * _TOKEN:
                raise _too_long(room, name)
    return _Track(start, tuple(gaps)) if heard else None


def _times(container: "InputContainer", stream: "AudioStream") -> Iterator[tuple[Fraction | None, Fraction]]:
    """Of each decoded packet that holds samples: when it is heard, if the file says so, and for how many seconds."""
    for frame in container.decode(stream):
        if frame.samples:
            pts, unit = frame.pts, frame.time_base
            time = None if pts is None or unit is None else Fraction(pts * unit)
            yield time, Fraction(frame.samples, frame.sample_rate)


def _too_long(room: int, name: str) -> InputError:
    return InputError(
        f"{name} has more sound than the {room:,} tokens that the context has left for it: "
        "cut it into shorter files, or raise --context"
    )
