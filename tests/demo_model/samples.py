"""The picture and the recordings that ship with the demo model, and are shown by `gemma-mlx demo`.

    python -m tests.demo_model.samples DIRECTORY

Spoken by the `espeak-ng` program, drawn in a font of the system. Knows no model: what should be answered is in
`gemma_mlx.demo`. Source: made for this model.
"""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gemma_mlx.inputs import audio

CODE = "E404"
SPOKEN = {"recording.wav": "red, seven, stop", "question.wav": "which number"}
SIZE = (640, 400)  # pixels; within 280 tokens it is read at 1008 × 624, so everything grows by 1.6
_GLYPHS = 36  # pixels of the font: capitals of 26, read at 41
_VOICE, _SPEED, _GAP = "en-us", 140, 4  # the gap between words in 10 ms
_RATE = 16000
_DESKTOP, _WINDOW, _BAR, _RED, _BUTTON = "#3b6ea5", "#f4f4f4", "#dcdcdc", "#c8281e", "#e6e6e6"
_FONTS = ("DejaVuSans-Bold.ttf", "LiberationSans-Bold.ttf")


def picture(code: str = CODE) -> Image.Image:
    """A dialog window with a title bar, an icon, a large code and a button; the code is the only text."""
    canvas = Image.new("RGB", SIZE, _DESKTOP)
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle((110, 70, 530, 330), 10, fill=_WINDOW, outline="#707070")
    pen.rounded_rectangle((110, 70, 530, 104), 10, fill=_BAR, corners=(True, True, False, False))
    pen.ellipse((123, 80, 137, 94), fill="#ec6a5e")  # more in a row are as sharp and level as letters
    pen.ellipse((160, 155, 220, 215), fill=_RED)
    pen.rounded_rectangle((174, 180, 206, 190), 3, fill="white")
    pen.text((262, 185), code, font=_font(_GLYPHS), fill="#202020", anchor="lm")
    pen.rounded_rectangle((420, 270, 510, 306), 6, fill=_BUTTON, outline="#909090")
    pen.rectangle((443, 285, 487, 291), fill="#404040")
    return canvas


def spoken(text: str) -> np.ndarray:
    """What espeak-ng says: int16 (n,) at 16 kHz, with a quarter of a second of silence around it."""
    command = ["espeak-ng", "--stdout", "-v", _VOICE, "-s", str(_SPEED), "-g", str(_GAP), text]
    samples = audio.decode(subprocess.run(command, capture_output=True, check=True).stdout, name="espeak-ng")
    around = np.pad(samples / np.abs(samples).max() * 0.8, _RATE // 4)
    return np.round(around * 32767).astype("<i2")


def write(directory: Path) -> None:
    """Write `picture.png`, `recording.wav` and `question.wav`."""
    directory.mkdir(parents=True, exist_ok=True)
    picture().save(directory / "picture.png", optimize=True)
    for name, text in SPOKEN.items():
        with wave.open(str(directory / name), "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(_RATE)
            writer.writeframes(spoken(text).tobytes())


def _font(size: int) -> ImageFont.FreeTypeFont:
    """The first font that is installed. Raises OSError if none is."""
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    raise OSError(f"none of these fonts is installed: {', '.join(_FONTS)}")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
