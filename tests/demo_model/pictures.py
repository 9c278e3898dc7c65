"""Pictures of one short text, made to be read: screenshots, plain pictures and busy ones, and crops of such.

`python -m tests.demo_model.pictures --count N --seed 1 --out DIR [--split held_out] [--crops]` renders a pool of them
(`pool_files`). Whole pictures take the product's way to patches, `gemma_mlx.inputs.image`. Does not know questions or
replies. Source: written for this model.
"""

import argparse
import io
import math
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from gemma_mlx.inputs import image

from . import fonts, lettering, pool_files, scenes, strings
from .lettering import Lettering, Line
from .pool_files import Sample

SCENES = {scenes.window: 0.45, scenes.plain: 0.35, scenes.busy: 0.2}
BUDGETS = {
    "train": {70: 0.62, 140: 0.2, 280: 0.14, 560: 0.03, 1120: 0.01},
    "held_out": {70: 0.27, 140: 0.27, 280: 0.27, 560: 0.13, 1120: 0.06},
}
"""Soft-token budgets and their shares."""
CAPS = (16.0, 48.0)
"""Height of capitals after the resize, in pixels."""
LONGEST = {"train": 8, "held_out": 6}
TEXTLESS = 0.05
Families = Mapping[str, tuple[str | None, ...]]
"""Paths of the fonts of each family; None is the font that Pillow carries."""
_SMALLEST = 9.0  # height of a capital in the picture as it was taken, below which fonts fall apart
_PROPORTIONS = (16 / 9, 16 / 9, 16 / 10, 4 / 3, 3 / 2, 1.0, 3 / 4, 9 / 16, 9 / 16, 9 / 19.5)  # width to height


@dataclass(frozen=True)
class Painting:
    """`pixels` uint8 (h, w, 3); `centres` float (n, 2), x and y of the middle of each character of `text`."""

    pixels: np.ndarray
    centres: np.ndarray
    text: str

    def resized(self, pixels: np.ndarray) -> "Painting":
        """The same with `pixels` of another size."""
        factors = np.array(pixels.shape[1::-1]) / np.array(self.pixels.shape[1::-1])
        return Painting(pixels, self.centres * factors, self.text)


def paint(rng: random.Random, text: str, style: Lettering, size: tuple[int, int]) -> Painting:
    """A picture of `size` (width, height) that shows `text` somewhere; without text, nothing that can be read.

    Raises `ValueError` for a text that does not fit.
    """
    line = lettering.draw(text or "EMPTY"[: rng.randint(1, 5)], style)
    room = size[0] - line.mask.width, size[1] - line.mask.height
    if min(room) < 0:
        raise ValueError(f"{text} takes {line.mask.size} pixels of {size}")
    (scene,) = rng.choices(tuple(SCENES), tuple(SCENES.values()))
    return painted(rng, text, line, (size, (rng.randint(0, room[0]), rng.randint(0, room[1]))), scene)


def painted(
    rng: random.Random, text: str, line: Line, where: tuple[tuple[int, int], tuple[int, int]], scene: scenes.Scene
) -> Painting:
    """The text on its scene; `where` is the size of the picture, and left and top of the mask in it."""
    size, (left, top) = where
    box = (left, top, left + line.mask.width, top + line.mask.height)
    canvas = scene(rng, size, box)
    if text:
        canvas.paste(_ink(rng, canvas, box), (left, top), line.mask)
    if rng.random() < 0.1:
        canvas = canvas.filter(ImageFilter.GaussianBlur(line.mask.height * rng.uniform(0.01, 0.03)))
    if rng.random() < (0.5 if scene is scenes.busy else 0.06):
        file = io.BytesIO()
        canvas.save(file, "JPEG", quality=rng.randint(40, 95))
        canvas = Image.open(file)
    centres = np.add(line.centres, (left, top)) if text else np.zeros((0, 2))
    return Painting(np.asarray(canvas), centres, text)


