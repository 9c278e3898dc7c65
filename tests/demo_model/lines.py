"""Lines full of characters, growing harder: what teaches patches to tell characters, whatever their place and size.

    python -m tests.demo_model.lines --count 50000 --out DIR

A reply of a few letters says little about where they are. Here nearly every patch holds a character, and its label
says which one has its middle in which sixth of the patch's width. The pool goes from one character in the middle of
each patch, by offsets, pitch and size, to lines set as fonts set them. Files by patch: `patches.raw` uint8 (M, 6912);
`places` uint8 (M, 2); `bins` uint8 (M, 6), 0 = none, else 1 + the index in `strings.CHARACTERS`; by line: `starts`
int64, `grids` uint8. Source: written for this model.
"""

import argparse
import math
import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gemma_mlx.inputs import image

from . import fonts, lettering, scenes
from .lettering import Lettering
from .pictures import CAPS, Families, painted, stretched
from .pool_files import blank
from .strings import CHARACTERS

BINS = 6
_LOOSE = 0.5  # where lines begin to be set as fonts set them
_CHUNK = 512


@dataclass(frozen=True)
class Line:
    """One line, its fields as in the files."""

    patches: np.ndarray
    places: np.ndarray
    bins: np.ndarray
    grid: tuple[int, int]


def line(rng: random.Random, font: str | None, level: float) -> Line:
    """A line of difficulty `level` in [0, 1], a few patches long and one or two high."""
    columns, rows = rng.randint(5, 10), 1 if rng.random() > level else 2
    softness = math.exp(rng.uniform(math.log(0.7), math.log(1.6)))
    width, height = round(columns * image.PATCH / softness), round(rows * image.PATCH / softness)
    patch = width / columns
    freedom = min(1.0, level / _LOOSE)
    if level < _LOOSE:
        pitch = patch * rng.uniform(1 - 0.45 * freedom, 1 + 0.1 * freedom)
        cap = rng.uniform(24 - 6 * freedom, 44) / softness
        style = Lettering(font, _fitted(font, cap, pitch), pitch=pitch)
        left = patch * freedom * rng.uniform(-0.5, 0.5)
        middle = (rng.randrange(rows) + 0.5 + freedom * rng.uniform(-0.5, 0.5)) * height / rows
    else:
        pitch, cap = 0.0, max(rng.uniform(*CAPS) / softness, 8)
        style = Lettering(font, cap, rng.uniform(0, 0.25) if rng.random() < 0.3 else 0.0)
        left = -patch * rng.random()
        middle = rng.uniform(0.3, height / patch - 0.3) * patch
    count = math.ceil((width - left) / (pitch or 0.55 * cap))
    lettered = lettering.draw("".join(rng.choices(CHARACTERS, k=count)), style)
    top = round(middle - float(np.median(lettered.centres[:, 1])))
    top = max(0, min(top, height - lettered.mask.height))  # half a character is none
    scene = scenes.plain if rng.random() < 0.75 else scenes.busy
    painting = painted(rng, "x", lettered, ((width, height), (round(left), top)), scene)
    return cut(stretched(painting.pixels, (columns, rows)), painting.centres * softness, lettered.text, (columns, rows))


def _fitted(font: str | None, cap: float, pitch: float) -> float:
    """The cap height at which the widest character fits the pitch."""
    ink = fonts.load(font, cap)
    boxes = [ink.getbbox(character) for character in CHARACTERS]
    return cap * min(1.0, 0.95 * pitch / max(box[2] - box[0] for box in boxes))


def cut(pixels: np.ndarray, centres: np.ndarray, text: str, grid: tuple[int, int]) -> Line:
    """Patches that are not of one grey, with the characters whose middles lie in them."""
    columns, rows = grid
    patches, places = image.patches(pixels)
    bins = np.zeros((len(patches), BINS), np.uint8)
    for (x, y), character in zip(centres, text, strict=True):
        if 0 <= x < columns * image.PATCH and 0 <= y < rows * image.PATCH:
            at = int(y // image.PATCH) * columns + int(x // image.PATCH)
            bins[at, int(x % image.PATCH * BINS // image.PATCH)] = 1 + CHARACTERS.index(character)
    kept = ~blank(patches) | bins.any(1)
    return Line(patches[kept], places[kept].astype(np.uint8), bins[kept], grid)


def render(count: int, seed: int, families: Families, index: int) -> Line:
    """Line `index` of a pool of `count`."""
    rng = random.Random(f"{seed} lines {index}")
    return line(rng, rng.choice(families[rng.choice(sorted(families))]), index / count)


def drawn(count: int, seed: int, families: Families, processes: int) -> Iterator[Line]:
    """The lines of a pool in order."""
    job = partial(render, count, seed, families)
    if processes < 2:
        yield from map(job, range(count))
        return
    with ProcessPoolExecutor(processes) as workers:
        for start in range(0, count, _CHUNK):
            yield from workers.map(job, range(start, min(count, start + _CHUNK)), chunksize=16)


def write(folder: Path, lines: Iterable[Line]) -> None:
    """Write a pool; READY is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    places, bins, starts, grids = [], [], [0], []
    with (folder / "patches.raw").open("wb") as file:
        for one in lines:
            file.write(np.ascontiguousarray(one.patches).tobytes())
            places.append(one.places)
            bins.append(one.bins)
            starts.append(starts[-1] + len(one.places))
            grids.append(one.grid)
    np.save(folder / "places.npy", np.concatenate(places))
    np.save(folder / "bins.npy", np.concatenate(bins))
    np.save(folder / "starts.npy", np.array(starts, np.int64))
    np.save(folder / "grids.npy", np.array(grids, np.uint8))
    (folder / "READY").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args()
    write(chosen.out, drawn(chosen.count, chosen.seed, fonts.available("train"), chosen.processes))


if __name__ == "__main__":
    main()
