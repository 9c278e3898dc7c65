"""A little small text in a picture: enlarged in a part of its own where that is cheaper than enlarging everything."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from gemma_mlx.inputs import detail, tiles
from gemma_mlx.inputs.detail import Limits, Text

PLENTY = 100_000
SIZE = (900, 1600)
CAPITALS = 14.0
CRAMPED = 0.8 * tiles.COMFORTABLE


def text(*boxes: tuple[int, int, int, int], capitals: float = CAPITALS) -> Text:
    return Text(capitals, 0.01, np.array(boxes), np.full(len(boxes), capitals))


def cost(box: tiles.Box, budget: int) -> int:
    return detail.cost((box[3] - box[1], box[2] - box[0]), budget)


LABEL = text((700, 400, 860, 418))


@pytest.mark.parametrize("width", [32, 160, 200, 300, 560, 640])
@pytest.mark.parametrize("left", [0, 1, 700, 959, 960])
@pytest.mark.parametrize("top", [0, 400, 882])
def test_a_label_is_enlarged_wherever_it_stands(left: int, top: int, width: int) -> None:
    ((box, budget),) = tiles.enlarge(SIZE, text((left, top, left + width, top + 18)), Limits(PLENTY))
    assert budget == 70 or width > 300
    assert box[0] <= left < left + width <= box[2]
    assert box[1] <= top < top + 18 <= box[3]
    assert min(box) >= 0
    assert box[2] <= SIZE[1]
    assert box[3] <= SIZE[0]
    size = CAPITALS * detail.scale((box[3] - box[1], box[2] - box[0]), budget)
    assert 0.999 * tiles.COMFORTABLE <= size < 1.3 * tiles.COMFORTABLE


def test_all_of_the_text_is_shown_in_reading_order() -> None:
    labels = ((100, 100, 300, 118), (1200, 120, 1400, 138), (700, 800, 900, 818))
    parts = tiles.enlarge(SIZE, text(*labels), Limits(PLENTY))
    assert len(parts) == 3
    for (box, _), label in zip(parts, labels, strict=True):
        assert box[0] <= label[0] < label[2] <= box[2]
        assert box[1] <= label[1] < label[3] <= box[3]


def test_only_what_is_small_is_enlarged() -> None:
    both = Text(CAPITALS, 0.1, np.array([[700, 400, 860, 418], [0, 600, 1600, 800]]), np.array([CAPITALS, 150.0]))
    assert tiles.enlarge(SIZE, both, Limits(PLENTY)) == tiles.enlarge(SIZE, LABEL, Limits(PLENTY))


def test_much_text_is_not_enlarged() -> None:
    page = text(*((100, 20 + 24 * row, 1500, 38 + 24 * row) for row in range(35)))
    assert tiles.enlarge(SIZE, page, Limits(PLENTY)) == ()
    words = text(*((100 + 500 * (row % 3), 100 + 90 * row, 250 + 500 * (row % 3), 118 + 90 * row) for row in range(9)))
    assert tiles.enlarge(SIZE, words, Limits(PLENTY)) == ()  # nine parts cost more than all of it


def test_what_is_comfortable_in_the_overview_stays_one_view() -> None:
    enough = CRAMPED / detail.scale(SIZE, tiles.OVERVIEW)
    box = (700, 400, 900, 440)
    assert tiles.enlarge(SIZE, text(box, capitals=enough + 0.01), Limits(PLENTY)) == ()
    assert tiles.enlarge(SIZE, text(box, capitals=enough / 1.5), Limits(PLENTY)) != ()
    assert tiles.enlarge(SIZE, Text(), Limits(PLENTY)) == ()


def test_it_costs_less_than_the_picture_in_which_the_text_is_as_large() -> None:
    for capitals in np.linspace(4, CRAMPED / detail.scale(SIZE, tiles.OVERVIEW), 40):
        for lines in range(1, 12):
            boxes = ((300, 100 + 40 * row, 900, 122 + 40 * row) for row in range(lines))
            parts = tiles.enlarge(SIZE, text(*boxes, capitals=float(capitals)), Limits(PLENTY))
            scales = {budget: capitals * detail.scale(SIZE, budget) for budget in (280, 560, 1120)}
            whole = next((budget for budget, height in scales.items() if height >= CRAMPED), 1120)
            spent = detail.cost(SIZE, tiles.OVERVIEW) + sum(cost(*part) for part in parts)
            assert not parts or spent <= 0.75 * detail.cost(SIZE, whole)


def test_room_and_total_to_the_token() -> None:
    ((box, budget),) = found = tiles.enlarge(SIZE, LABEL, Limits(PLENTY))
    exact = detail.cost(SIZE, tiles.OVERVIEW) + cost(box, budget)
    assert tiles.enlarge(SIZE, LABEL, Limits(exact)) == found
    assert tiles.enlarge(SIZE, LABEL, Limits(exact - 1)) == ()
    assert tiles.enlarge(SIZE, LABEL, Limits(PLENTY), exact) == found
    assert tiles.enlarge(SIZE, LABEL, Limits(PLENTY), exact - 1) == ()
    assert tiles.enlarge(SIZE, LABEL, Limits(PLENTY, 140)) == ()
    assert tiles.enlarge(SIZE, LABEL, Limits(PLENTY, 280)) == found


def test_no_more_than_four_times_as_large() -> None:
    ((box, budget),) = tiles.enlarge(SIZE, text((700, 400, 760, 404), capitals=3.0), Limits(PLENTY))
    assert detail.scale((box[3] - box[1], box[2] - box[0]), budget) == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("budget", [70, 140, 280])
def test_a_part_is_as_square_as_its_budget_allows(budget: int) -> None:
    """Against every grid of squares that holds the box, lies in the picture and shows it as large as needed."""
    rng = np.random.default_rng(budget)
    for _ in range(40):
        needed = float(rng.uniform(1, 4))
        width, height = (int(x) for x in rng.integers(1, (400, 120)))
        left, top = int(rng.integers(0, SIZE[1] - width)), int(rng.integers(0, SIZE[0] - height))
        box = left, top, left + width, top + height
        wide = tiles._Cutting(SIZE, needed, 1120).widened(box, budget)
        shown = wide[3] - wide[1], wide[2] - wide[0]
        sides = [
            (high, long)
            for high in {int(rows * 48 / needed) for rows in range(1, budget + 1)}
            for long in {int(columns * 48 / needed) for columns in range(1, budget + 1)}
            if height <= high <= SIZE[0] and width <= long <= SIZE[1] and detail.scale((high, long), budget) >= needed
        ]
        if not sides:
            assert wide == box
            continue
        assert shown in sides
        full = 0.85 * budget * (48 / needed) ** 2
        assert min(shown) >= max((min(each) for each in sides if each[0] * each[1] >= full), default=0)
        assert wide[0] <= left < left + width <= wide[2]
        assert wide[1] <= top < top + height <= wide[3]


def test_a_dialog_on_a_screen() -> None:
    canvas = Image.new("RGB", SIZE[::-1], (60, 110, 165))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((900, 300, 1300, 480), "white")
    pen.text((940, 360), "error E4471", "black", ImageFont.load_default(22))
    seen = tiles.see(np.asarray(canvas), Limits(PLENTY))
    part, overview = seen.views
    assert (part.what, overview.what) == ("part 1 of 1", "overview")
    left, top, right, bottom = part.box
    assert left < 940 < 1060 < right
    assert top < 360 < 382 < bottom
    assert seen.tokens < 400
    assert seen.reason == detail.SMALL_TEXT
