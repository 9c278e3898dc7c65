"""Pictures of a Mac's screen, by `screencapture`, which every Mac has.

The picture has the screen's own pixels; of several screens, the whole one is the main one. Without the right to record
the screen, macOS gives a picture of the wallpaper and of this terminal's own windows, and no error: `NOT_ALLOWED` says
so; whether there is the right is not asked here. Esc in the picker ends the program with 0 and without a file. Nothing
here has run on a Mac: written from `man screencapture` and from reports of what it does.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gemma_mlx.capture.programs import SECONDS, Done, ProgramFault, picture, run, said
from gemma_mlx.capture.region import Region
from gemma_mlx.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_ALLOW = (
    "allow this terminal in System Settings > Privacy & Security > Screen & System Audio Recording, "
    "then quit and reopen it"
)
NOT_ALLOWED = (
    "macOS says that this terminal may not record the screen: without that right, a picture shows the wallpaper only, "
    f"and no windows of others. If it does, {_ALLOW}"
)
_PICK = "click the window that is meant; Esc takes none"


def whole() -> "Picture":
    """The main screen. Raises `InputError`."""
    return _taken("the screen", _ALLOW)


def part(region: Region) -> "Picture":
    """A part of the screen, in points; the picture is in pixels. Raises `InputError`."""
    corner = f"{region.x},{region.y},{region.width},{region.height}"
    step = f"it must lie on the screen, in points from the upper left corner; if it does, {_ALLOW}"
    return _taken(f"the {region}", step, f"-R{corner}")


def window(say: Callable[[str], None]) -> "Picture":
    """The window that the person clicks, without its shadow. Raises `InputError`, also if they click none."""
    say(_PICK)
    return _taken("the window", _ALLOW, "-i", "-W", "-o", seconds=None)


def _taken(what: str, step: str, *options: str, seconds: float | None = SECONDS) -> "Picture":
    """The picture that `screencapture` writes; its file is gone afterwards, whatever ends this."""
    try:
        with tempfile.TemporaryDirectory(prefix="gemma-mlx-") as directory:  # of mode 0700
            file = Path(directory) / "picture.png"
            done = run("screencapture", "-x", "-t", "png", *options, str(file), seconds=seconds)
            content = file.read_bytes() if file.exists() else b""
        return _read(done, content, interactive=seconds is None)
    except ProgramFault as fault:
        raise InputError(f"{what} cannot be read ({fault}): {step}") from None
    except OSError as fault:
        raise InputError(f"{what} needs a temporary file ({fault.strerror}): make room for it") from None


def _read(done: Done, content: bytes, interactive: bool) -> "Picture":
    if interactive and not content and not done.stderr.strip():
        raise InputError("no window was clicked: nothing is attached")
    if done.returncode or not content:
        raise ProgramFault(said(done))
    return picture(content)
