"""Videos with sound that are made here, with flashes and beeps at known times."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from gemma_mlx.inputs.message import Audio, Part, Video

BEEP = 0.5  # seconds, of a flash too
RATE = 48_000  # Hz, as it is encoded


@dataclass(frozen=True)
class Clip:
    """What is seen and heard. `shown`: seconds of each frame, multiples of the least step between two; `starts`:
    seconds at which a run of `sound` begins."""

    shown: Sequence[float]
    sound: Sequence[np.ndarray] = ()  # float32 at 48 kHz
    starts: Sequence[float] = (0.0,)
    moments: Sequence[float] = ()  # of flashes
    codecs: tuple[str, str] = ("mpeg4", "aac")
    options: dict[str, str] = field(default_factory=dict)


def beeps(seconds: float, moments: Sequence[float]) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    heard = sum(((moment <= time) & (time < moment + BEEP) for moment in moments), np.zeros(len(time), bool))
    return (0.5 * np.sin(2 * np.pi * 1000 * time) * heard).astype(np.float32)


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.3, 0.3, round(seconds * RATE)).astype(np.float32)


def every(step: float, seconds: float) -> list[float]:
    return [index * step for index in range(round(seconds / step))]


def make(path: Path, clip: Clip) -> Path:
    """Write a file; the suffix chooses the container. White while it flashes, else dark."""
    with av.open(path, "w", options=clip.options) as out:
        rate = round(1 / min(np.diff(clip.shown)))
        fast = {"deadline": "realtime", "cpu-used": "8"} if clip.codecs[0] == "libvpx" else {}
        pictures = out.add_stream(clip.codecs[0], rate=rate, options=fast)
        assert isinstance(pictures, av.VideoStream)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        track = out.add_stream(clip.codecs[1], rate=RATE, layout="mono") if len(clip.sound) else None
        for seconds in clip.shown:
            flash = any(moment <= seconds < moment + BEEP for moment in clip.moments)
            pixels = np.full((48, 64, 3), 255 if flash else 40, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(seconds * rate), Fraction(1, rate)
            out.mux(pictures.encode(frame))
        out.mux(pictures.encode(None))
        if track is not None:
            assert isinstance(track, av.AudioStream)
            for start, samples in zip(clip.starts, clip.sound, strict=True):
                whole = (samples * 32767).astype(np.int16)[np.newaxis]
                sound = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = RATE, round(start * RATE), Fraction(1, RATE)
                out.mux(track.encode(sound))
            out.mux(track.encode(None))
    return path


def kinds(parts: Sequence[Part]) -> str:
    return "".join(type(part).__name__[0] for part in parts)


def stamps(parts: Sequence[Part]) -> list[float]:
    return [seconds for part in parts if isinstance(part, Video) for seconds in part.timestamps]


def heard(parts: Sequence[Part]) -> np.ndarray:
    """All frames of sound, in order."""
    return np.concatenate([part.samples.reshape(-1, 640) for part in parts if isinstance(part, Audio)])


def cost(parts: Sequence[Part]) -> int:
    """Most tokens that a film takes, counted one by one."""
    frames = [frame for part in parts if isinstance(part, Video) for frame in part.frames]
    blocks = [block for part in parts if isinstance(part, Audio) for block in part.blocks()]
    return sum(frame.size // 6912 + 9 for frame in frames) + sum(len(block) + 2 for block in blocks)
