"""How fine the text in a picture is, and the soft tokens that it therefore needs.

Text is what alternates sharply along rows of pixels, stands on level ground, with level ground above and below, and
lies on a line. It is looked for in the picture and in halves of it, so that letters of 4 to 140 pixels come in the same
few sizes. Knows pixels, sizes and the published sizing rule (`inputs.image`): no file, no model, no clock. What it
takes for text has been tried on rendered pages, screenshots, photos and noise; `tests/demo_model/detail_check.py`
measures what the choice costs in answers. Written letters, text that is turned by more than a few degrees and
letters of 3 pixels are not found. Source: written for this package.
"""

from dataclasses import dataclass, field

import numpy as np

from gemma_mlx.inputs import steps
from gemma_mlx.inputs.image import BUDGETS, PATCH, target_size

LEGIBLE = 16.0
"""Height of capitals in pixels after the resize that can be read: the smallest that the demo model learns."""
PREFERRED = (280, 560, 1120)
"""Budgets to choose from; smaller ones are for a context or memory without room for these."""
MARKERS = 2
"""Tokens around the soft tokens of a picture."""

_CELL = 32  # pixels along a row whose steps are counted together
_LEAST, _MOST = (5, 8), 18  # heights to look for, in pixels of the whole picture and of its halves
_HALVINGS = 3
_STEPS = 5.0  # sharp steps in a row of a cell, at least: a frame or a bar has 2 to 4
_AROUND = 0.3  # faint steps above and below, as a share of the sharp ones, at most
_WITHIN = 0.6  # faint steps between the letters, as a share of the sharp ones, at most
_SHARE = 0.1  # of all that alternates so sharply that must be text, or what looks like it is chance
_SMALLEST = 0.15  # of all letters: fewer small ones do not count


@dataclass(frozen=True, eq=False)
class Text:
    """The text of a picture. `height` of capitals in pixels, of the smallest text, 0 without any; `share` of the
    picture that is text; `lines` int (n, 4), left, top, right and bottom of each piece of a line; `heights` float (n,)
    of their capitals."""

    height: float = 0.0
    share: float = 0.0
    lines: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    heights: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Limits:
    """What a choice keeps to. `room`: tokens left in the context; `most`: the largest picture that memory is planned
    for, in soft tokens; `legible`: height of capitals that can be read, in pixels after the resize; `budgets`: soft
    tokens to choose from, ascending."""

    room: int
    most: int = BUDGETS[-1]
    legible: float = LEGIBLE
    budgets: tuple[int, ...] = PREFERRED


@dataclass(frozen=True)
class Choice:
    """`budget` for `inputs.image.resize`, the `tokens` that the picture then takes, markers included, and why."""

    budget: int
    tokens: int
    reason: str


NO_TEXT, LARGE_TEXT, SMALL_TEXT = "no small text in it", "its text is large enough", "for small text"
NO_ROOM = "too few for its small text: the context has no room for more"
NO_MEMORY = "too few for its small text: memory is planned for no more"


def choose(size: tuple[int, int], text: Text, limits: Limits) -> Choice:
    """The smallest budget at which `text` can be read in a picture of `size` (height, width); the largest that fits
    where none is enough. Without room for any, the smallest, which the context then refuses."""
    fitting = [budget for budget in limits.budgets if _fits(size, budget, limits)]
    if not fitting:
        smaller = [budget for budget in BUDGETS if budget < limits.budgets[0] and _fits(size, budget, limits)]
        fitting = smaller[-1:] or [BUDGETS[0]]
    for budget in fitting:
        if not text.height:
            return Choice(budget, cost(size, budget), NO_TEXT)
        if text.height * scale(size, budget) >= limits.legible:
            reason = LARGE_TEXT if budget <= limits.budgets[0] else SMALL_TEXT
            return Choice(budget, cost(size, budget), reason)
    reason = SMALL_TEXT
    if fitting[-1] < limits.budgets[-1]:
        larger = next(budget for budget in BUDGETS if budget > fitting[-1])
        reason = NO_MEMORY if larger > limits.most else NO_ROOM
    return Choice(fitting[-1], cost(size, fitting[-1]), reason)


def scale(size: tuple[int, int], budget: int) -> float:
    """How much larger a picture of `size` (height, width) becomes, along the side that grows less."""
    height, width = target_size(*size, budget)
    return min(height / size[0], width / size[1])


