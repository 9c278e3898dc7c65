"""Video files to the frames that the model sees: uint8 pictures of at most 70 soft tokens, each with its time.

Knows which frames to take and how to reach them without decoding the rest. Does not know the model, the prompt or the
sound track. Frame choice and times follow the published video processor (transformers, `gemma4_unified`,
`default_sample_indices_fn` and `VideoMetadata.timestamps`): frame `i · total // 32` for i < 32, at
`index / average frame rate` seconds, 24 a second where the file does not say. Two differences: a video of fewer than
32 frames is taken whole (the reference refuses it), and rotation metadata turns the picture upright.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gemma_mlx.errors import InputError
from gemma_mlx.inputs.audio import container_of
from gemma_mlx.inputs.image import resize
from gemma_mlx.inputs.source import label

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

UNIFORM_FRAMES = 32
MAX_FRAMES = 60
"""Frames taken at most when a rate is asked for: the published limit of 60 s at one frame a second."""
FRAME_TOKENS = 70
PATCH = 48
DEFAULT_RATE = 24.0
MAX_PIXELS = 8192 * 8192

_TIMED_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts")
"""Containers that store presentation times. AVI does not: the times of its reordered frames are guesses."""


@dataclass(frozen=True)
class Chosen:
    """Frames of a video and their times as `read` returns them, and when each is shown by the clock of the file.

    `moments` are seconds that the other streams of the file share, right where the frame rate changes too; where the
    container gives no times, they follow from the average rate.
    """

    frames: tuple[np.ndarray, ...]
    timestamps: tuple[float, ...]
    moments: tuple[Fraction, ...]


@dataclass(frozen=True)
class _Scan:
    """What reading the packets tells without decoding: frame count, frames a second, and where decoding can start.

    `times` are the sorted presentation times of all frames, `keys` those of the keyframes, in units of `unit` seconds;
    both are empty where the container gives none. `start`: seconds of the first frame by the clock of the file.
    """

    total: int
    rate: float
    times: tuple[int, ...]
    keys: tuple[int, ...]
    unit: Fraction
    start: Fraction

    def moment(self, index: int) -> Fraction:
        """When a frame is shown by the clock of the file."""
        return self.times[index] * self.unit if self.times else self.start + Fraction(index / self.rate)


def read(
    source: str | Path | bytes, *, fps: float | None = None, max_frames: int | None = None, name: str | None = None
) -> tuple[tuple[np.ndarray, ...], tuple[float, ...]]:
    """Choose frames of a video; return them and their times in seconds from the start.

    A frame is uint8 (h, w, 3), upright, resized to at most 70 soft tokens. Without `fps`: 32 frames spread over the
    whole length, fewer if `max_frames` or the video is. With `fps`: one frame every `1 / fps` seconds; where that takes
    more than `max_frames` (60 by default), `max_frames` spread over the whole length, and `sampled_fps` of the times
    tells the lower rate. `name` stands for the source in messages. Only chosen frames are held.

    Raises `InputError` for a file that is missing, empty, damaged, truncated or without pictures, for pictures beyond
    `MAX_PIXELS`, and for an `fps` or `max_frames` that is not positive.
    """
    chosen = choose(source, fps=fps, max_frames=max_frames, name=name)
    return chosen.frames, chosen.timestamps


def choose(
    source: str | Path | bytes, *, fps: float | None = None, max_frames: int | None = None, name: str | None = None
) -> Chosen:
    """What `read` returns, and when each frame is shown."""
    name = name or label(source)
    _check_options(fps, max_frames)
    with container_of(source, name) as container:
        scan = _scan(container, _video_stream(container, name), name)
    indices = sample_indices(scan.total, scan.rate, fps, max_frames)
    chosen: dict[int, np.ndarray] = {}
    if scan.times:
        with container_of(source, name) as container:
            for index, frame in _decode_needed(container, _video_stream(container, name), scan, indices):
                chosen[index] = _pixels(frame, name)
    if len(chosen) < len(indices):
        # Packets without times, or that are not one frame each: count and pick by decoding everything.
        with container_of(source, name) as container:
            total = sum(1 for _ in container.decode(_video_stream(container, name)))
        scan = replace(scan, times=())
        indices = sample_indices(total, scan.rate, fps, max_frames)
        with container_of(source, name) as container:
            decoded = _decode_all(container, _video_stream(container, name), indices)
            chosen = {index: _pixels(frame, name) for index, frame in decoded}
    if not chosen:
        raise InputError(f"{name} holds no frames: record or export it again")
    return Chosen(
        tuple(chosen[index] for index in indices),
        tuple(index / scan.rate for index in indices),
        tuple(map(scan.moment, indices)),
    )


def sample_indices(total: int, rate: float, fps: float | None = None, max_frames: int | None = None) -> list[int]:
    """Ascending indices of the frames to take from `total` frames at `rate` a second (see `read`); none from none."""
    if fps is None:
        count = min(UNIFORM_FRAMES, total, max_frames or UNIFORM_FRAMES)
    else:
        step = max(1.0, rate / fps)
        every = [index for k in range(math.ceil(total / step)) if (index := int(k * step)) < total]
        if len(every) <= (max_frames or MAX_FRAMES):
            return every
        count = max_frames or MAX_FRAMES
    return [i * total // count for i in range(count)]


def timestamp(seconds: float) -> str:
    """The time before a frame in the prompt: minutes and seconds, cut down, `MM:SS`; minutes go on past 99."""
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"


def token_cost(frames: Sequence[np.ndarray]) -> int:
    """Soft tokens of resized frames (h, w, 3). The time and two marks of each come on top: about 8 more a frame."""
    return sum(frame.shape[0] * frame.shape[1] // PATCH**2 for frame in frames)


def sampled_fps(timestamps: Sequence[float]) -> float | None:
    """Frames a second that the chosen times amount to; None for fewer than two frames."""
    if len(timestamps) < 2:
        return None
    return (len(timestamps) - 1) / (timestamps[-1] - timestamps[0])


def _check_options(fps: float | None, max_frames: int | None) -> None:
    if fps is not None and not 0 < fps < math.inf:
        raise InputError(f"fps is {fps}: give a number above 0, such as 1")
    if max_frames is not None and max_frames < 1:
        raise InputError(f"max frames is {max_frames}: give a number from 1 up, such as {MAX_FRAMES}")


def _video_stream(container: "InputContainer", name: str) -> "VideoStream":
    """The first stream of moving pictures; the cover of a sound file is none."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.width * stream.height > MAX_PIXELS:
                raise InputError(
                    f"{name} has frames of {stream.width}x{stream.height} pixels, "
                    f"more than the {MAX_PIXELS} supported: scale it down"
                )
            stream.thread_type = "AUTO"
            return stream
    raise InputError(f"{name} has no pictures: attach it as audio, or give a video")


