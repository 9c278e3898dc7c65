"""Picture files against the published image processor: sizes, order of squares, positions, and pixels within 2/255.

Where a mode has no agreed meaning (transparency, more than 8 bits), the processor is handed our RGB pixels, so that the
rest is still compared; what those pixels must be is tested with `inputs.image` itself.
"""

import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps
from transformers.models.gemma4_unified import image_processing_gemma4_unified as reference

from gemma_mlx.inputs import image

# (width, height), mode, format; what a person has at hand: screens, phones, scans, icons, strips
FILES = [
    ((3024, 1964), "RGB", "PNG"),
    ((2016, 1512), "RGB", "JPEG"),  # lies on its side
    ((1170, 2532), "RGBA", "PNG"),
    ((1920, 1080), "RGB", "WEBP"),
    ((1280, 720), "YCbCr", "JPEG"),
    ((1240, 1754), "1", "TIFF"),
    ((1024, 768), "CMYK", "JPEG"),
    ((1000, 1000), "L", "PNG"),
    ((800, 600), "P", "GIF"),
    ((640, 480), "L", "JPEG"),
    ((512, 512), "I;16", "PNG"),
    ((480, 336), "RGB", "BMP"),  # exactly 70 soft tokens
    ((331, 517), "F", "TIFF"),
    ((300, 200), "LA", "PNG"),
    ((200, 1900), "RGB", "PNG"),
    ((64, 64), "I", "TIFF"),
    ((16, 16), "P", "PNG"),
    ((3, 1000), "RGB", "PNG"),
    ((10_000, 1), "RGB", "PNG"),
    ((1, 1), "RGB", "PNG"),
]
SHOWN_AS_STORED = ("RGB", "L", "P", "1", "CMYK", "YCbCr")


def scene(width: int, height: int) -> Image.Image:
    """Slopes, sharp strokes and grain."""
    rng = np.random.default_rng(width * height)
    x, y = np.linspace(0, 200, width)[None, :, None], np.linspace(0, 55, height)[:, None, None]
    grain = rng.integers(0, 30, (height, width, 3))
    picture = Image.fromarray((x * [1, 0.5, 0] + y * [0, 1, 2] + grain).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        ends = (rng.random(4) * [width, height, width, height]).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        draw.line(ends, colour, int(rng.integers(1, 6)))
        draw.text((ends[0], ends[1]), "Gemma", colour)
    return picture


def in_mode(picture: Image.Image, mode: str) -> Image.Image:
    if mode in ("RGBA", "LA"):
        picture = picture.convert(mode)
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        return picture
    if mode.startswith("I"):
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 201).convert(mode)
    return picture.convert(mode)


def stored(size: tuple[int, int], mode: str, file_format: str) -> bytes:
    exif = Image.Exif()
    if size == (2016, 1512):
        exif[0x0112] = 6
    stream = io.BytesIO()
    options = {"exif": exif} if file_format == "JPEG" else {}
    in_mode(scene(*size), mode).save(stream, file_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize(("size", "mode", "file_format"), FILES, ids=str)
def test_a_file_is_seen_as_by_the_published_processor(size: tuple[int, int], mode: str, file_format: str) -> None:
    data = stored(size, mode, file_format)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == size
        shown = ImageOps.exif_transpose(picture)
    if mode not in SHOWN_AS_STORED:
        shown = Image.fromarray(image.decode(data))
    processor = reference.Gemma4UnifiedImageProcessor()
    for budget in image.BUDGETS:
        theirs = processor(shown, max_soft_tokens=budget, return_tensors="pt")
        ours, positions = image.patches(image.read(data, budget))
        count = int(theirs["num_soft_tokens_per_image"][0])
        assert len(ours) == count
        assert positions.tolist() == theirs["image_position_ids"][0, :count].tolist()
        expected = theirs["pixel_values"][0, :count].numpy()
        difference = np.abs(ours.astype(np.float32) / 255 - expected)
        assert np.quantile(difference, 0.999, method="higher") <= 2.01 / 255
        assert difference.mean() < 0.05 / 255


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 20_000), st.sampled_from(image.BUDGETS))
@example(1, 20_000, 70)
@example(20_000, 1, 1120)
def test_every_size_is_the_published_one(height: int, width: int, budget: int) -> None:
    assert image.target_size(height, width, budget) == published_size(height, width, budget)


@pytest.mark.parametrize("budget", image.BUDGETS)
def test_sizes_that_fill_the_budget_exactly(budget: int) -> None:
    """Where rounding decides between a square more and a square fewer."""
    for rows in (n for n in range(1, budget + 1) if budget % n == 0):
        for scale in (1, 3, 7, 48, 50, 100, 137):
            height, width = rows * scale, budget // rows * scale
            assert image.target_size(height, width, budget) == published_size(height, width, budget)


def test_the_published_processor_refuses_what_we_refuse() -> None:
    with pytest.raises(ZeroDivisionError):
        published_size(0, 5, 280)
    with pytest.raises(ValueError, match="must be one of"):
        reference.Gemma4UnifiedImageProcessor(max_soft_tokens=100)
    assert reference._SUPPORTED_SOFT_TOKENS == image.BUDGETS


def published_size(height: int, width: int, budget: int) -> tuple[int, int]:
    size: tuple[int, int] = reference.get_aspect_ratio_preserving_size(height, width, 16, budget * 9, 3)
    return size
