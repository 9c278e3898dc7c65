"""Findings about the microphone and the screen: whether the system would let this terminal record them.

Knows facts as plain values: not how they were found. macOS gives a right to the app that the terminal runs in, and
delivers silence or an empty desktop without it, with no error.
"""

from gemma_mlx.doctor.finding import Finding
from gemma_mlx.doctor.permissions import Permission

_APPS = {"Apple_Terminal": "Terminal", "iTerm.app": "iTerm", "vscode": "Visual Studio Code", "WezTerm": "WezTerm"}


def app(terminal: str | None) -> str:
    """How macOS calls the app of this terminal, from `TERM_PROGRAM`."""
    return _APPS.get(terminal or "", "your terminal")


def microphone(permission: Permission, app: str) -> Finding:
    """The right to record sound on macOS."""
    advice = f"allow {app} in System Settings > Privacy & Security > Microphone, then quit and reopen it"
    match permission:
        case "allowed":
            return Finding("microphone", "ok", f"{app} may record")
        case "not asked":
            return Finding("microphone", "ok", f"macOS asks {app} when it records for the first time")
        case "denied":
            return Finding("microphone", "warning", f"{app} may not record: macOS gives it silence", advice)
        case "restricted":
            advice = "ask who manages this Mac, or see Screen Time's restrictions"
            return Finding("microphone", "warning", "a profile or Screen Time forbids recording", advice)
        case "unknown":
            return Finding("microphone", "warning", f"macOS does not say whether {app} may record", advice)


def screen(permission: Permission, app: str) -> Finding:
    """The right to record the screen on macOS. A "denied" can be out of date, so it is never more than a warning."""
    advice = (
        f"allow {app} in System Settings > Privacy & Security > Screen & System Audio Recording, "
        "then quit and reopen it"
    )
    if permission == "allowed":
        return Finding("screen", "ok", f"{app} may record it")
    if permission == "denied":
        return Finding("screen", "warning", f"{app} may not record it: pictures show an empty desktop", advice)
    return Finding("screen", "warning", f"macOS does not say whether {app} may record it", advice)


def portaudio(found: bool) -> Finding:
    """The library that records on Linux."""
    if found:
        return Finding("microphone", "ok", "PortAudio is installed")
    return Finding("microphone", "warning", "PortAudio is not installed", "apt install libportaudio2 to record")


def display(name: str | None) -> Finding:
    """The screen on Linux."""
    if name:
        return Finding("screen", "ok", f"display {name}")
    return Finding("screen", "warning", "no display", "set DISPLAY or WAYLAND_DISPLAY to take pictures of the screen")
