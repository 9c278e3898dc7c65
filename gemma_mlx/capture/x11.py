"""Pictures of an X server's screen through Pillow; a window is clicked in xwininfo, which says where it is.

Knows pixels of the whole screen, all monitors together: what covers a window is in its picture. Wayland lets no program
read the screen; through its X server there would only be a black one. Sources: Pillow's ImageGrab, `man xwininfo`.
"""

import os
import re
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from gemma_mlx.capture.programs import ProgramFault, run, said
from gemma_mlx.capture.region import Region
from gemma_mlx.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_FILE = "attach a file with a picture of it"
_PICK = "click the window that is meant; Ctrl-C takes none"
_PLACE = re.compile(
    rb"Absolute upper-left X: +(-?\d+)\s+Absolute upper-left Y: +(-?\d+)\s.*"
    rb"Width: +(\d+)\s+Height: +(\d+)\s",
    re.DOTALL,
)


def whole() -> "Picture":
    """All of the screen. Raises `InputError`."""
    from PIL import ImageGrab

    display = _display()
    try:
        return ImageGrab.grab(xdisplay=display)
    except OSError as fault:  # ImageGrab names what it lacks
        raise InputError(f"the screen {display} cannot be read ({fault}): {_FILE}") from None


def part(region: Region) -> "Picture":
    """A part of the screen. Raises `InputError`, also if some of it lies outside."""
    screen = whole()
    left, upper, right, lower = _box(region)
    if left < 0 or upper < 0 or right > screen.width or lower > screen.height:
        size = f"{screen.width} x {screen.height} pixels"
        raise InputError(f"the {region} is not within the screen of {size}: X + W and Y + H must not exceed them")
    return screen.crop((left, upper, right, lower))


def window(say: Callable[[str], None]) -> "Picture":
    """What is on the screen where the window is that the person clicks, with its frame. Raises `InputError`."""
    place = _clicked(say)
    screen = whole()
    left, upper, right, lower = _box(place)
    box = max(0, left), max(0, upper), min(right, screen.width), min(lower, screen.height)
    if box[0] >= box[2] or box[1] >= box[3]:
        raise InputError("that window is not on the screen: click one that is")
    return screen.crop(box)


def _display() -> str:
    """The name of the X screen. Raises `InputError` if there is none that shows what the person sees."""
    if os.environ.get("WAYLAND_DISPLAY"):
        raise InputError(
            "Wayland (WAYLAND_DISPLAY is set) lets no program read the screen: take the picture with the desktop's own "
            "key, then attach the file, or copy it and take it from the clipboard"
        )
    if display := os.environ.get("DISPLAY"):
        return display
    raise InputError(f"there is no screen here (DISPLAY is not set): {_FILE}")


def _clicked(say: Callable[[str], None]) -> Region:
    """Where the window is that the person clicks. Raises `InputError`."""
    _display()
    if shutil.which("xwininfo") is None:
        install = "install it (Debian and Ubuntu: apt-get install x11-utils)"
        raise InputError(f"a window is clicked in xwininfo, which is not here: {install}, or give a region")
    say(_PICK)
    try:
        done = run("xwininfo", "-frame", seconds=None)
        found = _PLACE.search(done.stdout)
        if done.returncode or found is None:
            raise ProgramFault(said(done))
    except ProgramFault as fault:
        raise InputError(f"no window can be clicked ({fault}): give a region, or {_FILE}") from None
    return Region(*map(int, found.groups()))


def _box(region: Region) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge, as Pillow counts them."""
    return region.x, region.y, region.x + region.width, region.y + region.height
