"""Picture files to what the model sees: RGB bytes at the size of their soft-token budget, in squares of 48 pixels.

Knows file formats, modes and orientation (through Pillow) and the published sizing rule. Does not know the model: bytes
become fractions, and squares embeddings, elsewhere. Sizes, patch order and positions follow the published image
processor (transformers, `gemma4_unified`); what a file without plain RGB pixels looks like is decided here: upright,
transparency over white, 16-bit grey by its full range. Colour profiles are not applied, as there.
"""

import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from gemma_mlx.errors import InputError
from gemma_mlx.inputs.source import label as file_label
from gemma_mlx.inputs.source import opened

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PATCH = 48
"""Side in pixels of the square that becomes one soft token."""
BUDGETS = (70, 140, 280, 560, 1120)
"""Soft tokens that a picture may take; the model was trained with these."""
MAX_PIXELS = 120_000_000
"""Largest picture that is decoded (480 MB in Pillow): every phone and screen, short of a 200-megapixel original."""

_READABLE = "export it as PNG or JPEG"
_PILLOW_FAULTS = (OSError, SyntaxError, ValueError, RuntimeError, EOFError, LookupError, OverflowError, struct.error)
_ORIENTATION_TAG = 0x0112
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_NO_RASTER = {"EPS": "a PostScript drawing", "WMF": "a vector drawing", "MPEG": "a video"}


def decode(source: "str | Path | bytes | Picture", name: str | None = None) -> np.ndarray:
    """Read a picture as uint8 (h, w, 3), RGB, upright, transparency over white; of an animation the first frame.

    `source` is a path, the content of a file, or a Pillow picture, which is left as it is; `name` stands
    for it in messages.

    Raises `InputError` for a file that is missing, empty, damaged, cut off, of an unknown format, without pixels, or of
    more than `MAX_PIXELS`; the last is known from its header, before anything is decoded.
    """
    return np.asarray(_rgb(_loaded(source, name or label(source))))


def read(source: "str | Path | bytes | Picture", max_soft_tokens: int, name: str | None = None) -> np.ndarray:
    """The same as `resize(decode(source), max_soft_tokens)`, uint8 (h, w, 3), with one full-size copy less."""
    check_budget(max_soft_tokens)
    return np.asarray(_resized(_rgb(_loaded(source, name or label(source))), max_soft_tokens))


def resize(pixels: np.ndarray, max_soft_tokens: int) -> np.ndarray:
    """Bring uint8 (h, w, 3) to its `target_size`, bicubic with antialiasing; as it is where it has that size."""
    from PIL import Image

    height, width, _ = pixels.shape
    if (height, width) == target_size(height, width, max_soft_tokens):
        return pixels
    return np.asarray(_resized(Image.fromarray(pixels), max_soft_tokens))


def target_size(height: int, width: int, max_soft_tokens: int, patch: int = PATCH) -> tuple[int, int]:
    """Height and width, multiples of `patch`, that a picture of `height` x `width` pixels is resized to.

    The largest of nearly the same proportions within `max_soft_tokens` squares; small pictures grow. A strip too narrow
    for one square at that scale gets one row (or column) of as many squares as the budget allows.

    Raises `InputError` for a picture without pixels.
    """
    if max_soft_tokens < 1:
        raise ValueError(f"max_soft_tokens must be at least 1, got {max_soft_tokens}")
    if height < 1 or width < 1:
        raise InputError(f"the picture has no pixels ({width}x{height}): {_READABLE} again")
    # The same float operations in the same order as the published processor: proportions that fill the budget exactly
    # fall on either side of a whole number of squares by their rounding.
    scale = math.sqrt(max_soft_tokens * patch**2 / (height * width))
    rows = math.floor(scale * height / patch)
    columns = math.floor(scale * width / patch)
    if rows == 0:
        rows, columns = 1, max_soft_tokens
    elif columns == 0:
        rows, columns = max_soft_tokens, 1
    return rows * patch, columns * patch


