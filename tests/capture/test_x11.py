"""Pictures of a virtual X screen, pixel by pixel; only the click into a window is pretended."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gemma_mlx.capture import x11
from gemma_mlx.capture.region import Region
from gemma_mlx.errors import InputError
from tests.capture.programs import pretend, without_programs
from tests.capture.xserver import SIZE, virtual_screen, window

PLACE = (40, 30)
PIXELS = np.random.default_rng(6).integers(0, 256, (50, 70, 3), dtype=np.uint8)
GEOMETRY = """
xwininfo: Window id: 0x200001 "Width: 1 Height: 2"

  Absolute upper-left X:  {x}
  Absolute upper-left Y:  {y}
  Relative upper-left X:  {x}
  Relative upper-left Y:  {y}
  Width: {width}
  Height: {height}
  Depth: 24
  Visual: 0x21
  Border width: 0
  Map State: IsViewable
  -geometry {width}x{height}+{x}+{y}
"""


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    """A screen with nothing on it but one window."""
    with virtual_screen() as display, window(display, PIXELS, *PLACE):
        yield display


@pytest.fixture
def display(screen: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", screen)
    return screen


def clicked(monkeypatch: pytest.MonkeyPatch, directory: Path, x: int, y: int, width: int, height: int) -> Path:
    """xwininfo, and a person who clicks a window of that place."""
    (directory / "said").write_text(GEOMETRY.format(x=x, y=y, width=width, height=height))
    return pretend(monkeypatch, directory, "xwininfo", 'cat "$here/said"')


@pytest.mark.usefixtures("display")
def test_the_whole_screen_is_the_window_and_black_around_it() -> None:
    expected = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    expected[30:80, 40:110] = PIXELS
    picture = x11.whole()
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), expected)


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize(
    ("region", "rows", "columns"),
    [
        (Region(40, 30, 70, 50), slice(None), slice(None)),
        (Region(43, 35, 10, 7), slice(5, 12), slice(3, 13)),
        (Region(109, 79, 1, 1), slice(49, 50), slice(69, 70)),
    ],
)
def test_a_region_is_exact(region: Region, rows: slice, columns: slice) -> None:
    assert np.array_equal(np.asarray(x11.part(region)), PIXELS[rows, columns])


@pytest.mark.usefixtures("display")
def test_a_region_may_be_all_of_the_screen() -> None:
    assert x11.part(Region(0, 0, *SIZE)).size == SIZE


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize(
    "region",
    [Region(-1, 0, 9, 9), Region(0, -1, 9, 9), Region(0, 0, 321, 9), Region(0, 0, 9, 241), Region(900, 900, 9, 9)],
)
def test_a_region_that_is_not_on_the_screen_is_one_line(region: Region) -> None:
    with pytest.raises(InputError, match=f"the {region} is not within the screen of 320 x 240 pixels: "):
        x11.part(region)


@pytest.mark.usefixtures("display")
def test_a_window_is_what_is_clicked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    noted, lines = clicked(monkeypatch, tmp_path, *PLACE, 70, 50), list[str]()
    assert np.array_equal(np.asarray(x11.window(lines.append)), PIXELS)
    assert lines == ["click the window that is meant; Ctrl-C takes none"]
    assert noted.read_text().split() == ["-frame"]


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize(
    ("place", "size"), [((-30, -20), (40, 50)), ((300, 230), (20, 10)), ((-5, -5), (320, 240)), ((0, 0), (320, 240))]
)
def test_of_a_window_that_is_partly_outside_the_rest_is_taken(
    place: tuple[int, int], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    width, height = (70, 70) if size != SIZE else (400, 400)
    clicked(monkeypatch, tmp_path, *place, width, height)
    assert x11.window(print).size == size


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize("place", [(320, 0), (0, 240), (-70, 0), (0, -50)])
def test_a_window_outside_of_the_screen_is_one_line(
    place: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clicked(monkeypatch, tmp_path, *place, 70, 50)
    with pytest.raises(InputError, match="is not on the screen: click one that is"):
        x11.window(print)


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize(
    ("script", "said"),
    [('echo "xwininfo: error: Can\'t grab the mouse." >&2; exit 1', "Can't grab the mouse"), ("true", "ended with 0")],
)
def test_a_picker_that_fails_is_one_line(
    script: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, tmp_path, "xwininfo", script)
    with pytest.raises(InputError, match=f"no window can be clicked .*{said}.*: give a region"):
        x11.window(print)


@pytest.mark.usefixtures("display")
def test_without_a_picker_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_programs(monkeypatch, tmp_path)
    lines: list[str] = []
    with pytest.raises(InputError, match=r"xwininfo, which is not here: .*apt-get install x11-utils"):
        x11.window(lines.append)
    assert lines == []  # nothing to click


def test_without_a_screen_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for take in (x11.whole, lambda: x11.part(Region(0, 0, 1, 1)), lambda: x11.window(print)):
        with pytest.raises(InputError, match=r"no screen here \(DISPLAY is not set\): attach a file"):
            take()


def test_a_screen_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(InputError, match=r"the screen :987 cannot be read .* attach a file"):
        x11.whole()


@pytest.mark.usefixtures("display")
def test_on_wayland_there_would_be_a_black_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    for take in (x11.whole, lambda: x11.window(print)):
        with pytest.raises(InputError, match=r"Wayland .* lets no program read the screen: .*clipboard"):
            take()
