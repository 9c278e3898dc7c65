"""Endless lines and crops, put together while they are learnt from: what patches need to tell characters.

Lines of a pool are known by heart after some twenty times (91 % of their characters, and 78 % of new ones). Here some
thousand strips of characters, lettered once, come together anew each time: places, colours and grounds are drawn.
Labels are those of `lines` and of `pool_files`. Source: written for this model.
"""

import io
import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from gemma_mlx.inputs.image import PATCH

from . import lettering, scenes, strings
from .examples import GLYPH_SLOTS, IMAGE, Media
from .lettering import Lettering
from .lines import BINS
from .pictures import CAPS, Families
from .strings import CHARACTERS

LENGTH = 10  # characters of a strip of a line
_EDGE = 2.0  # pixels: so near to the next sixth or row of patches, a character may as well be told to be there
_SMALLEST = 9.0  # as in `pictures`
_SMALL, _LARGE = 24.0, 38.0  # pixels of a capital: below and above, texts are hardest to tell
_SHRUNK = (0.25, 0.9)  # how much smaller a text is in the picture that a part was cut from
_GROUNDS, _GROUND_SIZE = 160, (768, 240)
_CONTRAST = 60
_GREY = np.array([0.299, 0.587, 0.114])  # what of each channel people see as brightness


@dataclass(frozen=True, eq=False)
class Strip:
    """`ink` uint8 (h, w), how dark each pixel is; the x and y (n,) of the middle of each character in it."""

    text: str
    ink: np.ndarray
    x: np.ndarray
    y: np.ndarray
    cap: float

    @property
    def labels(self) -> list[int]:
        return [1 + CHARACTERS.index(character) for character in self.text]

    def shrunk(self, factor: float) -> "Strip":
        """The same with capitals of `factor` times the height."""
        height, width = self.ink.shape
        size = max(1, round(width * factor)), max(1, round(height * factor))
        ink = np.asarray(Image.fromarray(self.ink).resize(size, Image.Resampling.BICUBIC))
        return Strip(self.text, ink, self.x * size[0] / width, self.y * size[1] / height, self.cap * factor)


def strip(rng: random.Random, font: str | None, text: str) -> Strip:
    """The text as a font sets it, resized as pictures are."""
    (span,) = rng.choices((CAPS, (CAPS[0], _SMALL), (_LARGE, CAPS[1])), (0.4, 0.4, 0.2))
    cap = rng.uniform(*span)
    softness = math.exp(rng.uniform(math.log(0.4), math.log(2.6)))
    natural = max(cap / softness, _SMALLEST)
    softness = cap / natural
    angle = rng.uniform(-2, 2) if rng.random() < 0.1 else 0.0
    style = Lettering(font, natural, rng.uniform(0, 0.25) if rng.random() < 0.3 else 0.0, angle)
    drawn = lettering.draw(text, style)
    mask = drawn.mask
    if rng.random() < 0.1:
        mask = mask.filter(ImageFilter.GaussianBlur(mask.height * rng.uniform(0.01, 0.03)))
    size = max(1, round(mask.width * softness)), max(1, round(mask.height * softness))
    ink = np.asarray(mask.resize(size, Image.Resampling.BICUBIC))
    x, y = (drawn.centres * np.divide(size, mask.size)).T
    return Strip(text, ink, x, y, cap)


