"""Programs of the system that are asked for a picture, and what they wrote, decoded. Knows no particular program."""

import struct
import subprocess
import warnings
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SECONDS = 20.0
"""Until a program that should answer by itself is given up."""
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_PILLOW_FAULTS = (OSError, SyntaxError, ValueError, RuntimeError, EOFError, LookupError, OverflowError, struct.error)
Done = subprocess.CompletedProcess[bytes]


class ProgramFault(Exception):
    """Why a program gave no picture, in a few words: the caller knows what that means and what to do."""


def run(*command: str, seconds: float | None = SECONDS) -> Done:
    """Run a program to its end; what it writes, only this person may read. `seconds`: None to wait for a person.

    However this is left, by Ctrl-C as well, the program has ended. Raises `ProgramFault` if it is missing or does not
    answer in time; what it answered and how it ended is in the result.
    """
    none, pipe = subprocess.DEVNULL, subprocess.PIPE
    try:
        with subprocess.Popen(command, stdin=none, stdout=pipe, stderr=pipe, umask=0o077) as program:
            try:
                out, complaint = program.communicate(timeout=seconds)
            finally:
                program.kill()  # unless it has ended
                program.wait()
    except subprocess.TimeoutExpired:
        raise ProgramFault(f"{command[0]} did not answer within {seconds:g} s") from None
    except OSError as fault:
        raise ProgramFault(f"{command[0]}: {fault.strerror}") from None
    return Done(command, program.returncode, out, complaint)


def said(done: Done) -> str:
    """What a program complained of, in a line, or else how it ended."""
    lines = done.stderr.decode(errors="replace").splitlines()
    complaint = next((line.strip() for line in lines if line.strip()), "")
    return complaint or f"{done.args[0]} ended with {done.returncode}"


def picture(content: bytes) -> "Picture":
    """The decoded picture of a file's content. Raises `ProgramFault`."""
    from PIL import Image

    with warnings.catch_warnings(action="ignore"):  # of what is large
        try:
            found = Image.open(BytesIO(content), formats=_FORMATS)
            found.load()
        except Image.DecompressionBombError:
            raise ProgramFault("its picture is too large") from None
        except _PILLOW_FAULTS:
            raise ProgramFault("its picture is damaged") from None
    return found
