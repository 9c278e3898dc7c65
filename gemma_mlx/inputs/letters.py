"""Letters that stand alone, a digit or a short word, in a picture in which no line of text is found.

A mark is a group of sharp steps with nothing near it, in whose rows there are strokes that are narrow for its height.
Of other things small icons and framed buttons are taken for marks, which costs a small part of the picture each; more
than a few such groups are taken for a pattern. A bare stroke, as of an I, is not a mark. Knows pixels, not what becomes
of them. Source: written for this package.
"""

from dataclasses import dataclass

import numpy as np

from gemma_mlx.inputs import steps
from gemma_mlx.inputs.detail import Text

_CELL = 8  # pixels; steps in cells with at most one between them sideways, and none upwards, belong together
_MOST_STEPS = 2**17  # more are a pattern
_MOST_CELLS = 3000  # with steps in them, likewise
_MOST = 6  # marks
_LOWEST, _HIGHEST = 8, 60  # pixels
_NARROWEST, _WIDEST = 0.25, 8.0  # times the height
_CROSSED = 0.8  # of its rows have a stroke
_STROKE = 0.4  # width of at least half of the strokes, times the height, at most
_ROW = 2**16  # cells, in the number of a cell
_NEAR = tuple(_ROW * down + right for down in (-1, 0, 1) for right in (-2, -1, 0, 1, 2))


def find(pixels: np.ndarray) -> Text:
    """The marks in uint8 (h, w, 3), each as a line of text of its own; none where there are more than a few."""
    grey, factor = steps.grey(pixels), 1
    while grey.size > steps.LARGEST:
        grey, factor = steps.halved(grey), 2 * factor
    if min(grey.shape) < 2:
        return Text()
    across, down = steps.sharp(grey), steps.sharp(grey.T).T
    if np.count_nonzero(across) + np.count_nonzero(down) > _MOST_STEPS:
        return Text()
    rows, columns = np.nonzero(across)
    cells_across, cells_down = _cell(rows, columns), _cell(*np.nonzero(down))
    cells = np.union1d(cells_across, cells_down)
    if len(cells) > _MOST_CELLS:
        return Text()
    group = _groups(cells)[np.searchsorted(cells, cells_across)]
    edges = _Edges(rows, columns, grey[rows, columns + 1] > grey[rows, columns])
    boxes = [box for number in np.unique(group) if (box := _mark(edges.of(group == number)))]
    if not 0 < len(boxes) <= _MOST:
        return Text()
    lines = np.array(boxes, np.int64)
    heights = (lines[:, 3] - lines[:, 1]).astype(float)
    share = float(((lines[:, 2] - lines[:, 0]) * heights).sum()) / grey.size
    return Text(factor * float(heights.min()), share, factor * lines, factor * heights)


@dataclass(frozen=True, eq=False)
class _Edges:
    """Pixels with a sharp step to the one on their right, in the order of reading, and whether that is lighter."""

    rows: np.ndarray
    columns: np.ndarray
    lighter: np.ndarray

    def of(self, kept: np.ndarray) -> "_Edges":
        return _Edges(self.rows[kept], self.columns[kept], self.lighter[kept])


def _cell(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    number: np.ndarray = rows // _CELL * _ROW + columns // _CELL
    return number


def _groups(cells: np.ndarray) -> np.ndarray:
    """For each cell, all of which differ, the number of the group that it is in."""
    number: dict[int, int] = {}
    left = set(cells.tolist())
    for group, first in enumerate(cells.tolist()):
        edge = list({first} & left)
        left.discard(first)
        while edge:
            cell = edge.pop()
            number[cell] = group
            near = {cell + offset for offset in _NEAR} & left
            left -= near
            edge += near
    return np.array([number[cell] for cell in cells.tolist()], np.int64)


def _mark(edges: _Edges) -> tuple[int, int, int, int] | None:
    """The box around edges if they are those of letters."""
    rows, columns = edges.rows, edges.columns
    left, top, right, bottom = int(columns.min()) + 1, int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    height, width = bottom - top, right - left
    if not (_LOWEST <= height <= _HIGHEST and _NARROWEST * height <= width <= _WIDEST * height):
        return None
    # Between two edges, one to darker and one to lighter, there is a stroke, or what is left free by strokes.
    stroke = (rows[1:] == rows[:-1]) & (edges.lighter[1:] != edges.lighter[:-1])
    if len(np.unique(rows[1:][stroke])) < _CROSSED * height:
        return None
    thin = np.median((columns[1:] - columns[:-1])[stroke]) <= _STROKE * height
    return (left, top, right, bottom) if thin else None
