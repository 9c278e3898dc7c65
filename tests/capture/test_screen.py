"""Pictures of the screen: a virtual X server's for real, macOS by a command that only pretends."""

import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemma_mlx.capture import screen
from gemma_mlx.errors import InputError

SIZE = (320, 240)


@pytest.fixture
def display() -> Iterator[str]:
    """A screen of that size, at a free number."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed (Debian and Ubuntu: apt-get install xvfb)")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield f":{server.stdout.readline().strip()}"
        server.terminate()


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")


@pytest.mark.usefixtures("linux")
def test_an_x_screen_is_a_picture_of_its_size(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    picture = screen.grab()
    assert picture.size == SIZE
    assert picture.mode == "RGB"


@pytest.mark.usefixtures("linux")
def test_without_a_screen_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(InputError, match=r"no screen here .* attach a file"):
        screen.grab()


@pytest.mark.usefixtures("linux")
def test_a_screen_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(InputError, match=r"the screen :987 cannot be read .* attach a file"):
        screen.grab()


def macos(monkeypatch: pytest.MonkeyPatch, directory: Path, script: str) -> Path:
    """A Mac whose `screencapture` is this shell script; the directory in which it notes its arguments."""
    command = directory / "screencapture"
    command.write_text(f'#!/bin/sh\necho "$@" > "{directory}/arguments"\nfor file; do :; done\n{script}\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    return directory


def test_macos_takes_a_picture_without_a_sound_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from PIL import Image

    Image.new("RGBA", SIZE, (255, 0, 0, 255)).save(tmp_path / "red.png")
    macos(monkeypatch, tmp_path, f'cp "{tmp_path}/red.png" "$file"')
    picture = screen.grab()
    assert (picture.size, picture.mode) == (SIZE, "RGB")
    assert picture.getpixel((1, 1)) == (255, 0, 0)
    *flags, file = (tmp_path / "arguments").read_text().split()
    assert flags == ["-x", "-t", "png"]
    assert not Path(file).parent.exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('echo "could not create image from display" >&2; exit 1', "could not create image from display"),
        ("exit 3", "screencapture ended with 3"),
        ("true", "screencapture ended with 0"),
        ('echo text > "$file"', "its picture is damaged"),
    ],
)
def test_macos_without_permission_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, said: str
) -> None:
    macos(monkeypatch, tmp_path, script)
    with pytest.raises(InputError) as caught:
        screen.grab()
    assert said in str(caught.value)
    assert "Screen Recording" in str(caught.value)


def test_macos_without_the_command_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(InputError, match="FileNotFoundError"):
        screen.grab()
