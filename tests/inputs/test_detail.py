"""Text of known sizes is measured, other things are not taken for text, and the budget follows from both.

Lettered in the font that Pillow carries; no other is needed.
"""

import io
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from gemma_mlx.inputs import detail, image, steps
from gemma_mlx.inputs.detail import Choice, Limits, Text

WORDS = "The quick brown fox jumps over 17 lazy dogs, and Nobody asked Why it did. " * 40
PLENTY = 100_000


def font(size: float) -> ImageFont.FreeTypeFont:
    built_in = ImageFont.load_default(size)
    assert isinstance(built_in, ImageFont.FreeTypeFont)
    return built_in


def capitals(size: float) -> int:
    _, top, _, bottom = font(size).getbbox("H")
    return int(bottom - top)


def page(size: float, shape: tuple[int, int] = (500, 800), *, dark: bool = False, rows: int = 99) -> np.ndarray:
    """Lines of text, uint8 (height, width, 3), of a font of that size."""
    ground, ink = ((30, 30, 34), (205, 205, 200)) if dark else ((255, 255, 255), (25, 25, 25))
    canvas = Image.new("RGB", shape[::-1], ground)
    pen, letters = ImageDraw.Draw(canvas), font(size)
    across = int(0.9 * shape[1] / letters.getlength("n"))
    for row in range(min(rows, int((shape[0] - 10) / (1.3 * size)))):
        start = row * 31 % 400
        pen.text((10, 10 + round(row * 1.3 * size)), WORDS[start : start + across], ink, letters)
    return np.asarray(canvas)


