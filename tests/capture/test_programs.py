"""Programs that are asked for pictures: missing, silent, complaining, interrupted; pictures that are damaged."""

import io
import os
import warnings
from pathlib import Path

import pytest
from PIL import Image

from gemma_mlx.capture.programs import ProgramFault, picture, run, said
from tests.capture.programs import pretend, without_programs


def encoded(size: tuple[int, int], kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (220, 30, 30)).save(file, kind)
    return file.getvalue()


def test_what_a_program_writes_is_readable_by_this_person_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "writer", 'echo x > "$file"; echo out')
    done = run("writer", "a b", str(tmp_path / "written"))
    assert (done.returncode, done.stdout) == (0, b"out\n")
    assert (tmp_path / "writer.arguments").read_text().splitlines()[0] == "a b"
    assert (tmp_path / "written").stat().st_mode & 0o777 == 0o600


def test_what_is_typed_meanwhile_is_not_the_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "reader", "cat")
    reading, writing = os.pipe()
    os.write(writing, b"typed")
    os.close(writing)
    usual = os.dup(0)
    try:
        os.dup2(reading, 0)
        assert run("reader").stdout == b""
        assert os.read(0, 5) == b"typed"
    finally:
        os.dup2(usual, 0)
        os.close(usual)
        os.close(reading)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_programs(monkeypatch, tmp_path)
    with pytest.raises(ProgramFault, match="screencapture: No such file or directory"):
        run("screencapture")


def test_a_silent_program_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "sleeper", "exec sleep 30")
    with pytest.raises(ProgramFault, match=r"sleeper did not answer within 0\.2 s"):
        run("sleeper", seconds=0.2)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('printf "\\n could not \\nmore\\n" >&2; exit 1', "could not"),
        ('printf "\\377" >&2; exit 1', "\ufffd"),
        ("exit 3", "program ended with 3"),
    ],
)
def test_what_a_program_says_of_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, words: str
) -> None:
    pretend(monkeypatch, tmp_path, "program", script)
    assert said(run("program")) == words


def test_ctrl_c_ends_the_program_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "picker", 'echo $$ > "$here/pid"; sleep 0.5; kill -INT $PPID; exec sleep 30')
    with pytest.raises(KeyboardInterrupt):
        run("picker", seconds=None)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_pictures_are_decoded(kind: str) -> None:
    assert picture(encoded((30, 20), kind)).size == (30, 20)


@pytest.mark.parametrize(
    "content",
    [b"", b"text", encoded((30, 20))[:50], encoded((300, 200), "JPEG")[:400], encoded((30, 20), "GIF")],
    ids=["empty", "text", "cut PNG", "cut JPEG", "GIF"],
)
def test_damaged_pictures_and_other_formats_are_not(content: bytes) -> None:
    with pytest.raises(ProgramFault, match="its picture is damaged"):
        picture(content)


def test_huge_pictures_are_refused_and_large_ones_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with warnings.catch_warnings(action="error"):
        assert picture(encoded((30, 20))).size == (30, 20)
    with pytest.raises(ProgramFault, match="its picture is too large"):
        picture(encoded((30, 30)))
