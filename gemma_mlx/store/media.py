"""Pictures, recordings and frames as files that are named by their content, and come back bit for bit.

Pictures and frames are PNG, recordings WAV with 32-bit float samples, so that other programs show and play them.
Knows one directory: not which message a medium belongs to.
"""

import hashlib
import io
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import assert_never
from weakref import WeakKeyDictionary

import numpy as np

from gemma_mlx.errors import InputError, StoreError
from gemma_mlx.inputs.message import Audio, Image, Part, Text, Video
from gemma_mlx.store.files import PRIVATE_DIRECTORY, sync_directory, write
from gemma_mlx.store.record import Medium, StoredPart

DIRECTORY = "media"
RATE = 16000  # Hz, of recordings


class Media:
    """The media of one conversation, in `directory`. What was written or read once is known from then on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stored: WeakKeyDictionary[Part, Medium] = WeakKeyDictionary()

    def store(self, part: Part) -> StoredPart:
        """The part by its files, which are on the disk when this returns. Raises `OSError`."""
        if isinstance(part, Text):
            return part
        if part not in self._stored:
            self.directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
            self._stored[part] = self._write(part)
            sync_directory(self.directory)
        return self._stored[part]

    def load(self, stored: StoredPart) -> Part:
        """The part with its pixels or samples. Raises `StoreError` if a file is gone, damaged or locked."""
        if isinstance(stored, Text):
            return stored
        part = self._read(stored)
        self._stored[part] = stored
        return part

    def keep_only(self, stored: Iterable[Medium]) -> None:
        """Delete what no message refers to any more, and what was left half written. Raises `OSError`."""
        wanted = {file for medium in stored for file in medium.files}
        if self.directory.is_dir():
            for path in self.directory.iterdir():
                if path.name not in wanted and path.is_file():
                    path.unlink()

    def _write(self, part: Image | Audio | Video) -> Medium:
        match part:
            case Image():
                return Medium("image", part.name, (self._picture(part.pixels),))
            case Audio():
                return Medium("audio", part.name, (self._sound(part.samples),))
            case Video():
                frames = tuple(self._picture(frame) for frame in part.frames)
                return Medium("video", part.name, frames, tuple(map(float, part.timestamps)))
            case _:
                assert_never(part)

    def _read(self, stored: Medium) -> Image | Audio | Video:
        paths = [self.directory / file for file in stored.files]
        match stored.kind:
            case "image":
                return Image(stored.name, _pixels(paths[0]))
            case "audio":
                return Audio(stored.name, _samples(paths[0]))
            case "video":
                return Video(stored.name, tuple(map(_pixels, paths)), stored.timestamps)
            case _:
                assert_never(stored.kind)

    def _picture(self, pixels: np.ndarray) -> str:
        path = self.directory / f"{_digest(pixels)}.png"
        if not path.exists():
            from PIL import Image as Pillow

            file = io.BytesIO()
            Pillow.fromarray(pixels).save(file, "PNG", compress_level=1)
            write(path, file.getvalue())
        return path.name

    def _sound(self, samples: np.ndarray) -> str:
        path = self.directory / f"{_digest(samples)}.wav"
        if not path.exists():
            data = samples.astype("<f4", copy=False).tobytes()
            write(path, _wav_header(len(data)) + data)
        return path.name


def _digest(array: np.ndarray) -> str:
    """Of type, shape and values."""
    digest = hashlib.blake2b(f"{array.dtype.name} {array.shape} ".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _pixels(path: Path) -> np.ndarray:
    from gemma_mlx.inputs import image

    try:
        pixels = image.decode(_content(path))
    except InputError:
        raise _damaged(path) from None
    return _checked(pixels, path)


def _samples(path: Path) -> np.ndarray:
    content, start = _content(path), len(_wav_header(0))
    data = content[start:]
    if content[:start] != _wav_header(len(data)) or len(data) % 4:
        raise _damaged(path)
    return _checked(np.frombuffer(data, "<f4").astype(np.float32, copy=False), path)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"{path} is gone: put it back, or see what is left with gemma-mlx chats export") from None
    except OSError as fault:
        raise StoreError(f"{path} cannot be read ({fault.strerror}): check its permissions") from None


def _checked(array: np.ndarray, path: Path) -> np.ndarray:
    if _digest(array) != path.stem:
        raise _damaged(path)
    return array


def _damaged(path: Path) -> StoreError:
    return StoreError(f"{path} is damaged: put a copy back, or see what is left with gemma-mlx chats export")


def _wav_header(nbytes: int) -> bytes:
    """Of one channel of 32-bit floats (format 3), as the RIFF specification lays it out, 58 bytes."""
    form = struct.pack("<HHIIHHH", 3, 1, RATE, 4 * RATE, 4, 32, 0)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"fact" + struct.pack("<II", 4, nbytes // 4)
    return b"RIFF" + struct.pack("<I", len(chunks) + 8 + nbytes) + chunks + b"data" + struct.pack("<I", nbytes)
