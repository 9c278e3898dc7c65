"""Letters that stand alone are found where they are, and what is no letter is not; groups of cells, one by one."""

import random
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from gemma_mlx.inputs import detail, letters, steps, tiles
from gemma_mlx.inputs.detail import Limits
from tests.inputs.test_detail import furniture, textless

PLENTY = 100_000
SIZE = (768, 1366)
Written = tuple[str, tuple[int, int], float]  # what, left and top of its ink, size of the font


def screen(*written: Written, ground: int = 250, ink: int = 20) -> np.ndarray:
    """Uint8 (768, 1366, 3) with what is to be written in the font that Pillow carries."""
    canvas = Image.new("L", SIZE[::-1], ground)
    pen = ImageDraw.Draw(canvas)
    for text, (left, top), size in written:
        pen.text((left, top), text, ink, ImageFont.load_default(size), anchor="lt")
    return np.repeat(np.asarray(canvas)[..., None], 3, 2)


@pytest.mark.parametrize("size", [14, 20, 34, 60, 75])
@pytest.mark.parametrize("text", ["6", "A", "7", "C6", "E4", "F S"])
@pytest.mark.parametrize("dark", [False, True])
def test_letters_are_found_where_they_are(text: str, size: int, dark: bool) -> None:
    pixels = screen((text, (700, 300), size), ground=30 if dark else 250, ink=200 if dark else 20)
    ink = np.argwhere(np.abs(pixels[..., 0].astype(int) - pixels[0, 0, 0]) > 60)
    found = letters.find(pixels)
    box = np.concatenate([found.lines[:, :2].min(0), found.lines[:, 2:].max(0)])
    assert np.abs(box - [*ink.min(0)[::-1], *ink.max(0)[::-1] + 1]).max() <= 2
    assert len(found.lines) == 1 or (text == "F S" and size == 75)  # a space of more than two cells
    assert (found.heights == found.lines[:, 3] - found.lines[:, 1]).all()
    assert found.height == found.heights.min()
    areas = (found.lines[:, 2:] - found.lines[:, :2]).prod(1)
    assert found.share == pytest.approx(areas.sum() / (SIZE[0] * SIZE[1]))


@pytest.mark.parametrize("place", [(1, 1), (8, 8), (15, 17), (1340, 1), (1, 740), (1340, 740)])
def test_wherever_it_stands(place: tuple[int, int]) -> None:
    ((left, top, right, bottom),) = letters.find(screen(("6", place, 24))).lines.tolist()
    assert abs(left - place[0]) <= 2
    assert abs(top - place[1]) <= 2
    assert right <= SIZE[1]
    assert bottom <= SIZE[0]


@pytest.mark.parametrize("name", sorted(textless()))
def test_patterns_have_no_marks(name: str) -> None:
    assert len(letters.find(textless()[name]).lines) == 0


def test_bars_discs_frames_and_rules_are_no_marks() -> None:
    canvas = Image.fromarray(furniture(frame=None))  # a framed button is taken for a mark
    ImageDraw.Draw(canvas).rectangle((300, 500, 302, 530), (0, 120, 220))  # as narrow as an I
    assert len(letters.find(np.asarray(canvas)).lines) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 3000), (3000, 1), (3, 3), (5, 33), (8, 31), (16, 7)])
def test_the_smallest_pictures(shape: tuple[int, int]) -> None:
    assert len(letters.find(np.zeros((*shape, 3), np.uint8)).lines) == 0
    letters.find(np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8))  # whatever it finds


