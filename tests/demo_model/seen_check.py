"""Held-out pictures in a window of a virtual display and from files: `python -m tests.demo_model.seen_check POOLS`.

Each picture is shown in a window of an X server (`tests.capture.xserver`), somewhere on its screen, and read there with
`gemma-mlx ask --region`; the same pixels are then given as a PNG. An answer is right if it is the text to the letter.
Prints a line of results.
"""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from gemma_mlx.benchmarks.record import append, command, line
from gemma_mlx.inputs.image import PATCH
from tests.capture.xserver import virtual_screen, window
from tests.command import gemma_mlx

from .held_out import SEED
from .pools import PicturePool

SCREEN = (3200, 3200)
QUESTION = "what does it say?"
Shown = tuple[np.ndarray, str]


def pictures(pool: PicturePool, count: int) -> list[Shown]:
    """Of one to six characters: pixels uint8 (h, w, 3), and the text."""
    rng = random.Random(SEED)
    found = [i for i in range(len(pool)) if 0 < len(pool.texts[i]) <= 6]
    rng.shuffle(found)
    return [(pixels(pool, i), pool.texts[i].decode()) for i in found[:count]]


def pixels(pool: PicturePool, i: int) -> np.ndarray:
    """Picture `i`; what the pool left out, patches of one grey, in the middle one."""
    columns, rows = (int(side) for side in pool.grids[i])
    media = pool.media(i, pool.patches[pool.starts[i] : pool.starts[i + 1]])
    patches = np.full((rows * columns, PATCH * PATCH * 3), 128, np.uint8)
    patches[media.places] = media.patches
    return patches.reshape(rows, columns, PATCH, PATCH, 3).swapaxes(1, 2).reshape(rows * PATCH, columns * PATCH, 3)


def reply(*arguments: str | Path) -> str:
    """What the demo model says about it."""
    run = gemma_mlx("ask", *arguments, QUESTION, "--model", "demo", "--temperature", "0")
    assert run.code == 0, run.err
    return run.out.strip()


def budget(shown: np.ndarray) -> tuple[str, str]:
    """The option with which the picture is read at its size."""
    tokens = shown.shape[0] * shown.shape[1] // PATCH**2
    return "--image-tokens", str(next(most for most in (70, 140, 280, 560, 1120) if most >= tokens))


def on_screen(display: str, shown: np.ndarray, rng: random.Random) -> str:
    height, width, _ = shown.shape
    x, y = rng.randint(0, SCREEN[0] - width), rng.randint(0, SCREEN[1] - height)
    with window(display, shown, x, y):
        return reply("--region", f"{x},{y},{width},{height}", *budget(shown))


def from_file(shown: np.ndarray, directory: Path) -> str:
    file = directory / "shown.png"
    Image.fromarray(shown).save(file)
    return reply("-a", file, *budget(shown))


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path, help="directory of the held-out pool of pictures")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    options = parser.parse_args()
    rng, right = random.Random(SEED), {"on_screen": 0, "from_files": 0, "both": 0}
    shown = pictures(PicturePool(options.pools / "pictures_held_out"), options.count)
    with virtual_screen(SCREEN) as display, tempfile.TemporaryDirectory() as directory:
        os.environ["DISPLAY"] = display
        os.environ.pop("WAYLAND_DISPLAY", None)
        for number, (picture, text) in enumerate(shown, 1):
            seen, filed = on_screen(display, picture, rng) == text, from_file(picture, Path(directory)) == text
            right = {name: right[name] + got for name, got in zip(right, (seen, filed, seen and filed), strict=True)}
            print(f"{number} of {len(shown)}: {right}", file=sys.stderr, flush=True)
    fields = {"pictures": len(shown), "right": right}
    append(options.out, line("seen", command("tests.demo_model.seen_check", sys.argv[1:]), fields))


if __name__ == "__main__":
    main()
