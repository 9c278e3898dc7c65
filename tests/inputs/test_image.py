"""Pictures of every mode made here, against the RGB they must show; sizes and squares against slow, obvious rules."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from gemma_mlx.errors import InputError
from gemma_mlx.inputs import image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = np.array([[RED, RED, GREEN], [BLUE, BLUE, WHITE]], np.uint8)


def png(picture: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def one_row(source: bytes | Image.Image) -> np.ndarray:
    return image.decode(source)[0]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("kind", ["path", "string", "bytes", "picture"])
def test_every_kind_of_source_gives_the_same_pixels(kind: str, tmp_path: Path) -> None:
    picture = Image.fromarray(noise(5, 7))
    path = tmp_path / "a.png"
    path.write_bytes(png(picture))
    sources: dict[str, str | Path | bytes | Image.Image] = {
        "path": path,
        "string": str(path),
        "bytes": path.read_bytes(),
        "picture": picture,
    }
    decoded = image.decode(sources[kind])
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, noise(5, 7))


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM", "TGA", "PCX", "SGI", "QOI", "DIB", "ICO"])
def test_lossless_formats(file_format: str) -> None:
    options = {"sizes": [(32, 32)]} if file_format == "ICO" else {}
    assert np.array_equal(image.decode(png(Image.fromarray(noise(32, 32)), file_format, **options)), noise(32, 32))


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "JPEG2000", "AVIF", "MPO"])
def test_lossy_formats(file_format: str) -> None:
    gradient = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    decoded = image.decode(png(Image.fromarray(gradient), file_format, quality=95))
    assert np.abs(decoded.astype(int) - gradient).mean() < 4


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation(file_format: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    animated = png(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(image.decode(animated), np.full((4, 4, 3), RED))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_orientation(orientation: int, file_format: str) -> None:
    """Stored as the tag says, shown as `CORNERS`; 0 and 9 are no orientations."""
    stored = {
        2: CORNERS[:, ::-1],
        3: CORNERS[::-1, ::-1],
        4: CORNERS[::-1],
        5: CORNERS.swapaxes(0, 1),
        6: np.rot90(CORNERS),
        7: CORNERS[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(CORNERS, -1),
    }.get(orientation, CORNERS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = png(Image.fromarray(np.ascontiguousarray(stored)), file_format, exif=exif, **options)
    assert np.array_equal(image.decode(data), CORNERS)


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 20, b"Exif\0\0nonsense"])
def test_unreadable_exif_leaves_the_picture_as_stored(exif: bytes) -> None:
    data = png(Image.fromarray(CORNERS), "WEBP", lossless=True, exif=exif)
    assert np.array_equal(image.decode(data), CORNERS)


def test_transparency_over_white() -> None:
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    over = [[200, 100, 0], [255, 255, 255], [244, 224, 204]]
    assert one_row(png(Image.fromarray(rgba))).tolist() == over
    assert one_row(Image.fromarray(rgba).convert("RGBa")).tolist()[:2] == over[:2]


@pytest.mark.parametrize("mode", ["LA", "La", "PA"])
def test_transparent_grey_over_white(mode: str) -> None:
    grey = Image.new("L", (3, 1), 100).convert("P" if mode == "PA" else "L")
    grey.putalpha(Image.fromarray(np.array([[255, 0, 51]], np.uint8)))
    picture = grey.convert("La") if mode == "La" else grey
    assert picture.mode == mode
    shown = one_row(picture).astype(int)
    assert np.abs(shown - np.array([[100], [255], [224]])).max() <= 1


def test_transparent_colours_without_an_alpha_channel() -> None:
    palette = Image.new("P", (3, 1))
    palette.putpalette([0, 0, 255, 255, 0, 0, 0, 255, 0])
    for x in range(3):
        palette.putpixel((x, 0), x)
    assert one_row(png(palette)).tolist() == [list(BLUE), list(RED), list(GREEN)]
    assert one_row(png(palette, "GIF", transparency=1)).tolist() == [list(BLUE), list(WHITE), list(GREEN)]
    assert one_row(png(palette, transparency=bytes([255, 0, 51]))).tolist() == [
        list(BLUE),
        list(WHITE),
        [204, 255, 204],
    ]
    keyed = png(Image.fromarray(np.array([[RED, GREEN]], np.uint8)), transparency=RED)
    assert one_row(keyed).tolist() == [list(WHITE), list(GREEN)]
    keyed_grey = png(Image.fromarray(np.array([[7, 9]], np.uint8)), transparency=7)
    assert one_row(keyed_grey).tolist() == [list(WHITE), [9] * 3]


def test_black_and_white() -> None:
    bits = Image.fromarray(np.array([[True, False]]))
    assert bits.mode == "1"
    assert one_row(png(bits)).tolist() == [[255] * 3, [0] * 3]


@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_by_their_full_range(byte_order: str) -> None:
    values = np.array([[0, 128, 129, 256, 32768, 65407, 65535]], byte_order)
    picture = Image.fromarray(values)
    assert picture.mode in ("I;16", "I;16B")
    expected = [round(value / 257) for value in values[0].tolist()]
    assert one_row(picture)[:, 0].tolist() == expected
    for file_format in ("PNG", "TIFF") if byte_order == "<u2" else ("TIFF",):
        assert one_row(png(picture, file_format))[:, 1].tolist() == expected


def test_a_dark_sixteen_bit_picture_stays_dark() -> None:
    assert one_row(Image.fromarray(np.array([[0, 600]], np.uint16))).max() == 2
    assert one_row(b"P5 2 1 65535\n" + np.array([0, 600], ">u2").tobytes()).max() == 2


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0, 600, 65535], [0, 2, 255]),
        ([0, 65536, 131072], [0, 128, 255]),
        ([-100, 0, 100], [0, 128, 255]),
        ([70000, 70000, 70000], [0, 0, 0]),
        ([-(2**31), 0, 2**31 - 1], [0, 128, 255]),
    ],
)
def test_thirty_two_bit_integers(values: list[int], shown: list[int]) -> None:
    picture = Image.fromarray(np.array([values], np.int32))
    assert picture.mode == "I"
    assert one_row(picture)[:, 0].tolist() == shown


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 0.25, 0.25], [0, 64, 64]),
        ([0, 1.4, 255], [0, 1, 255]),
        ([-1, 0, 1], [0, 128, 255]),
        ([0, 500, 1000], [0, 128, 255]),
        ([0, np.nan, 1], [0, 0, 255]),
        ([-np.inf, 1, np.inf], [0, 255, 255]),
        ([np.nan, np.nan, np.nan], [0, 0, 0]),
        ([-3e38, 0, 3e38], [0, 128, 255]),
    ],
)
def test_floating_point(values: list[float], shown: list[int]) -> None:
    assert one_row(Image.fromarray(np.array([values], np.float32)))[:, 2].tolist() == shown


def test_colour_models() -> None:
    cmyk = Image.fromarray(np.array([[[0, 255, 255, 0], [0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8), "CMYK")
    assert one_row(png(cmyk, "TIFF")).tolist() == [list(RED), [0, 0, 0], list(WHITE)]
    jpeg = png(cmyk.resize((48, 16), Image.Resampling.NEAREST), "JPEG", quality=100, subsampling=0)
    assert np.abs(image.decode(jpeg)[8, [8, 24, 40]].astype(int) - [RED, (0, 0, 0), WHITE]).max() <= 4
    colours = Image.fromarray(CORNERS)
    for mode in ("YCbCr", "HSV", "RGBX"):
        assert np.abs(image.decode(colours.convert(mode)).astype(int) - CORNERS).max() <= 2


def test_lab_colours() -> None:
    muted = np.array([[(200, 150, 100), (100, 150, 100), (90, 100, 120), (128, 128, 128)]], np.uint8)
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.applyTransform(Image.fromarray(muted), ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    assert lab is not None
    assert lab.mode == "LAB"
    assert np.abs(image.decode(png(lab, "TIFF")).astype(int) - muted).max() <= 3


def test_the_callers_picture_is_left_as_it_is() -> None:
    picture = Image.fromarray(np.full((2, 2, 4), 100, np.uint8))
    picture.getexif()[0x0112] = 6
    image.read(picture, 70)
    assert picture.getpixel((0, 0)) == (100, 100, 100, 100)
    assert picture.getexif()[0x0112] == 6


@pytest.mark.parametrize("budget", [1, 20, *image.BUDGETS])
def test_target_size_is_the_exact_rule(budget: int) -> None:
    """floor(sqrt(budget · h/w)) rows in exact integers, away from proportions that fill the budget exactly."""
    rng = np.random.default_rng(budget)
    for height, width in np.exp(rng.uniform(0, 10, (500, 2))).astype(int).tolist():
        rows = int((budget * height // width) ** 0.5 + 1e-9)
        columns = int((budget * width // height) ** 0.5 + 1e-9)
        if budget * height == rows**2 * width or budget * width == columns**2 * height:
            continue
        if not rows:
            rows, columns = 1, min(width // height, budget)
        elif not columns:
            rows, columns = min(height // width, budget), 1
        assert image.target_size(height, width, budget) == (48 * rows, 48 * columns)


@pytest.mark.parametrize(
    ("height", "width", "budget", "size"),
    [
        (1964, 3024, 280, (13 * 48, 20 * 48)),
        (1080, 1920, 1120, (25 * 48, 44 * 48)),
        (1, 1, 280, (16 * 48, 16 * 48)),
        (1, 10_000, 280, (48, 280 * 48)),
        (10_000, 1, 70, (70 * 48, 48)),
        (3, 1000, 280, (48, 280 * 48)),
        (1, 71, 70, (48, 70 * 48)),
        (336, 480, 70, (336, 480)),
    ],
)
def test_target_size(height: int, width: int, budget: int, size: tuple[int, int]) -> None:
    assert image.target_size(height, width, budget) == size


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_pixels_has_no_size(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="no pixels"):
        image.target_size(*size, 280)


def test_a_budget_of_nothing_is_our_bug() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        image.target_size(5, 5, 0)


@pytest.mark.parametrize("budget", [0, -70, 69, 71, 100, 1121])
def test_other_budgets_are_refused(budget: int) -> None:
    with pytest.raises(InputError, match=rf"{budget} soft tokens: choose 70, 140, 280, 560 or 1120"):
        image.read(Image.new("RGB", (5, 5)), budget)


def test_resize_keeps_what_fits_and_agrees_with_read() -> None:
    fitting = noise(336, 480)
    assert image.resize(fitting, 70) is fitting
    other = noise(50, 90)
    resized = image.resize(other, 70)
    assert resized.shape == (*image.target_size(50, 90, 70), 3)
    assert np.array_equal(resized, image.read(png(Image.fromarray(other)), 70))
    assert np.array_equal(image.resize(np.full((9, 5, 3), 77, np.uint8), 70), np.full((528, 288, 3), 77))


def test_patches_one_square_after_the_other() -> None:
    pixels = noise(96, 144)
    squares, positions = image.patches(pixels)
    assert squares.dtype == np.uint8
    assert positions.dtype == np.int32
    expected = [
        (pixels[48 * y : 48 * y + 48, 48 * x : 48 * x + 48].ravel().tolist(), [x, y])
        for y in range(2)
        for x in range(3)
    ]
    assert list(zip(squares.tolist(), positions.tolist(), strict=True)) == expected


@pytest.mark.parametrize("pixels", [noise(47, 48), noise(48, 97), noise(48, 48)[..., :1], noise(48, 48) / 255])
def test_patches_refuses_what_was_not_resized(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pixels must be uint8 \(48·r, 48·c, 3\)"):
        image.patches(pixels)


def test_a_strip_of_one_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert image.read(Image.new("L", (10_000, 1), 50), 70).shape == (48, 70 * 48, 3)
    assert image.read(Image.new("L", (1, 10_000), 50), 70).shape == (70 * 48, 48, 3)
    monkeypatch.setattr(image, "MAX_PIXELS", 48 * 10_000 - 1)  # stretched to 48 columns it would be too large
    assert np.array_equal(image.read(Image.new("L", (1, 10_000), 50), 70), np.full((70 * 48, 48, 3), 50))