@pytest.mark.parametrize(("height", "found"), [(7, 0), (8, 1), (60, 1), (61, 0)])
def test_heights_to_the_pixel(height: int, found: int) -> None:
    pixels = np.full((*SIZE, 3), 250, np.uint8)
    pixels[200 : 200 + height, 400:402] = 20
    pixels[200 : 200 + height, 400 + height // 2 : 402 + height // 2] = 20
    pixels[200 + height // 2 : 202 + height // 2, 400 : 402 + height // 2] = 20
    assert len(letters.find(pixels).lines) == found


@pytest.mark.parametrize(("width", "found"), [(4, 0), (5, 1), (159, 1), (160, 1), (161, 0)])
def test_widths_to_the_pixel(width: int, found: int) -> None:
    pixels = np.full((*SIZE, 3), 250, np.uint8)
    for left in (*range(400, 398 + width, 16), 398 + width):
        pixels[200:220, left : left + 2] = 20
    assert len(letters.find(pixels).lines) == found


def test_six_are_marks_and_seven_are_a_pattern() -> None:
    places = [(170 * number, 90 * number) for number in range(1, 8)]
    sevens: list[Written] = [("7", place, 24) for place in places]
    assert letters.find(screen(*sevens[:6])).lines[:, :2] == pytest.approx(np.array(places[:6]), abs=2)
    assert len(letters.find(screen(*sevens)).lines) == 0


def test_the_height_is_that_of_the_smallest() -> None:
    found = letters.find(screen(("A", (200, 200), 48), ("7", (900, 500), 20)))
    assert found.height == min(found.heights) < max(found.heights)


def test_cells_are_grouped_as_one_by_one() -> None:
    rng = random.Random(5)
    for _ in range(60):
        cells = sorted({(rng.randrange(14), rng.randrange(14)) for _ in range(rng.randint(0, 50))})
        group = {cell: number for number, cell in enumerate(cells)}
        for _ in cells:  # until nothing changes
            for one in cells:
                for other in cells:
                    if abs(one[0] - other[0]) <= 1 and abs(one[1] - other[1]) <= 2:
                        group[one] = group[other] = min(group[one], group[other])
        ours = letters._groups(np.array([row * 2**16 + column for row, column in cells], np.int64))
        pairs = set(zip(ours.tolist(), (group[cell] for cell in cells), strict=True))
        assert len(pairs) == len(set(ours.tolist())) == len(set(group.values()))


def test_a_digit_on_a_screen_is_enlarged() -> None:
    pixels = screen(("7", (1000, 500), 24))
    assert detail.measure(pixels).height == 0
    seen = tiles.see(pixels, Limits(PLENTY))
    part, overview = seen.views
    left, top, right, bottom = part.box
    assert left < 1000 < 1014 < right
    assert top < 500 < 518 < bottom
    assert (overview.budget, part.budget) == (280, 70)
    assert seen.reason == detail.SMALL_TEXT
    for limits in (Limits(300), Limits(PLENTY, 140)):  # no room for both
        (whole,) = tiles.see(pixels, limits).views
        assert whole.what == ""
        assert tiles.see(pixels, limits).reason in (detail.NO_ROOM, detail.NO_MEMORY)
    large = tiles.see(screen(("7", (1000, 500), 60)), Limits(PLENTY))  # enough in the overview
    assert [view.budget for view in large.views] == [280]


def test_a_soft_edge_is_no_stroke() -> None:
    """Each side of a blurred bar is several sharp steps, all to darker or all to lighter."""
    canvas = Image.new("L", (400, 300), 250)
    ImageDraw.Draw(canvas).rectangle((100, 100, 160, 130), 0)
    soft = np.asarray(canvas.filter(ImageFilter.GaussianBlur(1.2)))
    assert len(letters.find(np.repeat(soft[..., None], 3, 2)).lines) == 0


def test_a_pattern_is_not_looked_at_cell_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "_groups", None)
    dots = np.full((*SIZE, 3), 250, np.uint8)
    dots[::12, ::12] = 20
    assert len(letters.find(dots).lines) == 0  # many cells
    bars = np.full((*SIZE, 3), 250, np.uint8)
    bars[:, 100:300:2] = 20
    assert len(letters.find(bars).lines) == 0  # many steps


def test_large_pictures_are_looked_at_in_half(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = screen(("7", (1000, 500), 40))
    whole = letters.find(pixels)
    monkeypatch.setattr(steps, "LARGEST", SIZE[0] * SIZE[1] // 2)
    half = letters.find(pixels)
    assert np.abs(half.lines - whole.lines).max() <= 4
    assert half.height == pytest.approx(whole.height, abs=4)
    assert half.share == pytest.approx(whole.share, rel=0.2)


def test_a_screenshot_takes_no_longer_than_a_blink() -> None:
    pixels = np.full((1600, 2560, 3), 200, np.uint8)
    times = []
    for _ in range(5):
        started = time.process_time()
        letters.find(pixels)
        times.append(time.process_time() - started)
    assert min(times) < 0.15
