"""A virtual X server, and windows on it whose every pixel is known.

Windows are drawn through libX11, which Xvfb's own tools depend on, so that nothing else has to be installed.
"""

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

SIZE = (320, 240)
_Z_PIXMAP = 2


@contextmanager
def virtual_screen(size: tuple[int, int] = SIZE) -> Iterator[str]:
    """The name of a screen of that width and height, at a free number."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed (Debian and Ubuntu: apt-get install xvfb)")
    geometry = f"{size[0]}x{size[1]}x24"
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", geometry, "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield f":{server.stdout.readline().strip()}"
        finally:
            server.terminate()


@contextmanager
def window(display: str, pixels: np.ndarray, x: int, y: int) -> Iterator[None]:
    """A window without a frame that shows uint8 (h, w, 3), its upper left corner at that place."""
    height, width, _ = pixels.shape
    bgrx = np.zeros((height, width, 4), np.uint8)
    bgrx[..., 2::-1] = pixels
    data = ctypes.create_string_buffer(bgrx.tobytes(), bgrx.nbytes)
    xlib = _xlib()
    server = xlib.XOpenDisplay(display.encode())
    assert server, display
    try:
        made = xlib.XCreateSimpleWindow(server, xlib.XDefaultRootWindow(server), x, y, width, height, 0, 0, 0)
        xlib.XMapWindow(server, made)
        visual, graphics = xlib.XDefaultVisual(server, 0), xlib.XDefaultGC(server, 0)
        image = xlib.XCreateImage(server, visual, 24, _Z_PIXMAP, 0, data, width, height, 32, 0)
        xlib.XSync(server, False)
        xlib.XPutImage(server, made, graphics, image, 0, 0, 0, 0, width, height)
        xlib.XSync(server, False)
        xlib.XFree(image)  # the struct alone: the data is Python's
        yield
    finally:
        xlib.XCloseDisplay(server)


def _xlib() -> ctypes.CDLL:
    """libX11, with the types that do not fit an int."""
    xlib = ctypes.CDLL("libX11.so.6")
    pointer, whole, number = ctypes.c_void_p, ctypes.c_int, ctypes.c_ulong
    signatures: tuple[tuple[Any, Any, list[Any]], ...] = (
        (xlib.XOpenDisplay, pointer, [ctypes.c_char_p]),
        (xlib.XCloseDisplay, whole, [pointer]),
        (xlib.XDefaultRootWindow, number, [pointer]),
        (xlib.XDefaultVisual, pointer, [pointer, whole]),
        (xlib.XDefaultGC, pointer, [pointer, whole]),
        (xlib.XCreateSimpleWindow, number, [pointer, number, *[whole] * 5, number, number]),
        (xlib.XMapWindow, whole, [pointer, number]),
        (xlib.XCreateImage, pointer, [pointer, pointer, *[whole] * 3, pointer, *[whole] * 4]),
        (xlib.XPutImage, whole, [pointer, number, pointer, pointer, *[whole] * 6]),
        (xlib.XSync, whole, [pointer, whole]),
        (xlib.XFree, whole, [pointer]),
    )
    for function, result, arguments in signatures:
        function.restype, function.argtypes = result, arguments
    return xlib