def _scan(container: "InputContainer", stream: "VideoStream", name: str) -> _Scan:
    announced = len(stream.index_entries)
    rate = float(stream.average_rate or DEFAULT_RATE)
    unit = stream.time_base or Fraction(1)
    start = (stream.start_time or 0) * unit
    packets, hidden, times, keys = 0, 0, list[int](), list[int]()
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        if packet.is_corrupt:
            raise InputError(f"{name} is damaged or cut off after {packets} frames: copy or export it again")
        packets += 1
        hidden += packet.is_discard
        if packet.pts is not None and packet.is_keyframe:
            keys.append(packet.pts)
        if packet.pts is not None and not packet.is_discard:
            times.append(packet.pts)
    if packets < announced:
        raise InputError(f"{name} is cut off after {packets} of {announced} frames: copy or export it again")
    total = packets - hidden
    times.sort()
    keys.sort()
    one_time_each = container.format.name in _TIMED_FORMATS and len(set(times)) == total
    if one_time_each and keys and keys[:1] <= times[:1]:
        return _Scan(total, rate, tuple(times), tuple(keys), unit, start)
    return _Scan(total, rate, (), (), unit, start)


def _decode_needed(
    container: "InputContainer", stream: "VideoStream", scan: _Scan, indices: Sequence[int]
) -> Iterator[tuple[int, "VideoFrame"]]:
    """Yield (index, frame) of the chosen frames, decoding each from the last keyframe at or before it.

    The groups of pictures in between are read but not decoded: a long video costs its chosen groups.
    """
    index_at = {scan.times[index]: index for index in indices}
    wanted_from: dict[int, set[int]] = {}
    for time in index_at:
        wanted_from.setdefault(scan.keys[bisect_right(scan.keys, time) - 1], set()).add(time)
    pending: set[int] = set()
    for packet in container.demux(stream):
        if packet.is_keyframe and packet.pts in wanted_from:
            if not pending:
                stream.codec_context.flush_buffers()
            pending |= wanted_from.pop(packet.pts)
        for frame in packet.decode() if pending else ():
            if frame.pts in pending:
                pending.remove(frame.pts)
                yield index_at[frame.pts], frame
        if not pending and not wanted_from:
            return


def _decode_all(
    container: "InputContainer", stream: "VideoStream", indices: Sequence[int]
) -> Iterator[tuple[int, "VideoFrame"]]:
    """Yield (index, frame) of the chosen frames, decoding every frame: slow, and right for any stream."""
    chosen = set(indices)
    for index, frame in enumerate(container.decode(stream)):
        if index in chosen:
            yield index, frame


def _pixels(frame: "VideoFrame", name: str) -> np.ndarray:
    upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    try:
        return resize(np.ascontiguousarray(upright), FRAME_TOKENS)
    except InputError as fault:
        raise InputError(f"{name}: {fault}") from None
