"""What `ask` and `chat` take from the screen and the clipboard, when they are asked to.

Knows how a source is called and what macOS says about the right to see it: not how it is read, nor what becomes of the
picture.
"""

import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from gemma_mlx.capture import clipboard, macos, screen
from gemma_mlx.capture.region import Region
from gemma_mlx.commands.shared import ended_by_signals
from gemma_mlx.doctor import permissions
from gemma_mlx.errors import InputError

if TYPE_CHECKING:
    from gemma_mlx.capture.screen import Picture

Source = screen.View | Literal["clipboard"]


def look(source: Source, say: Callable[[str], None]) -> "Picture":
    """The picture, as it is now. `say` gets what the person should do or know. Raises `InputError`."""
    with ended_by_signals():  # so that a file made on the way is gone then, too
        if source == "clipboard":
            return clipboard.grab()
        picture = screen.grab(source, say)
    if platform.system() == "Darwin" and permissions.screen() == "denied":  # which may be out of date: it is read first
        say(macos.NOT_ALLOWED)
    return picture


def named(words: str) -> screen.View:
    """What the words after /screen mean. Raises `InputError`."""
    match words.split(maxsplit=1):
        case []:
            return "screen"
        case ["window"]:
            return "window"
        case ["region", rest]:
            return Region.parse(rest)
        case _ if "," in words:
            return Region.parse(words)
    raise InputError("/screen takes window, a region X,Y,W,H, or nothing: /screen window")
