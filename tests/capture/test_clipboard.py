"""The picture in the clipboard, by programs that only pretend."""

from pathlib import Path

import pytest
from PIL import Image

from gemma_mlx.capture import clipboard
from gemma_mlx.errors import InputError
from tests.capture.programs import pretend, without_programs

SIZE = (30, 20)
NONE = r"^the clipboard holds no picture: copy a picture first, or attach a file$"
APPLESCRIPT = "0:28: execution error: Can’t make some data into the expected type. (-1700)"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with pictures that may be in the clipboard, on no system in particular."""
    for kind in ("png", "jpeg"):
        Image.new("RGB", SIZE, (220, 30, 30)).save(tmp_path / f"red.{kind}")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def mac(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    return here


@pytest.fixture
def linux(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desktop without any program yet."""
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setenv("DISPLAY", ":0")
    return here


def holding(*types: str) -> str:
    """A clipboard that offers these types, those that are pictures as files beside the script; xclip and wl-paste."""
    listed = "; ".join(f"echo {kind}" for kind in types)
    return f'case "$file" in TARGETS|--list-types) {listed};; *) cat "$here/red.${{file#image/}}";; esac'


def test_a_mac_writes_the_picture_in_digits(mac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mac / "answer").write_text(f"«data PNGf{(mac / 'red.png').read_bytes().hex().upper()}»\n", encoding="utf-8")
    noted = pretend(monkeypatch, mac, "osascript", 'cat "$here/answer"')
    picture = clipboard.grab()
    assert (picture.size, picture.getpixel((1, 1))) == (SIZE, (220, 30, 30))
    assert noted.read_text(encoding="utf-8").splitlines() == ["-e", "the clipboard as «class PNGf»"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('echo "execution error: not allowed (-1743)" >&2; exit 1', r"not allowed \(-1743\)"),
        ("echo «data PNGf»", "osascript ended with 0"),
        ("echo «data PNGf89504E470D0A»", "its picture is damaged"),
    ],
)
def test_a_mac_that_gives_none_is_one_line(script: str, said: str, mac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, mac, "osascript", script)
    with pytest.raises(InputError, match=f"no picture can be had from the clipboard .*{said}.*: copy a picture first"):
        clipboard.grab()


def test_a_mac_with_text_in_the_clipboard_is_one_line(mac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, mac, "osascript", f'echo "{APPLESCRIPT}" >&2; exit 1')
    with pytest.raises(InputError, match=NONE):
        clipboard.grab()


def test_a_mac_without_applescript_is_one_line(mac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_programs(monkeypatch, mac)
    with pytest.raises(InputError, match="osascript: No such file or directory"):
        clipboard.grab()


@pytest.mark.parametrize(
    ("types", "taken"),
    [
        (["TIMESTAMP", "image/jpeg", "image/png", "text/html"], "PNG"),
        (["image/x-other", "image/jpeg"], "JPEG"),
    ],
)
@pytest.mark.parametrize("program", ["xclip", "wl-paste"])
def test_linux_takes_the_best_that_is_offered(
    program: str, types: list[str], taken: str, linux: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"xclip": "wl-paste", "wl-paste": "xclip"}[program]
    pretend(monkeypatch, linux, other, "echo not me >&2; exit 1")
    if program == "wl-paste":
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    noted = pretend(monkeypatch, linux, program, holding(*types))
    picture = clipboard.grab()
    assert (picture.size, picture.format) == (SIZE, taken)
    options = ["--type"] if program == "wl-paste" else ["-selection", "clipboard", "-out", "-target"]
    assert noted.read_text().split() == [*options, f"image/{taken.lower()}"]


@pytest.mark.parametrize("types", [["text/plain"], ["image/x-other"], []])
def test_linux_with_no_picture_in_the_clipboard_is_one_line(
    types: list[str], linux: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, linux, "xclip", holding(*types) if types else "true")
    with pytest.raises(InputError, match=NONE):
        clipboard.grab()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('echo "Error: target TARGETS not available" >&2; exit 1', "target TARGETS not available"),
        ('echo image/png; [ "$file" = TARGETS ]', "xclip ended with 1"),
        ("echo image/png", "its picture is damaged"),
    ],
)
def test_linux_that_gives_none_is_one_line(
    script: str, said: str, linux: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, linux, "xclip", script)
    with pytest.raises(InputError, match=f"no picture can be had from the clipboard .*{said}.*: copy a picture first"):
        clipboard.grab()


def test_on_wayland_what_is_copied_in_x_programs_can_be_read_as_well(
    linux: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_programs(monkeypatch, linux)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("PATH", "/usr/bin:/bin", prepend=":")
    monkeypatch.setattr("shutil.which", lambda name: name if name == "xclip" else None)
    pretend(monkeypatch, linux, "xclip", holding("image/png"))
    assert clipboard.grab().size == SIZE


@pytest.mark.parametrize(
    ("wayland", "program", "package"), [("", "xclip", "xclip"), ("wayland-0", "wl-paste", "wl-clipboard")]
)
def test_a_missing_program_is_named_with_its_package(
    wayland: str, program: str, package: str, linux: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_programs(monkeypatch, linux)
    monkeypatch.setenv("WAYLAND_DISPLAY", wayland)
    with pytest.raises(InputError, match=f"with {program}, which is not here: .*apt-get install {package}"):
        clipboard.grab()


def test_without_a_desktop_it_is_one_line(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY")
    with pytest.raises(InputError, match=r"no clipboard here \(neither WAYLAND_DISPLAY nor DISPLAY is set\): attach"):
        clipboard.grab()