def textless() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    y, x = np.indices((400, 600))
    spectrum = np.fft.rfft2(rng.normal(size=(400, 600)))
    frequency = np.hypot(np.fft.fftfreq(400)[:, None], np.fft.rfftfreq(600)[None]) * 600
    frequency[0, 0] = 1
    clouds = {power: np.fft.irfft2(spectrum / frequency**power, (400, 600)) for power in (0.5, 1.0, 1.5)}
    found = {f"clouds {power}": 128 + 50 * cloud / cloud.std() for power, cloud in clouds.items()}
    found |= {"blank": 0 * x + 255, "gradient": x * 255 // 599, "slope": (x + y) * 255 // 998}
    found |= {"noise": rng.integers(0, 256, (400, 600)), "grain": 128 + rng.normal(0, 12, (400, 600))}
    found |= {"stripes": (x // 4 % 2) * 255, "rows": (y // 4 % 2) * 255, "checks": ((x + y) % 2) * 255}
    found |= {"squares": ((x // 12 + y // 12) % 2) * 255}
    return {name: np.repeat(np.clip(each, 0, 255).astype(np.uint8)[..., None], 3, 2) for name, each in found.items()}


def furniture(frame: tuple[int, int, int] | None = (0, 60, 120)) -> np.ndarray:
    """A window with bars for text, a disc, a rule, and a button with or without a `frame`."""
    canvas = Image.new("RGB", (800, 600), (70, 90, 120))
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle((60, 50, 740, 560), 10, (245, 245, 245), (90, 90, 90))
    pen.ellipse((80, 62, 94, 76), (255, 95, 87))
    for row in range(14):
        pen.rectangle((90, 110 + 24 * row, 300 + 29 * row, 118 + 24 * row), (180, 180, 180))
    pen.rectangle((560, 500, 650, 530), (0, 120, 220), frame)
    pen.line((60, 480, 740, 480), (150, 150, 150))
    return np.asarray(canvas)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 22, 24, 28, 32, 36, 40, 48, 54, 60])
def test_the_height_is_that_of_the_capitals(size: int, dark: bool) -> None:
    text = detail.measure(page(size, (max(500, 20 * size), max(800, 32 * size)), dark=dark))
    assert abs(text.height - capitals(size)) <= max(1.0, 0.1 * capitals(size))


@pytest.mark.parametrize("size", [12, 16, 24, 40])
def test_capitals_and_digits_alone_are_measured_as_well(size: int) -> None:
    canvas = Image.new("RGB", (900, 500), (235, 235, 235))
    ImageDraw.Draw(canvas).text((311, 207), "E404 HX7", (60, 60, 60), font(size))
    assert abs(detail.measure(np.asarray(canvas)).height - capitals(size)) <= max(1.0, 0.15 * capitals(size))


@pytest.mark.parametrize("size", [14, 20, 30])
@pytest.mark.parametrize("fault", ["pale", "grain", "jpeg", "red"])
def test_what_is_pale_grainy_or_compressed_is_measured(size: int, fault: str) -> None:
    pixels = page(size)
    if fault == "pale":
        pixels = (170 + pixels.astype(int) * 80 // 255).astype(np.uint8)
    elif fault == "grain":
        noise = np.random.default_rng(size).normal(0, 10, (*pixels.shape[:2], 1))
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    elif fault == "red":
        pixels = (255 - pixels) * np.array([1, 0, 0], np.uint8)  # on black: nothing of it in the green
    else:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=80)
        pixels = np.asarray(Image.open(file))
    assert abs(detail.measure(pixels).height - capitals(size)) <= max(2.0, 0.15 * capitals(size))


@pytest.mark.parametrize("name", sorted(textless()))
def test_what_is_no_text_has_no_height(name: str) -> None:
    text = detail.measure(textless()[name])
    assert (text.height, text.share, len(text.lines), len(text.heights)) == (0, 0, 0, 0)


def test_windows_without_words_have_no_text() -> None:
    assert detail.measure(furniture()).height == 0


def test_of_two_sizes_the_smaller_counts_if_it_is_more_than_a_few_letters() -> None:
    large = page(40, (900, 900))
    both = np.concatenate([large, page(13, (200, 900))])
    assert detail.measure(both).height == pytest.approx(capitals(13), abs=1)
    few = large.copy()
    few[-30:, -40:] = page(13, (30, 40))  # "The"
    assert detail.measure(few).height == pytest.approx(capitals(40), rel=0.1)


def test_the_share_is_that_of_the_lines() -> None:
    full, half = detail.measure(page(16)), detail.measure(page(16, (1000, 800), rows=23))
    assert 0.5 < full.share < 0.9
    assert half.share == pytest.approx(full.share / 2, rel=0.15)
    left, top, right, bottom = full.lines.T
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= 800
    assert bottom.max() <= 500
    assert (right > left).all()
    assert (bottom > top).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 3000), (3000, 1), (3, 3), (5, 33), (8, 31), (16, 7)])
def test_the_smallest_pictures_have_no_text(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for pixels in (np.zeros((*shape, 3), np.uint8), rng.integers(0, 256, (*shape, 3), np.uint8)):
        assert detail.measure(pixels).height == 0


def test_large_pictures_are_measured_in_their_own_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = page(40, (900, 1400))
    monkeypatch.setattr(steps, "LARGEST", 900 * 1400 // 2)
    text = detail.measure(pixels)
    assert text.height == pytest.approx(capitals(40), rel=0.15)
    assert text.lines[:, 2].max() > 700


def test_a_screenshot_takes_no_longer_than_a_blink() -> None:
    pixels = page(16, (1600, 2560))
    times = []
    for _ in range(5):
        started = time.process_time()
        detail.measure(pixels)
        times.append(time.process_time() - started)
    assert min(times) < 0.15  # 0.04 on one core; others may be at work


def slow_steps(grey: np.ndarray, least: float) -> np.ndarray:
    """Steps above `least` in each cell, (columns of cells, rows + 2)."""
    height, width = grey.shape
    counts = np.zeros((-(-(width - 1) // 32), height + 2), int)
    for y in range(height):
        for x in range(width - 1):
            counts[x // 32, y + 1] += abs(int(grey[y, x + 1]) - int(grey[y, x])) > least
    return counts


@pytest.mark.parametrize("width", [2, 3, 9, 32, 33, 34, 64, 65, 100])
@pytest.mark.parametrize("most", [1, 12, 40])
def test_steps_are_those_counted_one_by_one(width: int, most: int) -> None:
    grey = np.random.default_rng(width).integers(0, most + 1, (17, width), np.uint8)
    noise = float(np.median(np.abs(np.diff(grey.astype(int), axis=1))[::8, ::8]))
    sharp, faint = detail._steps(grey)
    assert np.array_equal(sharp, slow_steps(grey, max(16, 4 * noise)))
    assert np.array_equal(faint, slow_steps(grey, max(8, 3 * noise)))


def test_runs_are_those_found_one_by_one() -> None:
    rng = np.random.default_rng(2)
    sharp, faint = (np.pad(rng.integers(0, 4, (3, 40)), ((0, 0), (1, 1))) for _ in range(2))
    runs = detail._runs(sharp.ravel(), faint.ravel())
    found = []
    for column, ours in enumerate(sharp):
        rows = [row for row in range(1, 41) if ours[row] >= 2]
        for row in rows:
            if row - 1 not in rows:
                last = next(r for r in range(row, 42) if r not in rows)
                found.append((column * 42 + row, column * 42 + last, ours[row:last].sum()))
    assert found == list(zip(runs.start.tolist(), runs.stop.tolist(), runs.sharp.tolist(), strict=True))
    first, stop = int(runs.start[5]), int(runs.stop[5])
    assert runs.faint[5] == faint.ravel()[first:stop].sum() - sharp.ravel()[first:stop].sum()
    around = faint.ravel()[first - 1] + faint.ravel()[stop]
    assert runs.around[5] == around * (stop - first) / 2


def test_boxes_are_painted_and_measured_square_by_square() -> None:
    rng = np.random.default_rng(3)
    corners = rng.integers(0, 95, (30, 2))
    lines = np.concatenate([corners, np.minimum(corners + rng.integers(1, 40, (30, 2)), [100, 90])], axis=1)
    lines = np.maximum(lines, np.concatenate([lines[:, :2] * 0, lines[:, :2] + 1], axis=1))
    lines[:, [1, 3]] = np.minimum(lines[:, [1, 3]], [[89, 90]])
    shape = (12, 13)
    slow, shares = np.zeros(shape, bool), []
    given = rng.random(shape) < 0.5
    for left, top, right, bottom in lines:
        box = np.s_[top // 8 : -(-bottom // 8), left // 8 : -(-right // 8)]
        slow[box] = True
        shares.append(given[box].mean())
    assert np.array_equal(detail._painted(shape, lines), slow)
    assert np.allclose(detail._covered(given, lines), shares)


def _text(height: float) -> Text:
    return Text(height, 0.1, np.array([[0, 0, 100, 20]]), np.array([height]))


SIZE = (900, 1600)


@pytest.mark.parametrize(
    ("height", "budget", "reason"),
    [
        (0, 280, detail.NO_TEXT),
        (60, 280, detail.LARGE_TEXT),
        (26, 280, detail.LARGE_TEXT),  # 16.6 after the resize
        (24, 560, detail.SMALL_TEXT),  # 15.4 with 280
        (18, 560, detail.SMALL_TEXT),
        (17, 1120, detail.SMALL_TEXT),
        (5, 1120, detail.SMALL_TEXT),  # not legible with any
    ],
)
def test_the_smallest_budget_that_is_enough(height: float, budget: int, reason: str) -> None:
    chosen = detail.choose(SIZE, _text(height) if height else Text(), Limits(PLENTY))
    assert chosen == Choice(budget, detail.cost(SIZE, budget), reason)


def test_legible_is_legible_exactly() -> None:
    height = 16 / detail.scale(SIZE, 560)
    assert detail.choose(SIZE, _text(height * 1.0001), Limits(PLENTY)).budget == 560
    assert detail.choose(SIZE, _text(height * 0.9999), Limits(PLENTY)).budget == 1120
    assert detail.choose(SIZE, _text(height * 0.9999), Limits(PLENTY, legible=15)).budget == 560


@pytest.mark.parametrize("budget", image.BUDGETS)
@pytest.mark.parametrize("size", [SIZE, (1, 1), (3000, 40), (1440, 2560)])
def test_the_cost_is_that_of_the_squares_and_two_markers(size: tuple[int, int], budget: int) -> None:
    rows, columns = (side // 48 for side in image.target_size(*size, budget))
    assert detail.cost(size, budget) == rows * columns + 2


def test_no_more_than_the_context_has_room_for() -> None:
    for budget, less in ((1120, 560), (560, 280), (280, 140), (140, 70)):
        cost = detail.cost(SIZE, budget)
        assert detail.choose(SIZE, _text(5), Limits(cost)).budget == budget
        short = detail.choose(SIZE, _text(5), Limits(cost - 1))
        assert short == Choice(less, detail.cost(SIZE, less), detail.NO_ROOM)
    least = detail.cost(SIZE, 70)
    assert [detail.choose(SIZE, _text(5), Limits(room)).budget for room in (least, least - 1, 0)] == [70, 70, 70]
    assert detail.choose(SIZE, Text(), Limits(detail.cost(SIZE, 280) - 1)) == Choice(
        140, detail.cost(SIZE, 140), detail.NO_TEXT
    )


@pytest.mark.parametrize("most", image.BUDGETS)
def test_no_more_than_memory_is_planned_for(most: int) -> None:
    chosen = detail.choose(SIZE, _text(5), Limits(PLENTY, most))
    assert chosen.budget == most
    assert chosen.reason == (detail.SMALL_TEXT if most == 1120 else detail.NO_MEMORY)
    assert detail.choose(SIZE, _text(60), Limits(PLENTY, most)).budget == min(most, 280)


def test_text_that_is_large_enough_is_not_said_to_be_too_small() -> None:
    chosen = detail.choose(SIZE, _text(60), Limits(PLENTY, 140))
    assert chosen == Choice(140, detail.cost(SIZE, 140), detail.LARGE_TEXT)
