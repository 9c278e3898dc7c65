"""Where an attachment comes from: a path or the content of a file, opened for reading under a name for messages.

Knows the file system: no formats.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from gemma_mlx.errors import InputError


def label(source: str | Path | bytes) -> str:
    """How messages call a source: its path, or the size of content that has none."""
    return f"attachment of {len(source)} bytes" if isinstance(source, bytes) else str(source)


@contextmanager
def opened(source: str | Path | bytes, name: str) -> Iterator[BinaryIO]:
    """A file, or the content of one, for reading. Raises `InputError` if it cannot be opened or is empty."""
    with _file(source, name) as file:
        if not file.seekable():
            raise InputError(f"{name} is not a regular file: save its content to one")
        if not file.read(1):
            raise InputError(f"{name} is empty (0 bytes): save or download it again")
        file.seek(0)
        yield file


def _file(source: str | Path | bytes, name: str) -> BinaryIO:
    if isinstance(source, bytes):
        return BytesIO(source)
    try:
        # Nameless, so that FFmpeg judges the content and not the suffix.
        return open("attachment", "rb", opener=lambda _, flags: os.open(source, flags))
    except FileNotFoundError:
        raise InputError(f"{name} does not exist: check the path") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a directory: give one of its files") from None
    except OSError as fault:
        raise InputError(f"{name} cannot be opened ({fault.strerror}): give a readable file") from None
    except ValueError:
        raise InputError(f"{name!r} is no file name (it holds a zero byte): check the path") from None
