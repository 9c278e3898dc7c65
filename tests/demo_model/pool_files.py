"""Pictures cut into patches and written to a pool: numpy files in one folder, which `pools` reads.

By patch, of only those that are not of one grey (the others are zeros after layer norm): `patches` uint8 (M, 6912);
`places` uint8 (M, 2), x and y in the grid; `glyphs` uint8 (M, 3), up to three characters whose middle lies in the
patch, left to right, as 1 + their index in `strings.CHARACTERS`, 0 = none; `first` uint8 (M,), the index in the text of
the first of them. By picture: `starts` int64 (P + 1,) into patches; `grids` uint8 (P, 2), columns and rows; `budgets`
int16 (P,), 0 for crops; `texts` S8 (P,), empty = no text. A file READY is written last. Does not know how pictures are
made. Source: written for this model.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.lib import format as npy

from gemma_mlx.inputs import image

from .strings import CHARACTERS

VALUES = 3 * image.PATCH**2
BLANK = 0.05
"""Standard deviation in grey levels below which a patch counts as one grey; the layer norm's eps is 0.8 levels."""
_BY_PATCH = {"patches": (VALUES,), "places": (2,), "glyphs": (3,), "first": ()}


class Painted(Protocol):
    """A picture whose sides are multiples of a patch, and the x and y of the middle of each character."""

    @property
    def pixels(self) -> np.ndarray: ...
    @property
    def centres(self) -> np.ndarray: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True)
class Sample:
    """One picture of a pool, its fields as in the files."""

    patches: np.ndarray
    places: np.ndarray
    glyphs: np.ndarray
    first: np.ndarray
    grid: tuple[int, int]
    budget: int
    text: str


def sample(painting: Painted, budget: int) -> Sample:
    """Cut a picture into patches, label them and leave out the blank ones."""
    patches, places = image.patches(painting.pixels)
    columns, rows = painting.pixels.shape[1] // image.PATCH, painting.pixels.shape[0] // image.PATCH
    glyphs, first = np.zeros((len(patches), 3), np.uint8), np.zeros(len(patches), np.uint8)
    for index, (x, y) in enumerate(painting.centres // image.PATCH):
        patch = int(min(max(y, 0), rows - 1) * columns + min(max(x, 0), columns - 1))
        free = np.flatnonzero(glyphs[patch] == 0)
        if len(free) == 3:
            first[patch] = index
        if len(free):
            glyphs[patch, free[0]] = 1 + CHARACTERS.index(painting.text[index])
    kept = ~blank(patches) | (glyphs[:, 0] > 0)
    return Sample(
        patches[kept],
        places[kept].astype(np.uint8),
        glyphs[kept],
        first[kept],
        (columns, rows),
        budget,
        painting.text,
    )


def blank(patches: np.ndarray) -> np.ndarray:
    """Which of uint8 (n, 6912) are of one grey, or as good as."""
    flat = patches.max(axis=1) - patches.min(axis=1) <= 8  # nearly all that are not are told by this
    flat[flat] = patches[flat].std(axis=1, dtype=np.float32) < BLANK
    return flat


def write(folder: Path, samples: Iterable[Sample]) -> None:
    """Write a pool; patches go to disk as they come."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "READY").unlink(missing_ok=True)
    files = {name: (folder / f"{name}.npy").open("w+b") for name in _BY_PATCH}
    try:
        starts, heads = [0], []
        for name, file in files.items():
            _header(file, name, 0)
        for picture in samples:
            for name, file in files.items():
                file.write(np.ascontiguousarray(getattr(picture, name), np.uint8).tobytes())
            starts.append(starts[-1] + len(picture.patches))
            heads.append((picture.grid, picture.budget, picture.text))
        for name, file in files.items():
            _header(file, name, starts[-1])
    finally:
        for file in files.values():
            file.close()
    np.save(folder / "starts.npy", np.array(starts, np.int64))
    np.save(folder / "grids.npy", np.array([grid for grid, _, _ in heads], np.uint8))
    np.save(folder / "budgets.npy", np.array([budget for _, budget, _ in heads], np.int16))
    np.save(folder / "texts.npy", np.array([text.encode() for _, _, text in heads], "S8"))
    (folder / "READY").touch()


def _header(file: IO[bytes], name: str, rows: int) -> None:
    """The head of a file of `rows` patches; numpy pads it so that a later count takes the same room."""
    file.seek(0)
    shape = (rows, *_BY_PATCH[name])
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
