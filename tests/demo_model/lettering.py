"""One line of text as a mask: how dark each pixel is, and where the middle of each character came to lie.

Knows fonts, spacing and turning. Does not know colours or what is behind the text. Source: written for this model.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from . import fonts


@dataclass(frozen=True)
class Lettering:
    """A font (None: Pillow's own), the height of its capitals in pixels, and how the characters stand.

    `spacing` is added between characters, in parts of `cap`; `angle` turns the line, in degrees against the clock.
    With a `pitch` above 0, characters are centred in cells of so many pixels, from the left edge on.
    """

    font: str | None
    cap: float
    spacing: float = 0.0
    angle: float = 0.0
    pitch: float = 0.0


@dataclass(frozen=True)
class Line:
    """`mask` is a Pillow picture of mode L; `centres` float (n, 2), the x and y of each character's middle in it."""

    mask: Image.Image
    centres: np.ndarray
    text: str


def draw(text: str, style: Lettering) -> Line:
    """Letter `text`, cut to its ink; without a pitch the mask starts at the ink of the first character."""
    font = fonts.load(style.font, style.cap)
    boxes = [font.getbbox(character) for character in text]
    if style.pitch:
        starts = [style.pitch * (i + 0.5) - (left + right) / 2 for i, (left, _, right, _) in enumerate(boxes)]
        origin = 0.0
    else:
        gap = style.spacing * style.cap
        starts = [
            font.getlength(text[: i + 1]) - font.getlength(character) + i * gap for i, character in enumerate(text)
        ]
        origin = min(start + box[0] for start, box in zip(starts, boxes, strict=True)) - 1
    top = min(box[1] for box in boxes) - 1
    right = max(start + box[2] for start, box in zip(starts, boxes, strict=True)) - origin + 1
    mask = Image.new("L", (math.ceil(right), math.ceil(max(box[3] for box in boxes) - top + 1)))
    pen = ImageDraw.Draw(mask)
    for start, character in zip(starts, text, strict=True):
        pen.text((start - origin, -top), character, fill=255, font=font)
    centres = [
        (start - origin + (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 - top)
        for start, box in zip(starts, boxes, strict=True)
    ]
    line = Line(mask, np.array(centres), text)
    return _turned(line, style.angle) if style.angle else line


def _turned(line: Line, angle: float) -> Line:
    mask = line.mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = (line.centres - np.array(line.mask.size) / 2).T
    middle = np.array(mask.size) / 2
    return Line(mask, np.stack([x * cosine + y * sine, y * cosine - x * sine], axis=1) + middle, line.text)
