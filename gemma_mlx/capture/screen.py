"""The screen, a part of it or a window as a picture, whatever the system. `macos` and `x11` know how.

A picture comes as the system gives it, in its own pixels and maybe with transparent corners; what becomes of it is not
known here.
"""

import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from gemma_mlx.capture import macos, x11
from gemma_mlx.capture.region import Region

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

View = Region | Literal["screen", "window"]


def grab(view: View, say: Callable[[str], None]) -> "Picture":
    """What is seen. A window is clicked by the person, whom `say` tells so. Raises `InputError` if there is no such
    view, if nobody clicks a window, or if the screen may not be read."""
    mac = platform.system() == "Darwin"
    if isinstance(view, Region):
        return macos.part(view) if mac else x11.part(view)
    if view == "window":
        return macos.window(say) if mac else x11.window(say)
    return macos.whole() if mac else x11.whole()
