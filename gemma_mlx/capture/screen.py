"""The screen as a picture: `screencapture` on macOS, the X server's on Linux.

Knows how a screen is read: not what becomes of the picture. Source: `man screencapture`; Pillow's ImageGrab.
"""

import os
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gemma_mlx.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_SECONDS = 20  # until a screencapture that says nothing is given up


def grab() -> "Picture":
    """The whole screen, RGB. Raises `InputError` if there is none, or if it may not be read."""
    return _macos() if platform.system() == "Darwin" else _x11()


def _macos() -> "Picture":
    from PIL import Image, UnidentifiedImageError

    settings = "allow the terminal in System Settings, Privacy & Security, Screen Recording, and start it again"
    with tempfile.TemporaryDirectory(prefix="gemma-mlx-") as directory:  # readable by this person only
        file = Path(directory) / "screen.png"
        command = ["screencapture", "-x", "-t", "png", str(file)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as fault:
            raise InputError(f"the screen cannot be read ({type(fault).__name__}): {settings}") from None
        if run.returncode or not file.exists():
            said = run.stderr.strip() or f"screencapture ended with {run.returncode}"
            raise InputError(f"the screen cannot be read ({said}): {settings}")
        try:
            with Image.open(file) as picture:
                return picture.convert("RGB")
        except (UnidentifiedImageError, OSError):
            raise InputError(f"the screen cannot be read (its picture is damaged): {settings}") from None


def _x11() -> "Picture":
    display = os.environ.get("DISPLAY")
    if not display:
        raise InputError("there is no screen here (DISPLAY is not set): attach a file with a picture of it")
    from PIL import ImageGrab

    try:
        return ImageGrab.grab(xdisplay=display).convert("RGB")
    except OSError as fault:  # ImageGrab names what it lacks
        raise InputError(f"the screen {display} cannot be read ({fault}): attach a file with a picture of it") from None
