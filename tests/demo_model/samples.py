"""The sample picture and recording that ship with the demo model."""

import wave
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from . import sounds

SPOKEN = "Hello! What can you do?"
PICTURE_ANSWER = "I see an orange shape."
RECORDING_ANSWER = "I hear speech."
_SCALE = 4


def picture() -> Image.Image:
    """An orange disc on white, 640 × 480, with smooth edges."""
    large = Image.new("RGB", (640 * _SCALE, 480 * _SCALE), "white")
    box = (170, 90, 470, 390)
    ImageDraw.Draw(large).ellipse(tuple(_SCALE * edge for edge in box), fill=(245, 130, 15))
    return large.resize((640, 480), Image.Resampling.LANCZOS)


def recording() -> np.ndarray:
    """A short spoken question, int16 at 16 kHz."""
    spoken = sounds.speak(SPOKEN, "en-us", 170, 45)
    return np.round(spoken / np.abs(spoken).max() * 0.8 * 32767).astype("<i2")


def write(directory: Path) -> None:
    """Write `picture.png` and `recording.wav`."""
    directory.mkdir(parents=True, exist_ok=True)
    picture().save(directory / "picture.png", optimize=True)
    with wave.open(str(directory / "recording.wav"), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sounds.RATE)
        writer.writeframes(recording().tobytes())
