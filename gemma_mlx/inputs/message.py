"""What people and the model say: messages of text, pictures, recordings and videos, as plain values.

Knows no file format, no model and no template: `open` hands over to the module of the medium, and what it returns is
already in the form in which the model reads it. Values are compared by identity, since arrays have no single truth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SPOKEN = "microphone"
"""The name of recordings of what was said in a conversation."""
Role = Literal["user", "assistant", "system", "tool"]


@dataclass(frozen=True, eq=False)
class Text:
    """A run of plain text."""

    text: str


@dataclass(frozen=True, eq=False)
class Image:
    """A picture at the size in which the model sees it: one soft token for each square of 48 pixels."""

    name: str
    pixels: np.ndarray  # uint8 (h, w, 3); h and w are multiples of 48

    @classmethod
    def open(
        cls, source: "str | Path | bytes | Picture", *, max_soft_tokens: int = 280, name: str | None = None
    ) -> "Image":
        """Read a picture and resize it to at most `max_soft_tokens` (70, 140, 280, 560 or 1120).

        `source` is a path, the content of a file, or a Pillow picture; `name` stands for it in messages.
        Raises `InputError`: see `inputs.image.decode`.
        """
        from gemma_mlx.inputs import image

        name = name or image.label(source)
        return cls(name, image.read(source, max_soft_tokens, name))


@dataclass(frozen=True, eq=False)
class Audio:
    """A recording: mono, 16 kHz."""

    name: str
    samples: np.ndarray  # float32 (n,), nominally in [-1, 1]

    @classmethod
    def open(cls, source: str | Path | bytes, *, name: str | None = None) -> "Audio":
        """Read a sound file, or the sound track of a video. Raises `InputError`: see `inputs.audio.decode`."""
        from gemma_mlx.inputs import audio
        from gemma_mlx.inputs.source import label

        name = name or label(source)
        return cls(name, audio.decode(source, name=name))

    def blocks(self) -> list[np.ndarray]:
        """The frames that the model hears, in blocks of at most 30 s: float32 (n_i, 640), the last zero-padded."""
        from gemma_mlx.inputs import audio

        return audio.blocks(self.samples)


@dataclass(frozen=True, eq=False)
class Video:
    """Frames of a video, each with its time."""

    name: str
    frames: tuple[np.ndarray, ...]  # uint8 (h, w, 3), at most 70 soft tokens each
    timestamps: tuple[float, ...]  # seconds from the start

    @classmethod
    def open(
        cls,
        source: str | Path | bytes,
        *,
        fps: float | None = None,
        max_frames: int | None = None,
        name: str | None = None,
    ) -> "Video":
        """Read frames of a video: 32 spread over its length, or `fps` a second; its sound is not read.

        Raises `InputError`: see `inputs.video.read`.
        """
        from gemma_mlx.inputs import video
        from gemma_mlx.inputs.source import label

        name = name or label(source)
        frames, timestamps = video.read(source, fps=fps, max_frames=max_frames, name=name)
        return cls(name, frames, timestamps)


Part = Text | Image | Audio | Video


@dataclass(frozen=True)
class ToolCall:
    """A declared function that the model wants to have called, with arguments as JSON values. `id` tells it apart from
    all others of its conversation."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True)
class Message:
    """One turn's worth of parts in the order in which the model reads them.

    Of an assistant: `thinking`, the thought before the reply, and `calls`, the tools that it asks for. Of a tool:
    `answers`, the id of the call that it answers, and `value`, its result if that is a mapping; any other result is
    in `parts`, as text and pictures.
    """

    role: str  # one of `Role`
    parts: tuple[Part, ...]
    thinking: str | None = None
    calls: tuple[ToolCall, ...] = ()
    answers: str | None = None
    value: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, role: Role, text: str) -> "Message":
        """A message of text alone."""
        return cls(role, (Text(text),))

    @property
    def text(self) -> str:
        """The text parts, joined without anything between them."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))
