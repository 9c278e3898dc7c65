"""Parts of large pictures: in reading order, between lines, legible, within the room; slow twins find the same gaps.

Lettered in the font that Pillow carries; no other is needed.
"""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from gemma_mlx.inputs import detail, image, tiles
from gemma_mlx.inputs.detail import Limits, Text
from gemma_mlx.inputs.tiles import Seen, View

PLENTY = 100_000
SIZE = (2880, 5120)
CAPITALS = 17


def text_of(*columns: tuple[int, int, int, int]) -> Text:
    """Columns of lines, 32 pixels from one to the next: left, top, width and number of lines of each."""
    lines = [
        (left, top + 32 * row, left + width, top + 32 * row + 22)
        for left, top, width, rows in columns
        for row in range(rows)
    ]
    return Text(CAPITALS, 0.2, np.array(lines), np.full(len(lines), float(CAPITALS)))


TWO = text_of((200, 300, 1000, 20), (3000, 200, 1200, 12))
MANY = text_of((200, 200, 1500, 28), (2500, 300, 1800, 16), (400, 1700, 900, 20), (3000, 1800, 700, 7))


def boxes(text: Text, limits: Limits, total: int = tiles.TOTAL) -> list[tiles.Box]:
    return [box for box, _ in tiles.cut(SIZE, text, limits, total)]


def shown(line: np.ndarray, parts: list[tiles.Box]) -> int:
    """How many parts show a line whole; -1 if one cuts it."""
    whole = 0
    for left, top, right, bottom in parts:
        inside = (left <= line[0], top <= line[1], line[2] <= right, line[3] <= bottom)
        apart = line[2] <= left or right <= line[0] or line[3] <= top or bottom <= line[1]
        if not apart and not all(inside) and min(line[3], bottom) - max(line[1], top) > 11:
            return -1
        whole += all(inside)
    return whole


@pytest.mark.parametrize("text", [TWO, MANY])
@pytest.mark.parametrize("most", [280, 560, 1120])
def test_every_line_is_in_one_part_and_legible_there(text: Text, most: int) -> None:
    parts = tiles.cut(SIZE, text, Limits(PLENTY, most))
    assert [shown(line, [box for box, _ in parts]) for line in text.lines] == [1] * len(text.lines)
    for (left, top, right, bottom), budget in parts:
        assert budget <= most
        assert detail.scale((bottom - top, right - left), budget) * CAPITALS >= 16
        assert 0 <= left < right <= SIZE[1]
        assert 0 <= top < bottom <= SIZE[0]


def test_parts_come_as_they_are_read() -> None:
    left, right = boxes(TWO, Limits(PLENTY))
    assert left[2] < right[0]
    one_below_the_other = text_of((2000, 200, 1000, 10), (2000, 1900, 1000, 10))
    upper, lower = boxes(one_below_the_other, Limits(PLENTY))
    assert upper[3] < lower[1]
    for first, second in zip(found := boxes(MANY, Limits(PLENTY, 280)), found[1:], strict=False):
        assert first[3] < second[1] + 32 or first[2] <= second[0] + 32


def test_parts_cost_less_than_all_of_the_picture_and_are_few() -> None:
    parts = tiles.cut(SIZE, MANY, Limits(PLENTY))
    cost = sum(detail.cost((box[3] - box[1], box[2] - box[0]), budget) for box, budget in parts)
    assert cost < 0.5 * SIZE[0] * SIZE[1] * (16 / 17) ** 2 / 48**2
    assert len(parts) <= 5


@pytest.mark.parametrize("total", [300, 400, 600, 900, 1300, 2240])
def test_never_more_than_the_total_or_the_room(total: int) -> None:
    overview = detail.cost(SIZE, tiles.OVERVIEW)
    for limits, most in ((Limits(PLENTY), total), (Limits(total), tiles.TOTAL)):
        parts = tiles.cut(SIZE, MANY, limits, most)
        cost = sum(detail.cost((box[3] - box[1], box[2] - box[0]), budget) for box, budget in parts)
        assert overview + cost <= total
        assert bool(parts) == (total >= 400)


