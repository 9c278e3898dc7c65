"""Files that show no picture, each refused in one line: what is wrong with which file, and what to do about it."""

import io
import os
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gemma_mlx.errors import InputError
from gemma_mlx.inputs import image


def png(picture: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def fault_of(source: str | Path | bytes | Image.Image) -> str:
    """The one line that a source is refused with; a warning of Pillow's would be a second one."""
    with warnings.catch_warnings(action="error"), pytest.raises(InputError) as caught:
        image.decode(source)
    (line,) = str(caught.value).splitlines()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return line


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    assert fault_of(tmp_path / "no.png") == f"{tmp_path}/no.png does not exist: check the path"
    assert fault_of(tmp_path) == f"{tmp_path} is a directory: give one of its files"
    empty = tmp_path / "empty.png"
    empty.touch()
    assert fault_of(empty) == f"{empty} is empty (0 bytes): save or download it again"
    assert "cannot be opened (File name too long)" in fault_of(tmp_path / ("a" * 300))
    read, write = os.pipe()
    os.close(write)
    assert "not a regular file" in fault_of(f"/dev/fd/{read}")
    os.close(read)


def test_a_file_that_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("hello")
    assert fault_of(path) == f"{path} is damaged or in no known picture format: export it as PNG or JPEG"
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    assert "HEIC" in fault_of(heic)
    assert "sips -s format jpeg FILE --out FILE.jpg" in fault_of(heic)
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    assert "is a PostScript drawing, not a picture: export it as PNG" in fault_of(drawing)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "QOI", "ICO"])
def test_every_cut_and_damage_is_a_line_or_a_picture(file_format: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(Image.effect_noise((40, 40), 90).convert("RGB"), file_format, exif=exif)
    path = tmp_path / "a"
    for length in (1, 2, 8, 20, 60, len(data) // 2):
        path.write_bytes(data[:length])
        assert fault_of(path).startswith(f"{path} is damaged or ")
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for at in rng.integers(0, min(len(data), 200), 4):
            damaged[at] = rng.integers(0, 256)
        with suppress(InputError):
            assert image.decode(bytes(damaged)).ndim == 3


def huge_png(width: int, height: int) -> bytes:
    """A header that announces a picture, without the picture."""
    data = bytearray(png(Image.new("1", (1, 1))))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def test_too_many_pixels_are_refused_from_the_header() -> None:
    """On either side of the size from which Pillow itself refuses; below ours it may already warn."""
    assert fault_of(huge_png(12_000, 10_001)).endswith(
        "has 12000x10001 pixels, more than the 120000000 supported: scale it down"
    )
    assert fault_of(huge_png(60_000, 60_000)).endswith("has more than the 120000000 pixels supported: scale it down")
    assert "damaged or cut off" in fault_of(huge_png(12_000, 10_000))


def test_the_limit_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MAX_PIXELS", 6)
    assert image.decode(Image.new("RGB", (3, 2))).shape == (2, 3, 3)
    assert "has 7x1 pixels, more than the 6 supported" in fault_of(Image.new("RGB", (7, 1)))


def test_a_picture_without_pixels() -> None:
    assert "has no pixels (0x5)" in fault_of(Image.new("RGB", (0, 5)))
