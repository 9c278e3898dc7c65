"""What the model is shown of a picture: the whole, or the parts with text too small for one picture, and an overview. A
little text that is small becomes such a part too: enlarged alone, it costs less than enlarging everything.

Parts come before the overview: the demo model reads more that way, though it was trained the other way round. How the
12B would have it is not known.

Parts are cut along gaps between lines and between columns, first those of rows or columns that lie furthest apart, and
come in reading order; a line is cut only where it has no gap at all. Knows boxes of text, sizes and budgets
(`inputs.detail`, `inputs.letters`): not how text is found, and no file. Source: written for this package.
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from gemma_mlx.inputs import detail, letters
from gemma_mlx.inputs.detail import Limits, Text
from gemma_mlx.inputs.image import BUDGETS, PATCH, resize
from gemma_mlx.inputs.message import Image, Part

LOST = 10.0
"""Height of capitals in pixels after the resize to the largest budget, below which a picture is cut."""
COMFORTABLE = 36.0
"""Height of capitals in pixels to which a little small text is enlarged: the demo model reads 36 best of 30, 36, 42."""
TOTAL = 2 * BUDGETS[-1]
"""Most tokens of an overview with its parts."""
OVERVIEW = 280

_WHOLE, _PART = "overview", "part"
_FULL = 0.85  # of a budget: what a part should take of it
_DEPTH = 48  # cuts one inside the other, at most
_NEARLY = 0.8  # of the widest gap: which of such gaps is taken, the middle decides
_WORTHWHILE = 0.75  # of the tokens of one view, that several in its place may take
_CRAMPED = 0.8  # of what is comfortable: text is enlarged below that
_ENLARGED = 4.0  # times, at most: more than was taken cannot be seen
Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels of the picture."""


@dataclass(frozen=True, eq=False)
class View:
    """Something to show: `pixels` uint8 (h, w, 3) as taken, the `budget` to resize them to, the `tokens` that they then
    take, markers included; `box` in the picture; `what` names a part of a picture, and is empty for the whole."""

    pixels: np.ndarray
    budget: int
    tokens: int
    box: Box
    what: str = ""


@dataclass(frozen=True, eq=False)
class Seen:
    """The views of a picture in order, and why there are so many tokens of it."""

    views: tuple[View, ...]
    reason: str

    @property
    def tokens(self) -> int:
        return sum(view.tokens for view in self.views)


def see(pixels: np.ndarray, limits: Limits, total: int = TOTAL) -> Seen:
    """What to show of uint8 (h, w, 3) within `limits`: one view, or parts and an overview with `total` tokens."""
    size = pixels.shape[0], pixels.shape[1]
    text = detail.measure(pixels)
    if not text.height:
        text = letters.find(pixels)
    choice = detail.choose(size, text, limits)
    parts = enlarge(size, text, limits, total) or cut(size, text, limits, total)
    if not parts:
        return Seen((_view(pixels, (0, 0, size[1], size[0]), choice.budget),), choice.reason)
    overview = _view(pixels, (0, 0, size[1], size[0]), OVERVIEW, _WHOLE)
    words = [f"{_PART} {number} of {len(parts)}" for number in range(1, len(parts) + 1)]
    views = (_view(pixels, box, budget, what) for (box, budget), what in zip(parts, words, strict=True))
    return Seen((*views, overview), detail.SMALL_TEXT)


def images(name: str, seen: Seen) -> tuple[Image, ...]:
    """The views as parts of one turn, at the size in which the model sees them."""
    return tuple(
        Image(f"{name}, {view.what}" if view.what else name, resize(view.pixels, view.budget)) for view in seen.views
    )


def goes_on(name: str, after: Part) -> bool:
    """Whether an image of that name shows the same picture as the part `after` which it comes."""
    if not isinstance(after, Image):
        return False
    shown = re.fullmatch(rf"(.*), {_PART} (\d+) of (\d+)", after.name, re.DOTALL)
    if shown is None:
        return False
    picture, number, parts = shown[1], int(shown[2]), int(shown[3])
    return name == (f"{picture}, {_PART} {number + 1} of {parts}" if number < parts else f"{picture}, {_WHOLE}")