def cost(size: tuple[int, int], budget: int) -> int:
    """Tokens of a picture of `size` (height, width) in the context."""
    height, width = target_size(*size, budget)
    return height * width // PATCH**2 + MARKERS


def _fits(size: tuple[int, int], budget: int, limits: Limits) -> bool:
    return budget <= limits.most and cost(size, budget) <= limits.room


def measure(pixels: np.ndarray) -> Text:
    """The text in uint8 (h, w, 3), at the size in which it was taken: boxes are no tighter than 32 pixels sideways, and
    a few small letters beside many others do not count for the height."""
    grey, factor = steps.grey(pixels), 1
    while grey.size > steps.LARGEST:
        grey, factor = steps.halved(grey), 2 * factor
    found = []
    for halving in range(_HALVINGS + 1):
        lines, heights = _lines(grey, _LEAST[min(halving, 1)])
        found.append((lines * factor, (heights - 1) * factor))  # of the first and the last row half is not ink
        grey, factor = steps.halved(grey), 2 * factor
    return _summed(found, (pixels.shape[0], pixels.shape[1]))


def _summed(found: list[tuple[np.ndarray, np.ndarray]], size: tuple[int, int]) -> Text:
    """What the levels found, each where no finer one did."""
    grid = np.zeros((-(-size[0] // 8), -(-size[1] // 8)), bool)  # of 8 x 8 pixels
    kept = []
    for lines, heights in found:
        lines = np.minimum(lines, [size[1], size[0], size[1], size[0]])
        first = _covered(grid, lines) < 0.5
        kept.append((lines[first], heights[first]))
        grid |= _painted(grid.shape, lines[first])
    lines = np.concatenate([each[0] for each in kept])
    heights = np.concatenate([each[1] for each in kept])
    if not len(heights):
        return Text()
    order = np.argsort(heights, kind="stable")
    letters = np.cumsum(((lines[:, 2] - lines[:, 0]) / heights)[order])
    height = heights[order][np.searchsorted(letters, _SMALLEST * letters[-1])]
    return Text(float(height), float(grid.mean()), lines, heights)


def _corners(shape: tuple[int, ...], lines: np.ndarray) -> tuple[np.ndarray, ...]:
    """Left, top, right and bottom in squares of 8, of which each box has at least one."""
    left, top = lines[:, 0] // 8, lines[:, 1] // 8
    right, bottom = np.minimum(-(-lines[:, 2] // 8), shape[1]), np.minimum(-(-lines[:, 3] // 8), shape[0])
    return left, top, right, bottom


def _painted(shape: tuple[int, ...], lines: np.ndarray) -> np.ndarray:
    left, top, right, bottom = _corners(shape, lines)
    corners = np.zeros((shape[0] + 1, shape[1] + 1), np.int32)
    for rows, columns, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(corners, (rows, columns), sign)
    painted: np.ndarray = corners.cumsum(0).cumsum(1)[:-1, :-1] > 0
    return painted


def _covered(grid: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Share of each box that is painted."""
    sums = np.pad(grid.astype(np.int32).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    left, top, right, bottom = _corners(grid.shape, lines)
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    share: np.ndarray = inside / np.maximum(1, (right - left) * (bottom - top))
    return share


def _steps(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many sharp and how many faint steps there are in each cell of 32 pixels, uint8 (columns of cells, rows + 2),
    with an empty row above and below."""
    found = []
    for kind in steps.sharp_and_faint(grey):
        bits = np.packbits(kind, axis=1)
        padded = np.pad(bits, ((1, 1), (0, -bits.shape[1] % (_CELL // 8))))
        found.append(np.ascontiguousarray(np.bitwise_count(padded.view(np.uint32)).T))
    return found[0], found[1]


@dataclass(frozen=True, eq=False)
class _Runs:
    """Rows of cells with letters, one below the other, in the flat array of `_steps`: first and last + 1; the sharp and
    faint steps in them, and faint ones in the rows around them, as if there were as many of those."""

    start: np.ndarray
    stop: np.ndarray
    sharp: np.ndarray
    faint: np.ndarray
    around: np.ndarray

    def of(self, kept: np.ndarray) -> "_Runs":
        return _Runs(self.start[kept], self.stop[kept], self.sharp[kept], self.faint[kept], self.around[kept])


def _lines(grey: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes, int (n, 4), and heights, int (n,), of the pieces of lines of text from `least` to 18 pixels high."""
    nothing = np.zeros((0, 4), np.int64), np.zeros(0, np.int64)
    if grey.shape[0] < least or grey.shape[1] < 2:
        return nothing
    sharp, faint = _steps(grey)
    runs = _runs(sharp.ravel(), faint.ravel())
    lengths = runs.stop - runs.start
    dense = int(runs.sharp[(lengths >= 3) & (runs.sharp >= _STEPS * lengths)].sum())
    runs = runs.of((lengths >= least) & (lengths <= 1.4 * _MOST))  # what hangs below a line belongs to the run
    if not len(runs.start):
        return nothing
    previous = _previous(runs, sharp.shape[1])
    lines, heights, text = _chained(runs, previous, sharp.shape[1])
    text &= (heights >= least) & (heights <= _MOST)
    if runs.sharp[text[_chain_of(previous)]].sum() < _SHARE * dense:
        return nothing
    return lines[text], heights[text]


def _runs(sharp: np.ndarray, faint: np.ndarray) -> _Runs:
    letters = sharp >= 2  # a stroke has two edges
    ends = np.flatnonzero(letters[1:] != letters[:-1]) + 1
    start, stop = ends[::2], ends[1::2]
    all_sharp, all_faint = (np.concatenate([[0], np.cumsum(each, dtype=np.int64)]) for each in (sharp, faint))
    length = stop - start
    beside = np.maximum(1, length // 8)
    above = all_faint[start] - all_faint[np.maximum(start - beside, 0)]
    below = all_faint[np.minimum(stop + beside, len(faint))] - all_faint[stop]
    inside = all_sharp[stop] - all_sharp[start]
    return _Runs(
        start,
        stop,
        inside,
        all_faint[stop] - all_faint[start] - inside,
        (above + below) * length / (2 * beside),
    )


def _previous(runs: _Runs, column: int) -> np.ndarray:
    """For each run the one to its left on the same line, or itself: each at the height of the other's middle."""

    def beside(offset: int) -> np.ndarray:
        middle = (runs.start + runs.stop) // 2 + offset
        at = np.searchsorted(runs.start, middle, side="right") - 1
        return np.where((at >= 0) & (runs.stop[at] > middle), at, -1)

    left, right, own = beside(-column), beside(column), np.arange(len(runs.start))
    return np.where((left >= 0) & (right[left] == own), left, own)


def _chain_of(previous: np.ndarray) -> np.ndarray:
    """The number of the line of each run, by its leftmost run."""
    while not np.array_equal(further := previous[previous], previous):
        previous = further
    number: np.ndarray = np.unique(previous, return_inverse=True)[1]
    return number


def _chained(runs: _Runs, previous: np.ndarray, column: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each line its box, its height, and whether it is like text. Three in ten of its runs begin at the
    head of the line or above it, and three in ten end at its foot or above: as many have tall letters, or none that
    hang below the line."""
    chain = _chain_of(previous)
    top, bottom, left = runs.start % column - 1, runs.stop % column - 1, runs.start // column * _CELL
    counts = np.bincount(chain)
    first = np.cumsum(counts) - counts

    def ranked(values: np.ndarray, places: np.ndarray) -> np.ndarray:
        return values[np.lexsort((values, chain))][first + places]

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(chain, values)

    last = counts - 1
    heights = ranked(bottom, last * 3 // 10) - ranked(top, last * 3 // 10)
    lines = np.stack([ranked(left, 0 * last), ranked(top, 0 * last), ranked(left, last), ranked(bottom, last)], axis=1)
    lines[:, 2] += _CELL
    sharp = total(runs.sharp)
    text = sharp >= _STEPS * total(runs.stop - runs.start)
    text &= total(runs.around) <= _AROUND * sharp
    text &= total(runs.faint) <= _WITHIN * sharp
    # From one cell to the next letters differ at the top or at the bottom, hardly ever at both.
    off = np.minimum(np.abs(top - top[previous]), np.abs(bottom - bottom[previous]))
    text &= ranked(off, counts // 2) <= 1 + 0.1 * heights
    return lines, heights, text
