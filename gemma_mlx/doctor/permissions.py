"""What macOS lets this terminal record, asked without recording anything.

`microphone()` and `screen()` ask in a child process, because a wrong call into Objective-C ends the process that makes
it. The right belongs to the app that the terminal runs in, which the child shares. Knows system calls: not what to
advise. Nothing here has run on a Mac: written from Apple's documentation of `authorizationStatusForMediaType:` and
`CGPreflightScreenCaptureAccess`.
"""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal

Permission = Literal["allowed", "denied", "restricted", "not asked", "unknown"]
_STATUS: tuple[Permission, ...] = ("not asked", "restricted", "denied", "allowed")  # AVAuthorizationStatus 0 … 3
_FRAMEWORKS = "/System/Library/Frameworks"


def microphone() -> Permission:
    """Whether this terminal may record sound. If it may not, macOS delivers silence and no error."""
    return _in_child("microphone")


def screen() -> Permission:
    """Whether this terminal may record the screen; "denied" may also mean that nobody asked yet, or be out of date."""
    return _in_child("screen")


def microphone_here() -> Permission:
    """As `microphone`, in this process."""
    ctypes.CDLL(f"{_FRAMEWORKS}/AVFoundation.framework/AVFoundation")
    objc = ctypes.CDLL("/usr/lib/libobjc.A.dylib")
    for function in (objc.objc_getClass, objc.sel_registerName):
        function.argtypes, function.restype = [ctypes.c_char_p], ctypes.c_void_p

    def send(result: Any, receiver: bytes, selector: bytes, argument: Any) -> Any:
        """A message with one pointer as its argument, sent to a class."""
        types = (ctypes.c_void_p, ctypes.c_void_p, type(argument))
        call = ctypes.cast(objc.objc_msgSend, ctypes.CFUNCTYPE(result, *types))
        return call(objc.objc_getClass(receiver), objc.sel_registerName(selector), argument)

    sound = send(ctypes.c_void_p, b"NSString", b"stringWithUTF8String:", ctypes.c_char_p(b"soun"))  # AVMediaTypeAudio
    asked = b"authorizationStatusForMediaType:"
    return permission(send(ctypes.c_long, b"AVCaptureDevice", asked, ctypes.c_void_p(sound)))


def screen_here() -> Permission:
    """As `screen`, in this process."""
    graphics = ctypes.CDLL(f"{_FRAMEWORKS}/CoreGraphics.framework/CoreGraphics")
    graphics.CGPreflightScreenCaptureAccess.restype = ctypes.c_bool
    return "allowed" if graphics.CGPreflightScreenCaptureAccess() else "denied"


def permission(status: int) -> Permission:
    """The name of an AVAuthorizationStatus."""
    return _STATUS[status] if 0 <= status < len(_STATUS) else "unknown"


_HERE: dict[str, Callable[[], Permission]] = {"microphone": microphone_here, "screen": screen_here}


def _in_child(what: str) -> Permission:
    """What another Python says; -P, because the current directory may hold modules of anybody."""
    command = [sys.executable, "-P", "-m", "gemma_mlx.doctor.permissions", what]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    said = run.stdout.strip()
    return next((each for each in _STATUS if each == said), "unknown")


if __name__ == "__main__":
    print(_HERE[sys.argv[1]]())