def cut(size: tuple[int, int], text: Text, limits: Limits, total: int = TOTAL) -> tuple[tuple[Box, int], ...]:
    """The parts of a picture of `size` (height, width) to show beside an overview, each with its budget; none where
    one picture is enough, or where there is no room for an overview and one part."""
    largest = max((budget for budget in limits.budgets if budget <= limits.most), default=0)
    if not text.height or largest < OVERVIEW or text.height * detail.scale(size, largest) >= LOST:
        return ()
    left = min(limits.room, total) - detail.cost(size, OVERVIEW)
    small = text.heights * detail.scale(size, OVERVIEW) < limits.legible
    lines = _Lines(text.lines[small], text.heights[small])
    needed = min(1.0, limits.legible / text.height)  # larger than it was taken, nothing more can be seen
    parts = _parts(lines, _Cutting(size, needed, limits.most), _DEPTH)
    kept: set[int] = set()
    for number in sorted(range(len(parts)), key=lambda number: -parts[number].letters / parts[number].tokens):
        if parts[number].tokens <= left:
            kept.add(number)
            left -= parts[number].tokens
    return tuple((part.box, part.budget) for number, part in enumerate(parts) if number in kept)


def enlarge(size: tuple[int, int], text: Text, limits: Limits, total: int = TOTAL) -> tuple[tuple[Box, int], ...]:
    """The parts of a picture of `size` (height, width) in which a little small text is comfortable, each with its
    budget; none where it is so in an overview, where all of the picture takes hardly more, or without room for them.
    What is legible is not comfortable yet: it goes by `COMFORTABLE`, whatever the limits call legible."""
    cramped = _CRAMPED * COMFORTABLE
    if not text.height or limits.most < OVERVIEW or text.height * detail.scale(size, OVERVIEW) >= cramped:
        return ()
    enough = (budget for budget in BUDGETS if text.height * detail.scale(size, budget) >= cramped)
    most = min(limits.room, total, int(_WORTHWHILE * detail.cost(size, next(enough, BUDGETS[-1]))))
    small = text.heights * detail.scale(size, OVERVIEW) < cramped
    cutting = _Cutting(size, min(COMFORTABLE / text.height, _ENLARGED), limits.most)
    parts = _parts(_Lines(text.lines[small], text.heights[small]), cutting, _DEPTH)
    shown = tuple((cutting.widened(part.box, part.budget), part.budget) for part in parts)
    tokens = sum(detail.cost((box[3] - box[1], box[2] - box[0]), budget) for box, budget in shown)
    return shown if detail.cost(size, OVERVIEW) + tokens <= most else ()


def words(name: str, seen: Seen, rate: float | None = None) -> str:
    """The choice in a line: what it costs, why, and what would be faster. `rate`: tokens read in a second."""
    *parts, last = seen.views
    cost = f"{seen.tokens:,} tokens"
    if parts:
        cost += f" in {len(parts)} part{'s' * (len(parts) > 1)} and an overview"
    if seen.reason != detail.SMALL_TEXT:
        return f"{name}: {cost}, {seen.reason}"
    seconds = seen.tokens / rate if rate else 0.0
    time = f" (about {max(1, round(seconds))} s here)" if seconds >= 0.5 else ""
    faster = "; --image-tokens 280 is faster" if parts or last.budget > OVERVIEW else ""
    return f"{name}: {cost} {seen.reason}{time}{faster}"


def _view(pixels: np.ndarray, box: Box, budget: int, what: str = "") -> View:
    left, top, right, bottom = box
    part = pixels[top:bottom, left:right]
    return View(part, budget, detail.cost((bottom - top, right - left), budget), box, what)


@dataclass(frozen=True, eq=False)
class _Lines:
    """Boxes int (n, 4) of pieces of lines, and their heights (n,)."""

    boxes: np.ndarray
    heights: np.ndarray

    def of(self, kept: np.ndarray) -> "_Lines":
        return _Lines(self.boxes[kept], self.heights[kept])