class Strips:
    """Draws lines and crops; `count` strips for either, in the fonts of `families`, and grounds follow from `seed`."""

    def __init__(self, families: Families, seed: int, count: int) -> None:
        rng = random.Random(f"{seed} strips")
        lines = ["".join(rng.choices(CHARACTERS, k=LENGTH)) for _ in range(count)]
        texts = [strings.draw(rng, "train") for _ in range(count)]
        self.strips, self.texts = (
            [strip(rng, rng.choice(families[rng.choice(sorted(families))]), text) for text in each]
            for each in (lines, texts)
        )
        nowhere = (-4000.0, -4000.0, -3990.0, -3990.0)
        kinds = [scenes.busy, scenes.busy, scenes.plain, scenes.window]
        drawn = (rng.choice(kinds)(rng, _GROUND_SIZE, nowhere) for _ in range(_GROUNDS))
        self.grounds = [np.asarray(each.convert("RGB")) for each in drawn]

    def draw(self, rng: random.Random) -> Media:
        """A line of a few patches, one or two high."""
        columns, rows = rng.randint(5, 10), rng.choice((1, 2))
        return self._shown(rng, *self._inked(rng, columns, rows))

    def crop(self, rng: random.Random) -> tuple[Media, str]:
        """A text within a few patches, and what it says."""
        one = rng.choice(self.texts)
        return self._within(rng, one, _margins(rng)), one.text

    def zoomed(self, rng: random.Random) -> tuple[Media, Media, str]:
        """A picture in which a text is small, perhaps too small to be read, its part with the text, and the text."""
        one = rng.choice(self.texts)
        overview = self._within(rng, one.shrunk(rng.uniform(*_SHRUNK)), (rng.randint(2, 14), rng.randint(1, 8)))
        return overview, self._within(rng, one, _margins(rng)), one.text

    def _within(self, rng: random.Random, one: Strip, around: tuple[int, int]) -> Media:
        """The strip somewhere in a picture with so many columns and rows more than it needs."""
        tall, wide = one.ink.shape
        columns, rows = -(-wide // PATCH) + around[0], -(-tall // PATCH) + around[1]
        ink = np.zeros((rows * PATCH, columns * PATCH), np.uint8)
        labels = np.zeros((rows * columns, GLYPH_SLOTS + 1), np.int64)
        x, y = rng.randint(0, columns * PATCH - wide), rng.randint(0, rows * PATCH - tall)
        ink[y : y + tall, x : x + wide] = one.ink
        at = (one.y + y).astype(int) // PATCH * columns + (one.x + x).astype(int) // PATCH
        for index, (patch, label) in enumerate(zip(at, one.labels, strict=True)):
            before = np.count_nonzero(labels[patch, :-1])
            if before < GLYPH_SLOTS:
                labels[patch, before] = label
                labels[patch, -1] = labels[patch, -1] if before else index
        if one.cap < CAPS[0]:
            labels[labels.any(1)] = -100  # nothing can be asked of them
        return self._shown(rng, ink, labels)

    def _shown(self, rng: random.Random, ink: np.ndarray, labels: np.ndarray) -> Media:
        """The ink on a ground, cut into patches, from a random corner."""
        rows, columns = ink.shape[0] // PATCH, ink.shape[1] // PATCH
        canvas, plain = self._coloured(rng, ink)
        if rng.random() < 0.08:
            canvas = _compressed(rng, canvas)
        patches = canvas.reshape(rows, PATCH, columns, PATCH, 3).swapaxes(1, 2).reshape(rows * columns, -1)
        kept = np.ones(rows * columns, bool)
        if plain:
            kept = ink.reshape(rows, PATCH, columns, PATCH).any((1, 3)).ravel() | labels.any(1)
        places = np.flatnonzero(kept)
        down, across = np.divmod(np.arange(rows * columns), columns)
        positions = np.stack([across + rng.randint(0, 40), down + rng.randint(0, 40)], 1)
        text = f"<|image>{IMAGE}<image|>"
        return Media(text, (len(kept),), positions=positions, patches=patches[places], places=places, labels=labels)

    def _inked(self, rng: random.Random, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """How dark each pixel is, uint8 (48 rows, 48 columns), and what stands where, int64 (patches, BINS)."""
        height, width = rows * PATCH, columns * PATCH
        ink, bins = np.zeros((height, width), np.uint8), np.zeros((rows * columns, BINS), np.int64)
        ceiling, top = 0, round(rng.uniform(0, 0.6) * height)
        while ceiling < height:
            left, deepest = -rng.random() * PATCH, 0
            while left < width:
                fitting = (one for one in rng.choices(self.strips, k=4) if ceiling + len(one.ink) <= height)
                if (one := next(fitting, None)) is None:
                    break
                y = max(ceiling, min(top, height - len(one.ink)))
                _put(ink, bins, one, (round(left), y))
                left += one.ink.shape[1] + rng.uniform(0.2, 1) * one.cap
                deepest = max(deepest, y + len(one.ink))
            if not deepest:
                break
            ceiling = top = deepest + rng.randint(2, 30)
        return ink, bins

    def _coloured(self, rng: random.Random, ink: np.ndarray) -> tuple[np.ndarray, bool]:
        """Pixels uint8 (h, w, 3), and whether what is behind is of one grey."""
        height, width = ink.shape
        if rng.random() < 0.3 and width <= _GROUND_SIZE[0] and height <= _GROUND_SIZE[1]:
            ground = rng.choice(self.grounds)
            y, x = rng.randint(0, _GROUND_SIZE[1] - height), rng.randint(0, _GROUND_SIZE[0] - width)
            ground = ground[y : y + height, x : x + width]
            low, high = np.percentile(ground[::7, ::7] @ _GREY, (2, 98))
            if low > 60 or high < 195:
                behind = ground.astype(np.int16)
                further = np.array(_colour(rng, low, high), np.int16) - behind
                return (behind + further * (ink[..., None] / np.float32(255))).astype(np.uint8), False
        one = scenes.ground(rng)
        grey = float(_GREY @ one)
        table = np.linspace(one, _colour(rng, grey, grey), 256).round().astype(np.uint8)
        return table[ink], len(set(one)) == 1


def _margins(rng: random.Random) -> tuple[int, int]:
    """Columns and rows around a text that a picture was cut down to."""
    return rng.choice((0, 0, 1, 1, 2, 4)), rng.choice((0, 0, 1, 1, 2))


def _put(ink: np.ndarray, bins: np.ndarray, one: Strip, corner: tuple[int, int]) -> None:
    """The strip with its left top in that corner, as far as it lies within."""
    width, (x, y) = ink.shape[1], corner
    first, last = max(0, -x), min(one.ink.shape[1], width - x)
    part = ink[y : y + one.ink.shape[0], x + first : x + last]
    np.maximum(part, one.ink[:, first:last], out=part)
    _label(bins, width // PATCH, one, corner)


def _label(bins: np.ndarray, columns: int, one: Strip, corner: tuple[int, int]) -> None:
    """Write down where the characters are, and -100 beside those which might as well be there."""
    sixth = PATCH / BINS
    for x, y, label in zip(one.x + corner[0], one.y + corner[1], one.labels, strict=True):
        if not 0 <= x < columns * PATCH:
            continue
        for near_x, near_y in ((x - _EDGE, y), (x + _EDGE, y), (x, y - _EDGE), (x, y + _EDGE)):
            row, column, place = int(near_y // PATCH), int(near_x // PATCH), int(near_x % PATCH // sixth)
            if 0 <= row < len(bins) // columns and 0 <= column < columns:
                at = row * columns + column, place
                bins[at] = bins[at] or -100
        bins[int(y // PATCH) * columns + int(x // PATCH), int(x % PATCH // sixth)] = label


def _colour(rng: random.Random, low: float, high: float) -> tuple[int, int, int]:
    """A colour that stands out from greys of `low` to `high`."""
    contrast = rng.uniform(_CONTRAST, 180)
    for _ in range(20):
        colour = scenes.neutral(rng) if rng.random() < 0.5 else scenes.tinted(rng)
        grey = float(_GREY @ colour)
        if grey < low - contrast or grey > high + contrast:
            return colour
    return (0, 0, 0) if low > 255 - high else (255, 255, 255)


def _compressed(rng: random.Random, canvas: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, "JPEG", quality=rng.randint(40, 95))
    return np.asarray(Image.open(file))
