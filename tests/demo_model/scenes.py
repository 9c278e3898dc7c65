"""What is behind a text: desktops with windows, plain grounds, and busy ones with noise, gradients or soft shapes.

Each scene leaves the box of the text free of edges; nothing in it can be read. The embedder normalises each patch, so a
patch of one grey is all zeros: most grounds are exactly neutral. Does not know text or patches. Source: written for
this model.
"""

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Size = tuple[int, int]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""
Colour = tuple[int, int, int]
Scene = Callable[[random.Random, Size, Box], Image.Image]

_GREYS = (0, 12, 24, 30, 40, 48, 64, 128, 192, 220, 235, 240, 245, 250, 255)


def neutral(rng: random.Random) -> Colour:
    return (rng.choice((255, 255, 255, 0, *_GREYS, rng.randrange(256))),) * 3


def tinted(rng: random.Random) -> Colour:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def ground(rng: random.Random) -> Colour:
    """The colour of a surface: neutral four times in five."""
    return neutral(rng) if rng.random() < 0.8 else tinted(rng)


def beside(rng: random.Random, colour: Colour) -> Colour:
    """A colour that stands out a little from `colour`, neutral where that is."""
    step = rng.choice((-1, 1)) * rng.randint(12, 70)
    if sum(colour) < 180 or sum(colour) > 585:
        step = abs(step) if sum(colour) < 180 else -abs(step)
    red, green, blue = (max(0, min(255, value + step)) for value in colour)
    return red, green, blue


def gradient(size: Size, first: Colour, last: Colour, upright: bool) -> Image.Image:
    ends = Image.new("RGB", (1, 2) if upright else (2, 1), first)
    ends.putpixel((0, 1) if upright else (1, 0), last)
    return ends.resize(size, Image.Resampling.BILINEAR)


def plain(rng: random.Random, size: Size, box: Box) -> Image.Image:
    """A ground of one colour, now and then with a plate behind the text, a frame, or shapes away from it."""
    unit = _unit(size)
    canvas = Image.new("RGB", size, ground(rng))
    pen = ImageDraw.Draw(canvas)
    if rng.random() < 0.25:
        _shapes(rng, pen, size, box)
    if rng.random() < 0.2:
        margin = unit * rng.uniform(4, 24)
        area = (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin)
        outline = ground(rng) if rng.random() < 0.5 else None
        pen.rounded_rectangle(area, unit * rng.choice((0, 4, 12)), ground(rng), outline, round(unit * 2))
    if rng.random() < 0.1:
        pen.rectangle(
            (0, 0, size[0] - 1, size[1] - 1), outline=ground(rng), width=max(1, round(unit * rng.uniform(1, 4)))
        )
    return canvas


def busy(rng: random.Random, size: Size, box: Box) -> Image.Image:
    """Noise, a gradient, or soft blots of colour as in a photo out of focus."""
    kind = rng.choice(("noise", "gradient", "blots", "blots"))
    first = tinted(rng) if rng.random() < 0.5 else neutral(rng)
    if kind == "gradient":
        canvas = gradient(size, first, beside(rng, first) if rng.random() < 0.6 else ground(rng), rng.random() < 0.5)
    elif kind == "blots":
        cells = rng.randint(2, 12), rng.randint(2, 9)
        spread = rng.uniform(5, 60)
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, spread, (cells[1], cells[0], 3))
        small = np.clip(np.array(first) * 0.8 + 25 + noise, 0, 255).astype(np.uint8)
        canvas = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    else:
        canvas = Image.new("RGB", size, first)
    if rng.random() < 0.3:
        _shapes(rng, ImageDraw.Draw(canvas), size, box)
    return grainy(rng, canvas, rng.uniform(1, 14)) if kind == "noise" or rng.random() < 0.3 else canvas