@dataclass(frozen=True)
class _Cutting:
    """The picture's height and width, how large its parts must become, and the largest budget of one."""

    size: tuple[int, int]
    needed: float
    most: int

    def part(self, lines: _Lines) -> "_Part | None":
        """What shows these lines, with a little around them; None if that is too much for one picture."""
        margin = max(2, int(np.median(lines.heights) / 2))
        left, top = np.maximum(lines.boxes[:, :2].min(0) - margin, 0).tolist()
        right, bottom = np.minimum(lines.boxes[:, 2:].max(0) + margin, self.size[::-1]).tolist()
        shape = bottom - top, right - left
        for budget in BUDGETS:
            if budget <= self.most and detail.scale(shape, budget) >= self.needed:
                count = float(((lines.boxes[:, 2] - lines.boxes[:, 0]) / lines.heights).sum())
                return _Part((left, top, right, bottom), budget, detail.cost(shape, budget), count)
        return None

    def widened(self, box: Box, budget: int) -> Box:
        """With as much around it as the budget shows at the size that is needed; as it is where nothing is left."""
        left, top, right, bottom = box
        squares = self.needed / PATCH
        least = math.ceil((bottom - top) * squares), math.ceil((right - left) * squares)
        most = min(int(self.size[0] * squares), budget), min(int(self.size[1] * squares), budget)
        sides = (
            (int(rows / squares), int(columns / squares))
            for rows in range(max(1, least[0]), most[0] + 1)
            for columns in range(max(1, least[1]), min(most[1], budget // rows) + 1)
        )
        fitting = [each for each in sides if detail.scale(each, budget) >= self.needed]  # whole squares may be lost
        if not fitting:
            return box
        height, width = max(fitting, key=lambda each: (each[0] * each[1] * squares**2 >= _FULL * budget, min(each)))
        first, last = _around(top, bottom, height, self.size[0])
        start, stop = _around(left, right, width, self.size[1])
        return start, first, stop, last


def _around(first: int, last: int, length: int, end: int) -> tuple[int, int]:
    """An interval of that length within 0 … end, with another one in its middle if it can be."""
    start = min(max(0, (first + last - length) // 2), end - length)
    return start, start + length


@dataclass(frozen=True)
class _Part:
    box: Box
    budget: int
    tokens: int
    letters: float  # nearly as many as there are


def _parts(lines: _Lines, cutting: _Cutting, depth: int) -> list[_Part]:
    """Parts that show all these lines in reading order, where that can be done: one, or those of two halves if they
    take much less."""
    whole = cutting.part(lines)
    if depth == 0 or (whole is not None and whole.budget == BUDGETS[0]):
        return [whole] if whole else []
    halves = _halves(lines, whole is None)
    parts = [part for half in halves for part in _parts(half, cutting, depth - 1)]
    if whole is None or (parts and sum(part.tokens for part in parts) <= _WORTHWHILE * whole.tokens):
        return parts
    return [whole]


def _halves(lines: _Lines, must: bool) -> tuple[_Lines, ...]:
    """Above and below the widest gap, or left and right of it. Where there is none and it `must` be cut, in the middle
    of the longer side, lines and all."""
    gaps = [_gap(lines.boxes[:, axis], lines.boxes[:, axis + 2]) for axis in (0, 1)]
    axis = int(gaps[1][0] >= gaps[0][0])
    width, place = gaps[axis]
    if width > 0:
        before = lines.boxes[:, axis + 2] <= place
        return lines.of(before), lines.of(~before)
    if not must:
        return ()
    boxes = lines.boxes
    sides = boxes[:, 2:].max(0) - boxes[:, :2].min(0)
    axis = int(sides[1] > sides[0])
    if sides[axis] < 2:
        return ()
    place = int(boxes[:, axis].min() + sides[axis] // 2)
    before, after = boxes.copy(), boxes.copy()
    before[:, axis + 2] = np.minimum(before[:, axis + 2], place)
    after[:, axis] = np.maximum(after[:, axis], place)
    first, last = before[:, axis + 2] > before[:, axis], after[:, axis + 2] > after[:, axis]
    return _Lines(before, lines.heights).of(first), _Lines(after, lines.heights).of(last)


def _gap(starts: np.ndarray, stops: np.ndarray) -> tuple[int, int]:
    """Width of the widest gap between intervals and a place in it; of gaps nearly as wide the one nearest to the
    middle. Width 0: there is none."""
    order = np.argsort(starts, kind="stable")
    reached = np.maximum.accumulate(stops[order])[:-1]
    widths = starts[order][1:] - reached
    if not len(widths) or widths.max() <= 0:
        return 0, 0
    wide = np.flatnonzero(widths >= _NEARLY * widths.max())
    middle = (starts.min() + stops.max()) / 2
    best = wide[np.argmin(np.abs(reached[wide] - middle))]
    return int(widths.max()), int(reached[best])
