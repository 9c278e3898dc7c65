"""`gemma-mlx` run inside the test's process, and the small files that its tests attach."""

import io
import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image
from typer.testing import CliRunner

from gemma_mlx.cli import app


@dataclass(frozen=True)
class Run:
    """Exit status and what was printed where."""

    code: int
    out: str
    err: str
    screen: str  # both, as a terminal shows them

    @property
    def fault(self) -> str:
        """The only line on stderr of a run that the person caused to fail."""
        (line,) = self.err.splitlines()
        assert self.code == 1, self
        assert self.out == ""
        return line


def gemma_mlx(*arguments: str | Path, stdin: bytes = b"") -> Run:
    """Run the command line. An exception that is a bug of ours reaches the test."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Run(result.exit_code, result.stdout, result.stderr, result.output)


def png(width: int, height: int) -> bytes:
    """A picture with a red left half."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[:, : width // 2] = (220, 30, 30)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_wav(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    """16-bit samples (n,) or (n, channels) as a WAV file."""
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    return path


def hum(seconds: float, rate: int = 16000) -> np.ndarray:
    """A quiet tone, 16-bit (n,)."""
    return (3000 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 220 / rate)).astype(np.int16)


def write_video(path: Path, frames: int, rate: int = 8) -> Path:
    """Frames of one colour each, 96 × 96."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        for i in range(frames):
            pixels = np.full((96, 96, 3), 8 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path
