"""File names as people type and drop them."""

from pathlib import Path

import pytest

from gemma_mlx.errors import InputError
from gemma_mlx.terminal.paths import dropped, dropped_before, given


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a b.png", "c.wav", "d.mp4", "it's.jpg", "notes.txt", "hello"):
        (tmp_path / name).touch()
    (tmp_path / "dir.png").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_names_as_they_are_typed(files: Path) -> None:
    for spelling in ("a b.png", '"a b.png"', "a\\ b.png", "'a b.png'"):
        assert given(f" {spelling} ") == "a b.png"
    assert given("~/c.wav") == str(files / "c.wav")
    assert given("it's.jpg") == "it's.jpg"
    assert given("no such file") == "no such file"  # what opens it says so


@pytest.mark.parametrize(("name", "said"), [("", "needs a file"), ("  ", "needs a file"), ("-", "give a file")])
def test_names_that_mean_nothing(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        given(name)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("{}/a\\ b.png", ["a b.png"]),
        ("'{}/a b.png'", ["a b.png"]),
        ("{}/a b.png", ["a b.png"]),
        ("{}/it's.jpg", ["it's.jpg"]),
        ("file://{}/a%20b.png", ["a b.png"]),
        ("{}/c.wav {}/d.mp4", ["c.wav", "d.mp4"]),
        ("~/c.wav", ["c.wav"]),
        ("{}/c.wav what is it?", []),
        ("{}/c.wav\n{}/d.mp4", []),
        ("{}/gone.png", []),
        ("{}/notes.txt", []),
        ("{}/dir.png", []),
        ("hello", []),
        ("it's", []),
        ("", []),
    ],
)
def test_lines_that_are_nothing_but_media(files: Path, line: str, names: list[str]) -> None:
    assert dropped(line.replace("{}", str(files))) == [str(files / name) for name in names]


@pytest.mark.parametrize(
    ("line", "names", "text"),
    [
        ("{}/a\\ b.png what's this?", ["a b.png"], "what's this?"),
        ("'{}/a b.png'  file://{}/c.wav which?\nsay it", ["a b.png", "c.wav"], "which?\nsay it"),
        ("{}/it\\'s.jpg 'it' is what?", ["it's.jpg"], "'it' is what?"),
        ("{}/c.wav", ["c.wav"], ""),
        ("{}/c.wav, what is it?", [], None),
        ("c.wav is gone", [], None),  # it may be meant as a word
        ("{}/notes.txt what is it?", [], None),
        ("'{}/c.wav what is it?", [], None),
        ("", [], None),
    ],
)
def test_media_before_a_text(files: Path, line: str, names: list[str], text: str | None) -> None:
    line = line.replace("{}", str(files))
    assert dropped_before(line) == ([str(files / name) for name in names], line if text is None else text)