def patches(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut uint8 (h, w, 3), h and w multiples of 48, into squares, row by row.

    Returns uint8 (n, 6912), each square as (row, column, channel), and their int32 (n, 2) positions (x, y) in squares.
    """
    height, width, channels = pixels.shape
    rows, columns = height // PATCH, width // PATCH
    if (rows * PATCH, columns * PATCH, 3) != (height, width, channels) or pixels.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8 (48·r, 48·c, 3), got {pixels.dtype} {pixels.shape}")
    squares = pixels.reshape(rows, PATCH, columns, PATCH, 3).swapaxes(1, 2)
    y, x = np.indices((rows, columns), dtype=np.int32)
    return squares.reshape(rows * columns, -1), np.stack([x.ravel(), y.ravel()], axis=1)


def check_budget(max_soft_tokens: int) -> None:
    """Raise `InputError` for a number of soft tokens that the model was not trained with."""
    if max_soft_tokens not in BUDGETS:
        raise InputError(f"image budget is {max_soft_tokens} soft tokens: choose 70, 140, 280, 560 or 1120")


def label(source: "str | Path | bytes | Picture") -> str:
    """How messages call a source: its path, or what is known of one that has none."""
    if isinstance(source, str | Path | bytes):
        return file_label(source)
    return f"picture of {source.width}x{source.height} pixels"


def is_picture(source: str | Path | bytes, name: str) -> bool:
    """Whether a file starts as a picture does, whole or damaged; nothing is decoded.

    Raises `InputError` for a file that cannot be opened or is empty.
    """
    from PIL import Image, UnidentifiedImageError

    with opened(source, name) as file, warnings.catch_warnings(action="ignore"):
        try:
            return Image.open(file).format != "MPEG"
        except UnidentifiedImageError:
            return _is_heif(file)
        except (*_PILLOW_FAULTS, Image.DecompressionBombError):
            return True  # a known format whose header is damaged or too large


def _loaded(source: "str | Path | bytes | Picture", name: str) -> "Picture":
    """The decoded picture, upright, in the mode that it was stored in; the file of a path is closed."""
    if not isinstance(source, str | Path | bytes):
        with _pillow(name):
            return _decoded(source, name)
    with opened(source, name) as file, _pillow(name):
        return _decoded(_identified(file, name), name)


@contextmanager
def _pillow(name: str) -> Iterator[None]:
    """Faults that Pillow finds in a file are the user's; its warnings are of what is refused or repaired here."""
    from PIL.Image import DecompressionBombError

    with warnings.catch_warnings(action="ignore"):
        try:
            yield
        except DecompressionBombError:
            raise InputError(f"{name} has more than the {MAX_PIXELS} pixels supported: scale it down") from None
        except _PILLOW_FAULTS as fault:
            reason = " ".join(str(fault).split())
            raise InputError(f"{name} is damaged or cut off ({reason}): copy it again, or {_READABLE}") from None


def _identified(file: BinaryIO, name: str) -> "Picture":
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file)
    except UnidentifiedImageError:
        if _is_heif(file):
            step = f"convert it (on macOS: sips -s format jpeg FILE --out FILE.jpg), or {_READABLE}"
            raise InputError(f"{name} is in HEIC format, which is not supported: {step}") from None
        raise InputError(f"{name} is damaged or in no known picture format: {_READABLE}") from None


def _is_heif(file: BinaryIO) -> bool:
    file.seek(4)
    return file.read(4) == b"ftyp" and file.read(4) in _HEIF_BRANDS


def _decoded(picture: "Picture", name: str) -> "Picture":
    """The picture with its pixels, turned upright, after the checks that need only the header."""
    from PIL import Image

    if picture.format in _NO_RASTER:
        raise InputError(f"{name} is {_NO_RASTER[picture.format]}, not a picture: {_READABLE}")
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise InputError(f"{name} has {width}x{height} pixels, more than the {MAX_PIXELS} supported: scale it down")
    if width * height == 0:
        raise InputError(f"{name} has no pixels ({width}x{height}): {_READABLE} again")
    picture.load()
    turn = (
        None,
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
    )[_orientation(picture) - 1]
    return picture if turn is None else picture.transpose(turn)


def _orientation(picture: "Picture") -> int:
    """The EXIF orientation, 1 (as stored) to 8. EXIF that cannot be read says nothing about the pixels."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG)
    except _PILLOW_FAULTS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _resized(picture: "Picture", max_soft_tokens: int) -> "Picture":
    from PIL import Image

    height, width = target_size(picture.height, picture.width, max_soft_tokens)
    # Rows before columns, as the published processor does: Pillow alone turns the order round for tall pictures, which
    # moves 15 % of the values by one. Only a strip whose stretched rows would fill the memory is left to Pillow.
    if width * picture.height <= MAX_PIXELS:
        picture = picture.resize((width, picture.height), Image.Resampling.BICUBIC)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _rgb(picture: "Picture") -> "Picture":
    """A decoded picture of any mode as RGB."""
    from PIL import Image

    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return Image.fromarray(_grey(np.asarray(picture))).convert("RGB")
    if picture.mode == "LAB":  # the one mode that `convert` does not know
        return _lab_to_rgb(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    if picture.mode == "La":  # grey multiplied by its alpha has only this way out
        picture = picture.convert("LA")
    transparent = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(transparent, mask=transparent)
    return white


def _lab_to_rgb(picture: "Picture") -> "Picture":
    from PIL import ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "LAB", "RGB"))
    assert converted is not None  # only a conversion in place returns none
    return converted


def _grey(values: np.ndarray) -> np.ndarray:
    """Grey of more than 8 bits, (h, w), as uint8.

    16 bits are scaled by their full range, however dark the picture is, and so are 32-bit integers within 0..65535.
    Floats within 0..1 or 0..255 are scaled by that range. All else is stretched from its lowest to its highest value;
    NaN becomes black, and infinities the ends.
    """
    if values.dtype.kind == "u":
        return ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)[values]
    floating = values.astype(np.float32, copy=False)
    finite = np.isfinite(floating)
    low = float(np.min(floating, where=finite, initial=math.inf))
    high = float(np.max(floating, where=finite, initial=-math.inf))
    for full in (1.0, 255.0) if values.dtype.kind == "f" else (65535.0,):
        if low >= 0 and high <= full:
            low, high = 0.0, full
            break
    factor = 255 / (high - low) if high > low else 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = floating * np.float32(factor) - np.float32(low * factor)
    return np.nan_to_num(scaled, nan=0).clip(0, 255).round().astype(np.uint8)
