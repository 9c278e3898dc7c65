"""Pictures of a Mac's screen, by a `screencapture` that only pretends."""

import tempfile
from pathlib import Path

import pytest
from PIL import Image

from gemma_mlx.capture import macos
from gemma_mlx.capture.region import Region
from gemma_mlx.errors import InputError
from tests.capture.programs import pretend, without_programs

SIZE = (320, 240)
TAKEN = 'cp "$here/red.png" "$file"'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a red picture, and one for temporary files in it."""
    Image.new("RGBA", SIZE, (255, 0, 0, 128)).save(tmp_path / "red.png")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def left_over(here: Path) -> list[Path]:
    return list((here / "temporary").rglob("*"))


def test_the_screen_is_taken_without_a_sound_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    noted = pretend(monkeypatch, here, "screencapture", TAKEN)
    picture = macos.whole()
    assert (picture.size, picture.mode, picture.getpixel((1, 1))) == (SIZE, "RGBA", (255, 0, 0, 128))
    *flags, file = noted.read_text().split()
    assert flags == ["-x", "-t", "png"]
    assert Path(file).is_relative_to(here / "temporary")
    assert left_over(here) == []


def test_nobody_else_can_read_the_file_while_it_is_there(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    modes = 'stat -c %a "$file" "${file%/*}"' if Path("/proc").exists() else 'stat -f %Lp "$file" "${file%/*}"'
    pretend(monkeypatch, here, "screencapture", f'{TAKEN}; {modes} > "$here/modes"')
    macos.whole()
    assert (here / "modes").read_text().split() == ["600", "700"]


def test_a_region_is_asked_for_in_points_and_keeps_its_pixels(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    noted = pretend(monkeypatch, here, "screencapture", TAKEN)
    assert macos.part(Region(-160, 5, 160, 120)).size == SIZE  # of a screen with two pixels a point
    assert noted.read_text().split()[:-1] == ["-x", "-t", "png", "-R-160,5,160,120"]


def test_a_window_is_clicked_and_has_no_shadow(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    noted, lines = pretend(monkeypatch, here, "screencapture", TAKEN), list[str]()
    assert macos.window(lines.append).size == SIZE
    assert noted.read_text().split()[:-1] == ["-x", "-t", "png", "-i", "-W", "-o"]
    assert lines == ["click the window that is meant; Esc takes none"]


@pytest.mark.parametrize("script", ["true", "exit 1"])  # 0 is what is reported
def test_esc_in_the_picker_is_one_line(script: str, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    pretend(monkeypatch, here, "screencapture", script)
    with pytest.raises(InputError, match=r"^no window was clicked: nothing is attached$"):
        macos.window(print)
    assert left_over(here) == []


FAULTS = [
    ('echo "could not create image from display" >&2; exit 1', "could not create image from display"),
    ('echo "could not create image from display" >&2', "could not create image from display"),
    (f"{TAKEN}; exit 3", "screencapture ended with 3"),
    ('echo text > "$file"', "its picture is damaged"),
]


@pytest.mark.parametrize(("script", "said"), [*FAULTS, ("true", "screencapture ended with 0")])
def test_without_permission_it_is_one_line(script: str, said: str, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    pretend(monkeypatch, here, "screencapture", script)
    with pytest.raises(InputError) as caught:
        macos.whole()
    assert str(caught.value).startswith(f"the screen cannot be read ({said}): allow this terminal in System Settings")
    assert "Screen & System Audio Recording" in str(caught.value)
    assert left_over(here) == []


@pytest.mark.parametrize(("script", "said"), FAULTS)
def test_so_it_is_for_a_window(script: str, said: str, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    pretend(monkeypatch, here, "screencapture", script)
    with pytest.raises(InputError) as caught:
        macos.window(print)
    assert str(caught.value).startswith(f"the window cannot be read ({said}): allow this terminal")


def test_a_region_outside_of_the_screen_is_one_line(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    pretend(monkeypatch, here, "screencapture", 'echo "could not create image from rect" >&2; exit 1')
    with pytest.raises(InputError, match=r"the region 9000,0,5,5 .*from rect\): it must lie on the screen, in points"):
        macos.part(Region(9000, 0, 5, 5))


def test_without_the_program_it_is_named(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    without_programs(monkeypatch, here)
    with pytest.raises(InputError, match="screencapture: No such file or directory"):
        macos.whole()


def test_a_program_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    pretend(monkeypatch, here, "screencapture", f"{TAKEN}; exec sleep 30")
    with pytest.raises(InputError, match="did not answer within"):
        macos._taken("the screen", "wait", seconds=0.3)
    assert left_over(here) == []


def test_without_room_for_the_file_it_is_one_line(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(here / "gone"))
    with pytest.raises(InputError, match=r"the screen needs a temporary file \(No such file or directory\): make room"):
        macos.whole()