def _ink(rng: random.Random, canvas: Image.Image, box: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """A colour at least 60 grey levels from what is in the box; where there is none, the box becomes a plate."""
    low, high = np.percentile(np.asarray(canvas.crop(box).convert("L")), (2, 98))
    if low < 60 and high > 195:
        ImageDraw.Draw(canvas).rectangle(box, scenes.ground(rng))
        return _ink(rng, canvas, box)
    contrast = rng.uniform(60, 180)
    for _ in range(30):
        colour = scenes.neutral(rng) if rng.random() < 0.5 else scenes.tinted(rng)
        grey = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        if grey < low - contrast or grey > high + contrast:
            return colour
    return (0, 0, 0) if low > 255 - high else (255, 255, 255)


def whole(rng: random.Random, text: str, font: str | None, budget: int) -> Painting:
    """A picture as it is taken, resized to a budget of soft tokens; its capitals are then `CAPS` high, or nearly."""
    while True:
        width, height = _natural_size(rng, budget)
        target, _ = image.target_size(height, width, budget)
        scale = target / height
        cap = max(rng.uniform(*CAPS) / scale, _SMALLEST)
        style = _style(rng, font, cap)
        line = lettering.draw(text or "EMPTY", style)
        fit = min(width / line.mask.width, height / line.mask.height)
        cap *= min(1.0, 0.96 * fit)  # sizes of glyphs are rounded: a little room for that
        if CAPS[0] <= cap * scale <= CAPS[1] and cap >= _SMALLEST:
            break
    painting = paint(rng, text, replace(style, cap=cap), (width, height))
    return painting.resized(image.resize(painting.pixels, budget))


def _natural_size(rng: random.Random, budget: int) -> tuple[int, int]:
    """Width and height of a screenshot, a photo or a small cut of one, no longer than 2000 pixels."""
    while True:
        shape = rng.uniform(1.8, 4) if rng.random() < 0.1 else rng.choice(_PROPORTIONS)
        scale = math.exp(rng.uniform(math.log(0.3), math.log(2.6)))
        area = budget * image.PATCH**2 / scale**2
        width, height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if max(width, height) <= 2000:
            return width, height


def _style(rng: random.Random, font: str | None, cap: float) -> Lettering:
    angle = rng.uniform(-2, 2) if rng.random() < 0.15 else 0.0
    return Lettering(font, cap, rng.uniform(0, 0.25) if rng.random() < 0.3 else 0.0, angle)


def crop(rng: random.Random, text: str, font: str | None) -> Painting:
    """What `whole` would show in 2 to 10 by 1 to 3 patches around the text, made at once."""
    while True:
        cap, across = rng.uniform(*CAPS), math.exp(rng.uniform(math.log(0.6), math.log(2)))
        down = across * rng.uniform(0.93, 1.07)
        if cap / down < _SMALLEST:
            continue
        style = _style(rng, font, cap / down)
        mask = lettering.draw(text or "E" * rng.randint(1, 6), style).mask
        columns, rows = math.ceil(mask.width * across / 48), math.ceil(mask.height * down / 48)
        if columns <= 10 and rows <= 3:
            break
    columns = min(10, max(2, columns + rng.choice((0, 0, 1, 1, 2, 4))))
    rows = min(3, rows + rng.choice((0, 0, 1, 1, 2)))
    size = max(mask.width, round(columns * 48 / across)), max(mask.height, round(rows * 48 / down))
    painting = paint(rng, text, style, size) if text else paint(rng, "", replace(style, cap=5), size)
    return painting.resized(stretched(painting.pixels, (columns, rows)))


def easy(rng: random.Random, text: str, font: str | None) -> Painting:
    """A crop with one character in the middle of each patch, from the left edge on."""
    columns, rows = len(text) + rng.choice((0, 0, 1, 2)), rng.choice((1, 1, 1, 1, 2, 3))
    scale = math.exp(rng.uniform(math.log(0.7), math.log(1.6)))
    size = round(columns * 48 / scale), round(rows * 48 / scale)
    pitch, cap = size[0] / columns, rng.uniform(24, 44) / scale
    ink = fonts.load(font, cap)
    widest = max(ink.getbbox(character)[2] - ink.getbbox(character)[0] for character in text)
    line = lettering.draw(text, Lettering(font, cap * min(1.0, 0.95 * pitch / widest), pitch=pitch))
    middle = (rng.randrange(rows) + 0.5) * size[1] / rows
    top = round(middle - float(np.median(line.centres[:, 1])))
    scene = scenes.plain if rng.random() < 0.8 else scenes.busy
    painting = painted(rng, text, line, (size, (0, top)), scene)
    return painting.resized(stretched(painting.pixels, (columns, rows)))


def stretched(pixels: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Pixels at the size of `grid` (columns, rows) of patches, resampled as `image.resize` does."""
    width, height = grid[0] * image.PATCH, grid[1] * image.PATCH
    rows_first = Image.fromarray(pixels).resize((width, pixels.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(rows_first.resize((width, height), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Plan:
    """What a pool is to hold; its first third is `easy` where it is of crops."""

    count: int
    seed: int
    split: str = "train"
    crops: bool = False


def render(plan: Plan, families: Families, index: int) -> Sample:
    """The picture of a pool at `index`, which depends on nothing else than the three."""
    rng = random.Random(f"{plan.seed} {plan.split} {plan.crops} {index}")
    font = rng.choice(families[rng.choice(sorted(families))])
    text = strings.draw(rng, plan.split, LONGEST[plan.split])
    if plan.crops and index < plan.count // 3:
        return pool_files.sample(easy(rng, text, font), 0)
    if rng.random() < TEXTLESS:
        text = ""
    if plan.crops:
        return pool_files.sample(crop(rng, text, font), 0)
    shares = BUDGETS[plan.split]
    (budget,) = rng.choices(tuple(shares), tuple(shares.values()))
    return pool_files.sample(whole(rng, text, font, budget), budget)


def samples(plan: Plan, families: Families, processes: int) -> Iterator[Sample]:
    """All pictures of a plan, in order."""
    job = partial(render, plan, families)
    if processes < 2:
        yield from map(job, range(plan.count))
        return
    with ProcessPoolExecutor(processes) as workers:
        for start in range(0, plan.count, 512):  # not all at once: what is rendered and not yet written is in memory
            yield from workers.map(job, range(start, min(plan.count, start + 512)), chunksize=16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=sorted(fonts.SPLITS), default="train")
    parser.add_argument("--crops", action="store_true")
    parser.add_argument("--processes", type=int, default=1)
    chosen = parser.parse_args()
    plan = Plan(chosen.count, chosen.seed, chosen.split, chosen.crops)
    pool_files.write(chosen.out, samples(plan, fonts.available(plan.split), chosen.processes))


if __name__ == "__main__":
    main()