def test_room_to_the_token() -> None:
    one = text_of((200, 300, 1000, 8))
    ((box, budget),) = tiles.cut(SIZE, one, Limits(PLENTY))
    exact = detail.cost(SIZE, tiles.OVERVIEW) + detail.cost((box[3] - box[1], box[2] - box[0]), budget)
    assert boxes(one, Limits(exact)) == [box]
    assert boxes(one, Limits(exact - 1)) == []
    assert boxes(one, Limits(PLENTY), exact) == [box]
    assert boxes(one, Limits(PLENTY), exact - 1) == []


def test_what_is_kept_is_where_most_letters_are() -> None:
    text = text_of((100, 100, 1500, 12), (100, 1400, 100, 1))
    dense, label = tiles.cut(SIZE, text, Limits(PLENTY))
    (left, top, right, bottom), budget = dense
    enough = detail.cost(SIZE, tiles.OVERVIEW) + detail.cost((bottom - top, right - left), budget)
    assert tiles.cut(SIZE, text, Limits(enough)) == (dense,)
    assert tiles.cut(SIZE, text, Limits(enough - 1)) == (label,)


@pytest.mark.parametrize(
    ("size", "text", "limits"),
    [
        (SIZE, Text(), Limits(PLENTY)),
        ((900, 1600), TWO, Limits(PLENTY)),  # legible in one picture
        (SIZE, TWO, Limits(PLENTY, 140)),  # no room for an overview
        (SIZE, TWO, Limits(PLENTY, 70)),
        (SIZE, TWO, Limits(0)),
    ],
)
def test_one_picture_is_not_cut(size: tuple[int, int], text: Text, limits: Limits) -> None:
    assert tiles.cut(size, text, limits) == ()


def test_only_small_text_is_cut_out() -> None:
    large = Text(CAPITALS, 0.2, np.append(TWO.lines, [[0, 2000, 5000, 2200]], 0), np.append(TWO.heights, 150.0))
    assert boxes(large, Limits(PLENTY)) == boxes(TWO, Limits(PLENTY))


def test_a_line_without_gaps_that_is_too_long_is_cut_all_the_same() -> None:
    wall = Text(CAPITALS, 0.9, np.array([[0, 0, 5120, 1500]]), np.array([float(CAPITALS)]))
    found = boxes(wall, Limits(PLENTY, 560), PLENTY)
    assert len(found) > 2
    assert min(box[0] for box in found) == 0
    assert max(box[2] for box in found) == 5120
    dot = Text(1.0, 0.0, np.array([[7, 7, 8, 8]]), np.array([1.0]))
    assert len(tiles.cut(SIZE, dot, Limits(PLENTY))) == 1


