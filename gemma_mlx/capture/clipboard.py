"""The picture in the clipboard: from AppleScript on macOS, from wl-paste or xclip elsewhere. No file is written.

Knows programs that read a clipboard: not what becomes of the picture. The part for macOS has not run on a Mac: written
from AppleScript's `the clipboard as «class PNGf»`, which answers «data PNGf…» in hexadecimal digits, or error -1700 if
the content cannot become a picture.
"""

import os
import platform
import re
import shutil
from typing import TYPE_CHECKING

from gemma_mlx.capture.programs import ProgramFault, picture, run, said
from gemma_mlx.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_NONE = "copy a picture first, or attach a file"
_SCRIPT = "the clipboard as «class PNGf»"
_DATA = re.compile("«data PNGf([0-9A-F]+)»".encode())
_TYPES = ("image/png", "image/jpeg", "image/tiff", "image/bmp", "image/webp")  # the first that is offered
_WAYLAND = "wl-paste", ("wl-paste", "--list-types"), ("wl-paste", "--type")
_X = (
    "xclip",
    ("xclip", "-selection", "clipboard", "-out", "-target", "TARGETS"),
    ("xclip", "-selection", "clipboard", "-out", "-target"),
)


def grab() -> "Picture":
    """The picture that was copied last. Raises `InputError` if there is none, or nothing to read it with."""
    try:
        return picture(_from_applescript() if platform.system() == "Darwin" else _from_linux())
    except ProgramFault as fault:
        raise InputError(f"no picture can be had from the clipboard ({fault}): {_NONE}") from None


def _from_applescript() -> bytes:
    done = run("osascript", "-e", _SCRIPT)
    if b"(-1700)" in done.stderr:
        raise InputError(f"the clipboard holds no picture: {_NONE}")
    found = _DATA.search(done.stdout)
    if done.returncode or found is None:
        raise ProgramFault(said(done))
    return bytes.fromhex(found[1].decode())


def _from_linux() -> bytes:
    listing, reading = _reader()
    listed = run(*listing)
    offered = listed.stdout.decode(errors="replace").split()
    if listed.returncode:
        raise ProgramFault(said(listed))
    kind = next((kind for kind in _TYPES if kind in offered), None)
    if kind is None:
        raise InputError(f"the clipboard holds no picture: {_NONE}")
    done = run(*reading, kind)
    if done.returncode:
        raise ProgramFault(said(done))
    return done.stdout


def _reader() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How types are listed and how one is read, by a program that is here. Raises `InputError`."""
    wayland, x = (bool(os.environ.get(name)) for name in ("WAYLAND_DISPLAY", "DISPLAY"))
    if not wayland and not x:
        raise InputError("there is no clipboard here (neither WAYLAND_DISPLAY nor DISPLAY is set): attach a file")
    for able, (program, listing, reading) in ((wayland, _WAYLAND), (x, _X)):
        if able and shutil.which(program):
            return listing, reading
    program, package = ("wl-paste", "wl-clipboard") if wayland else ("xclip", "xclip")
    install = f"install it (Debian and Ubuntu: apt-get install {package})"
    raise InputError(f"the clipboard is read with {program}, which is not here: {install}, or attach a file")