def grainy(rng: random.Random, canvas: Image.Image, spread: float) -> Image.Image:
    """Grain of a standard deviation of `spread` levels; a tile of it is repeated."""
    width, height = canvas.size
    generator = np.random.default_rng(rng.getrandbits(32))
    tile = generator.normal(0, spread, (min(height, 197), min(width, 211), 1 if rng.random() < 0.5 else 3))
    grain = np.tile(tile.round().astype(np.int16), (-(-height // 197), -(-width // 211), 1))[:height, :width]
    return Image.fromarray(np.clip(np.asarray(canvas) + grain, 0, 255).astype(np.uint8))


def window(rng: random.Random, size: Size, box: Box) -> Image.Image:
    """A desktop with a window, a dialog or a terminal around the text."""
    unit = _unit(size)
    if rng.random() < 0.25:
        canvas = gradient(size, tinted(rng), tinted(rng), rng.random() < 0.5)
    else:
        canvas = Image.new("RGB", size, ground(rng))
    pen = ImageDraw.Draw(canvas)
    if rng.random() < 0.4:
        _shapes(rng, pen, size, box)
    terminal = rng.random() < 0.3
    panel = (rng.choice((0, 12, 24, 30, 40, 255)),) * 3 if terminal else ground(rng)
    frame = _frame(rng, size, box, unit)
    radius = unit * rng.choice((0, 0, 5, 10))
    pen.rounded_rectangle(frame, radius, panel, beside(rng, panel), max(1, round(unit * rng.choice((1, 1, 2)))))
    _title(rng, pen, frame, (box, unit, radius), panel)
    inner = (frame[0] + 12 * unit, frame[1] + 8 * unit, frame[2] - 12 * unit, frame[3] - 10 * unit)
    if terminal or rng.random() < 0.5:
        _bars(rng, pen, inner, (box, unit), beside(rng, panel))
    if not terminal:
        _controls(rng, pen, inner, (box, unit), panel)
    return canvas


def _unit(size: Size) -> float:
    """How many pixels a step of the furniture is: windows grow with the picture."""
    return max(0.6, min(size) / 420)


def _frame(rng: random.Random, size: Size, box: Box, unit: float) -> Box:
    """The outline of a window around the text, within the picture or over its edges."""
    if rng.random() < 0.2:
        return (-9 * unit, -9 * unit, size[0] + 9 * unit, size[1] + 9 * unit)
    room = (box[0], box[1], size[0] - box[2], size[1] - box[3])
    left, top, right, bottom = (6 * unit + rng.random() * max(0.0, side) for side in room)
    return (box[0] - left, box[1] - top - 20 * unit * rng.random(), box[2] + right, box[3] + bottom)


def _title(
    rng: random.Random, pen: ImageDraw.ImageDraw, frame: Box, where: tuple[Box, float, float], panel: Colour
) -> None:
    """A title bar with its buttons, where there is room for it above the text."""
    box, unit, radius = where
    height = min(unit * rng.uniform(14, 34), box[1] - frame[1] - 2 * unit)
    if height < 8 * unit or rng.random() < 0.15:
        return
    bar = ground(rng) if rng.random() < 0.5 else beside(rng, panel)
    area = (frame[0], frame[1], frame[2], frame[1] + height)
    pen.rounded_rectangle(area, min(radius, height / 2), bar, corners=(True, True, False, False))
    side, middle = height * rng.uniform(0.3, 0.5), frame[1] + height / 2
    if rng.random() < 0.5:
        colours = ((255, 95, 87), (254, 188, 46), (40, 200, 64)) if rng.random() < 0.5 else (beside(rng, bar),) * 3
        for index, colour in enumerate(colours):
            x = frame[0] + height * (0.6 + 0.7 * index)
            pen.ellipse((x - side / 2, middle - side / 2, x + side / 2, middle + side / 2), colour)
        return
    for index in range(rng.randint(1, 3)):
        x = frame[2] - height * (0.6 + index)
        pen.rectangle((x - side / 2, middle - side / 2, x + side / 2, middle + side / 2), outline=beside(rng, bar))


def _free(area: Box, box: Box, unit: float) -> bool:
    """Whether `area` keeps away from the text and is an area at all."""
    gap = 0.35 * (box[3] - box[1]) + 2 * unit
    apart = area[2] < box[0] - gap or area[0] > box[2] + gap or area[3] < box[1] - gap or area[1] > box[3] + gap
    return apart and area[2] - area[0] > 2 and area[3] - area[1] > 1


def _bars(rng: random.Random, pen: ImageDraw.ImageDraw, inner: Box, where: tuple[Box, float], colour: Colour) -> None:
    """Lines of text too small to be any, as bars."""
    box, unit = where
    pitch = unit * rng.uniform(10, 26)
    y = inner[1] + pitch * rng.random()
    thick = pitch * rng.uniform(0.15, 0.5)
    while y < inner[3] - thick:
        if rng.random() < 0.75:
            area = (inner[0], y, inner[0] + (inner[2] - inner[0]) * rng.uniform(0.15, 1), y + thick)
            if _free(area, box, unit):
                pen.rounded_rectangle(area, thick / 2 if rng.random() < 0.5 else 0, colour)
        y += pitch


def _controls(
    rng: random.Random, pen: ImageDraw.ImageDraw, inner: Box, where: tuple[Box, float], panel: Colour
) -> None:
    """Buttons below, a rule, and an icon left of the text."""
    box, unit = where
    height, right = unit * rng.uniform(14, 30), inner[2]
    for _ in range(rng.randint(0, 3)):
        width = unit * rng.uniform(40, 90)
        area = (right - width, inner[3] - height, right, inner[3])
        if area[0] > inner[0] and area[1] > inner[1] and _free(area, box, unit):
            fill = ground(rng) if rng.random() < 0.4 else beside(rng, panel)
            pen.rounded_rectangle(area, unit * rng.choice((0, 4, 8)), fill, beside(rng, fill))
            bar = (area[0] + width * 0.25, area[1] + height * 0.42, area[2] - width * 0.25, area[1] + height * 0.58)
            pen.rectangle(bar, beside(rng, fill))
        right -= width + 8 * unit
    y = rng.uniform(inner[1], max(inner[1], inner[3]))
    if rng.random() < 0.3 and _free((inner[0], y, inner[2], y + 2), box, unit):
        pen.line((inner[0], y, inner[2], y), beside(rng, panel), max(1, round(unit)))
    side = unit * rng.uniform(18, 48)
    icon = (inner[0], (box[1] + box[3] - side) / 2, inner[0] + side, (box[1] + box[3] + side) / 2)
    if rng.random() < 0.5 and icon[1] > inner[1] and _free(icon, box, unit):
        _shape(rng, pen, icon, tinted(rng))


def _shapes(rng: random.Random, pen: ImageDraw.ImageDraw, size: Size, box: Box) -> None:
    """A few blocks, discs and lines anywhere but at the text."""
    for _ in range(rng.randint(1, 5)):
        width, height = size[0] * rng.uniform(0.02, 0.5), size[1] * rng.uniform(0.02, 0.5)
        left, top = rng.uniform(-width / 2, size[0]), rng.uniform(-height / 2, size[1])
        area = (left, top, left + width, top + height)
        if _free(area, box, _unit(size)):
            _shape(rng, pen, area, ground(rng))


def _shape(rng: random.Random, pen: ImageDraw.ImageDraw, area: Box, colour: Colour) -> None:
    kind = rng.choice(("disc", "block", "triangle"))
    if kind == "disc":
        pen.ellipse(area, colour)
    elif kind == "block":
        pen.rectangle(area, colour)
    else:
        pen.polygon(((area[0], area[3]), (area[2], area[3]), ((area[0] + area[2]) / 2, area[1])), colour)