def slow_gaps(starts: list[int], stops: list[int]) -> list[tuple[int, int]]:
    """Width and beginning of each gap, position by position."""
    filled = [any(a <= x < b for a, b in zip(starts, stops, strict=True)) for x in range(max(stops))]
    found, since = [], None
    for x in range(min(starts), max(stops)):
        if not filled[x] and since is None:
            since = x
        if filled[x] and since is not None:
            found.append((x - since, since))
            since = None
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
def test_the_widest_gap_is_found_position_by_position(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(30):
        starts = rng.integers(0, 200, count)
        stops = starts + rng.integers(1, 15, count)
        slow = slow_gaps(starts.tolist(), stops.tolist())
        width, place = tiles._gap(starts, stops)
        assert width == max((each for each, _ in slow), default=0)
        if width:
            middle = (starts.min() + stops.max()) / 2
            wide = [at for each, at in slow if each >= 0.8 * width]
            assert abs(place - middle) == min(abs(at - middle) for at in wide)


def screenshot() -> np.ndarray:
    canvas = Image.new("RGB", SIZE[::-1], (90, 120, 160))
    pen = ImageDraw.Draw(canvas)
    letters = ImageFont.load_default(24)
    for left, top, columns, rows in ((200, 200, 90, 20), (3000, 1500, 60, 9)):
        pen.rectangle((left, top, left + 14 * columns, top + 60 + 32 * rows), "white")
        for row in range(rows):
            words = ("The quick brown fox jumps over 17 lazy Dogs. " * 9)[row : row + columns]
            pen.text((left + 20, top + 20 + 32 * row), words, "black", letters)
    return np.asarray(canvas)


def test_a_large_screenshot_is_its_windows_and_an_overview() -> None:
    pixels = screenshot()
    seen = tiles.see(pixels, Limits(PLENTY))
    first, second, overview = seen.views
    assert (first.what, second.what, overview.what) == ("part 1 of 2", "part 2 of 2", "overview")
    assert (overview.budget, overview.box) == (280, (0, 0, 5120, 2880))
    for view in seen.views:
        left, top, right, bottom = view.box
        assert np.array_equal(view.pixels, pixels[top:bottom, left:right])
        rows, _ = image.patches(image.resize(view.pixels, view.budget))
        assert view.tokens == len(rows) + 2
    parts = tiles.images("screen", seen)
    assert [part.name for part in parts] == ["screen, part 1 of 2", "screen, part 2 of 2", "screen, overview"]
    assert np.array_equal(parts[0].pixels, image.resize(first.pixels, first.budget))
    assert first.box[0] < 220
    assert first.box[2] < 200 + 14 * 90 + 64
    assert 2930 < second.box[0] < 3020
    assert seen.tokens < 1200
    whole = tiles.see(pixels, Limits(300))
    assert [view.what for view in whole.views] == [""]
    assert whole.reason == detail.NO_ROOM
    assert [part.name for part in tiles.images("screen", whole)] == ["screen"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9000), (9000, 1), (40, 30)])
def test_a_picture_without_text_is_one_view(shape: tuple[int, int]) -> None:
    (view,) = tiles.see(np.full((*shape, 3), 200, np.uint8), Limits(PLENTY)).views
    assert (view.budget, view.box, view.what) == (280, (0, 0, shape[1], shape[0]), "")
    assert view.tokens == len(image.patches(image.resize(view.pixels, 280))[0]) + 2


def _seen(reason: str, *views: tuple[int, int]) -> Seen:
    nothing = np.zeros((1, 1, 3), np.uint8)
    return Seen(tuple(View(nothing, budget, tokens, (0, 0, 1, 1)) for budget, tokens in views), reason)


@pytest.mark.parametrize(
    ("seen", "rate", "line"),
    [
        (_seen(detail.NO_TEXT, (280, 266)), 130, "a.png: 266 tokens, no small text in it"),
        (_seen(detail.LARGE_TEXT, (280, 266)), None, "a.png: 266 tokens, its text is large enough"),
        (
            _seen(detail.SMALL_TEXT, (1120, 1102)),
            130.0,
            "a.png: 1,102 tokens for small text (about 8 s here); --image-tokens 280 is faster",
        ),
        (_seen(detail.SMALL_TEXT, (560, 542)), None, "a.png: 542 tokens for small text; --image-tokens 280 is faster"),
        (
            _seen(detail.SMALL_TEXT, (560, 542)),
            9000.0,
            "a.png: 542 tokens for small text; --image-tokens 280 is faster",
        ),
        (_seen(detail.SMALL_TEXT, (280, 266)), 100.0, "a.png: 266 tokens for small text (about 3 s here)"),
        (
            _seen(detail.SMALL_TEXT, (140, 120), (280, 266)),
            None,
            "a.png: 386 tokens in 1 part and an overview for small text; --image-tokens 280 is faster",
        ),
        (
            _seen(detail.SMALL_TEXT, (140, 120), (1120, 1000), (280, 266)),
            700.0,
            "a.png: 1,386 tokens in 2 parts and an overview for small text (about 2 s here); "
            "--image-tokens 280 is faster",
        ),
        (
            _seen(detail.NO_ROOM, (140, 122)),
            100.0,
            "a.png: 122 tokens, too few for its small text: the context has no room for more",
        ),
    ],
)
def test_the_choice_in_a_line(seen: Seen, rate: float | None, line: str) -> None:
    assert tiles.words("a.png", seen, rate) == line
