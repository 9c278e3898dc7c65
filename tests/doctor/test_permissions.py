"""The calls into macOS, on stand-ins with the C signatures that Apple documents: what is called with what."""

import ctypes
import os
import sys
from pathlib import Path

import pytest

from gemma_mlx.doctor import permissions
from tests.doctor.scripts import path_with

WIDE = 0x1_0000_0000  # pointers beyond 32 bits, which a wrong return type would cut
CLASSES = {b"NSString": WIDE + 1, b"AVCaptureDevice": WIDE + 2}
SELECTORS = {b"stringWithUTF8String:": WIDE + 11, b"authorizationStatusForMediaType:": WIDE + 12}
SOUND = WIDE + 21
POINTER, TEXT = ctypes.c_void_p, ctypes.c_char_p


class ObjectiveC:
    """libobjc of a Mac where recording sound has this status."""

    def __init__(self, status: int) -> None:
        def send(receiver: int, selector: int, argument: int) -> int:
            if (receiver, selector) == (CLASSES[b"NSString"], SELECTORS[b"stringWithUTF8String:"]):
                return SOUND if ctypes.string_at(argument) == b"soun" else 0
            asked = (CLASSES[b"AVCaptureDevice"], SELECTORS[b"authorizationStatusForMediaType:"], SOUND)
            return status if (receiver, selector, argument) == asked else 99

        self.objc_getClass = ctypes.CFUNCTYPE(POINTER, TEXT)(CLASSES.__getitem__)
        self.sel_registerName = ctypes.CFUNCTYPE(POINTER, TEXT)(SELECTORS.__getitem__)
        self.objc_msgSend = ctypes.CFUNCTYPE(POINTER, POINTER, POINTER, POINTER)(send)


class CoreGraphics:
    """CoreGraphics of a Mac where the screen may be recorded or not."""

    def __init__(self, allowed: bool) -> None:
        self.CGPreflightScreenCaptureAccess = ctypes.CFUNCTYPE(ctypes.c_bool)(lambda: allowed)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(0, "not asked"), (1, "restricted"), (2, "denied"), (3, "allowed"), (4, "unknown"), (-1, "unknown")],
)
def test_microphone_asks_av_capture_device_about_sound(
    status: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def library(path: str) -> ObjectiveC:
        opened.append(path)
        return ObjectiveC(status)

    monkeypatch.setattr(ctypes, "CDLL", library)
    assert permissions.microphone_here() == expected
    assert [Path(path).name for path in opened] == ["AVFoundation", "libobjc.A.dylib"]


@pytest.mark.parametrize(("allowed", "expected"), [(True, "allowed"), (False, "denied")])
def test_screen_asks_core_graphics(allowed: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda path: CoreGraphics(allowed))
    assert permissions.screen_here() == expected


def test_a_child_answers_for_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    said = (
        '[ "$1 $2 $3" = "-P -m gemma_mlx.doctor.permissions" ] && [ "$4" = microphone ] && echo denied || echo allowed'
    )
    path_with(tmp_path, python=said)
    assert permissions.microphone() == "denied"
    assert permissions.screen() == "allowed"
    path_with(tmp_path, python="kill -SEGV $$")
    assert permissions.microphone() == "unknown"
    path_with(tmp_path, python="echo something else")
    assert permissions.screen() == "unknown"
    os.unlink(sys.executable)
    assert permissions.screen() == "unknown"


@pytest.mark.skipif(sys.platform == "darwin", reason="the frameworks are there")
def test_without_the_frameworks_nothing_is_known() -> None:
    assert permissions.microphone() == permissions.screen() == "unknown"
    with pytest.raises(OSError, match="AVFoundation"):
        permissions.microphone_here()
    with pytest.raises(OSError, match="CoreGraphics"):
        permissions.screen_here()


@pytest.mark.skipif(sys.platform == "darwin", reason="it would ask the system")
def test_the_child_imports_nothing_from_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gemma_mlx").mkdir()
    (tmp_path / "ctypes.py").write_text("print('allowed')\nraise SystemExit")
    (tmp_path / "gemma_mlx" / "__init__.py").write_text("print('allowed')\nraise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert permissions.screen() == "unknown"
