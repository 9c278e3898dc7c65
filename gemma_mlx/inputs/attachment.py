"""A file of unknown kind to a picture, a recording or a video, by its content; the suffix of its name counts nothing.

Knows how the kinds are told apart, not how they are read. What starts as a picture is a picture, an animation too (its
first frame). Then text is refused, since FFmpeg would find sound in some of it. Then more than one moving picture is a
video, and else a sound track is a recording.
"""

from codecs import getincrementaldecoder
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gemma_mlx.errors import InputError
from gemma_mlx.inputs import film, image, tiles
from gemma_mlx.inputs.audio import container_of
from gemma_mlx.inputs.detail import LARGE_TEXT, NO_TEXT, Limits
from gemma_mlx.inputs.message import Audio, Image, Video
from gemma_mlx.inputs.source import label, opened

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_HEAD = 4096
_TEXT_CONTROLS = "\t\n\v\f\r\x1b"
_Kind = Literal["picture", "audio", "video"]


@dataclass(frozen=True)
class Reading:
    """How much of a file is read: `max_soft_tokens` of a picture, `fps` and `max_frames` of a video, its `sound`, and
    `most_tokens`, which a video takes with sound; see `Image.open`, `Video.open` and `film.read`. With `limits` a
    picture takes what its text needs instead of `max_soft_tokens`; `rate`: tokens read in a second, where known."""

    max_soft_tokens: int = 280
    fps: float | None = None
    max_frames: int | None = None
    sound: bool = True
    most_tokens: int | None = None
    limits: Limits | None = None
    rate: float | None = None


def open_attachments(
    source: str | Path | bytes,
    reading: Reading = Reading(),
    *,
    notice: Callable[[str], None] | None = None,
    name: str | None = None,
) -> tuple[Image | Audio | Video, ...]:
    """Read a file as what it is: a video with its sound is several parts, a picture is if it has `limits` and
    small text, everything else is one.

    `notice` is told, in a line, why a video's sound is left out, without which that raises, and how a picture is read
    within `limits`. See `open_attachment`.
    """
    name = name or label(source)
    kind = _kind(source, name)
    if kind == "picture" and reading.limits is not None:
        return open_picture(source, reading, notice=notice, name=name)
    if kind != "video" or not reading.sound:
        return (_open(source, kind, reading, name),)
    return film.read(
        source,
        fps=reading.fps,
        max_frames=reading.max_frames,
        most_tokens=reading.most_tokens,
        notice=notice,
        name=name,
    )


def open_attachment(
    source: str | Path | bytes,
    *,
    max_soft_tokens: int = 280,
    fps: float | None = None,
    max_frames: int | None = None,
    name: str | None = None,
) -> Image | Audio | Video:
    """Read a file, or the content of one, as what it is; the options are those of `Image.open` and `Video.open`.

    Of a video, only the pictures: see `open_attachments`.
    `name` stands for the source in messages. Raises `InputError` for a file that cannot be opened, is text or a
    document, or is damaged.
    """
    name = name or label(source)
    return _open(source, _kind(source, name), Reading(max_soft_tokens, fps, max_frames), name)


def open_picture(
    source: "str | Path | bytes | Picture",
    reading: Reading,
    *,
    notice: Callable[[str], None] | None = None,
    name: str | None = None,
) -> tuple[Image, ...]:
    """Read a picture, as the parts that its text needs if there are `limits`; `notice` is told what small text costs,
    or that there is too little room for it."""
    name = name or image.label(source)
    if reading.limits is None:
        return (Image.open(source, max_soft_tokens=reading.max_soft_tokens, name=name),)
    seen = tiles.see(image.decode(source, name), reading.limits)
    if notice is not None and seen.reason not in (NO_TEXT, LARGE_TEXT):
        notice(tiles.words(name, seen, reading.rate))
    return tiles.images(name, seen)


def _open(source: str | Path | bytes, kind: _Kind, reading: Reading, name: str) -> Image | Audio | Video:
    match kind:
        case "picture":
            return Image.open(source, max_soft_tokens=reading.max_soft_tokens, name=name)
        case "audio":
            return Audio.open(source, name=name)
        case "video":
            return Video.open(source, fps=reading.fps, max_frames=reading.max_frames, name=name)


def _kind(source: str | Path | bytes, name: str) -> _Kind:
    if image.is_picture(source, name):
        return "picture"
    _refuse_documents(source, name)
    return _stream_kind(source, name)


def _refuse_documents(source: str | Path | bytes, name: str) -> None:
    with opened(source, name) as file:
        head = file.read(_HEAD)
    if head.startswith(b"%PDF"):
        raise InputError(f"{name} is a PDF document: export its pages as PNG and attach those")
    try:
        text = getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return
    if all(character >= " " or character in _TEXT_CONTROLS for character in text):
        raise InputError(f"{name} is text, not a picture, sound or video: put its text into the message itself")


def _stream_kind(source: str | Path | bytes, name: str) -> Literal["audio", "video"]:
    """What a file holds that is no picture. Reads its header and two packets at most."""
    from av.stream import Disposition

    try:
        with container_of(source, name) as container:
            # A cover is left out, since looking for its second picture would read the whole file.
            moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            sound = bool(container.streams.audio)
            packets = (packet for packet in container.demux(moving[0]) if packet.size) if moving else iter(())
            frames = len(list(islice(packets, 2)))
    except InputError:
        formats = "PNG, JPEG, WAV, MP3 or MP4"
        raise InputError(f"{name} is damaged or no known picture, sound or video: export it as {formats}") from None
    if frames > 1:
        return "video"
    if sound:
        return "audio"
    found = "a single picture in a format that is not supported" if frames else "neither pictures nor sound"
    raise InputError(f"{name} holds {found}: export it as PNG or JPEG")
