"""Screen and clipboard in `ask` and `chat`: what is attached, what is said of it, and what cannot be had."""

import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from gemma_mlx.capture import macos
from gemma_mlx.capture.region import Region
from gemma_mlx.capture.screen import View
from gemma_mlx.commands import looking
from gemma_mlx.commands.ask import _Attached
from gemma_mlx.commands.looking import Source
from gemma_mlx.commands.shared import console
from gemma_mlx.doctor import permissions
from gemma_mlx.doctor.permissions import Permission
from gemma_mlx.errors import InputError
from gemma_mlx.inputs.message import Image
from gemma_mlx.options import Settings
from tests.capture.programs import pretend, without_programs
from tests.capture.xserver import virtual_screen, window
from tests.command import Run, gemma_mlx, png

PIXELS = np.random.default_rng(8).integers(0, 256, (50, 70, 3), dtype=np.uint8)
REGION = "40,30,70,50"


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    with virtual_screen() as display, window(display, PIXELS, 40, 30):
        yield display


@pytest.fixture(autouse=True)
def nothing_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def display(screen: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setenv("DISPLAY", screen)
    return screen


def ask(*arguments: str | Path) -> Run:
    return gemma_mlx("ask", "what do you see?", "--model", "demo", "--max-tokens", "2", *arguments)


@pytest.mark.usefixtures("display")
def test_what_is_on_the_screen_is_an_ordinary_picture() -> None:
    settings = Settings(model="demo", image_tokens="70")
    attached = _Attached((), ("screen", Region.parse(REGION)))
    (whole,), (part,) = attached.parts(settings, settings.prepare(), console())
    assert isinstance(whole, Image)
    assert isinstance(part, Image)
    assert (whole.name, part.name) == ("screen", f"region {REGION}")
    assert np.array_equal(part.pixels, Image.open(Pictures.fromarray(PIXELS), max_soft_tokens=70).pixels)


@pytest.mark.usefixtures("display")
def test_ask_attaches_files_and_then_what_there_is_to_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(png(96, 96))
    pretend(monkeypatch, tmp_path, "xclip", 'case "$file" in TARGETS) echo image/png;; *) cat "$here/a.png";; esac')
    run = ask("-a", tmp_path / "a.png", "--clipboard", "--region", REGION, "--screen")
    assert run.code == 0
    names = [line.partition(": picture, read at ")[0] for line in run.err.splitlines()[:4]]
    assert names == [str(tmp_path / "a.png"), "screen", f"region {REGION}", "clipboard"]


@pytest.mark.usefixtures("display")
def test_the_picture_is_taken_before_the_files_are_read_and_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(*arguments: object, **options: object) -> None:
        raise InputError("enough")

    def look(source: Source, say: object) -> Pictures.Image:
        taken.append(str(source))
        return Pictures.fromarray(PIXELS)

    taken: list[str] = []
    monkeypatch.setattr(looking, "look", look)
    monkeypatch.setattr("gemma_mlx.loading.load", load)
    assert ask("--screen").err.splitlines()[-1] == "enough"
    assert "gone.png" in ask("--screen", "-a", "gone.png").fault
    assert taken == ["screen", "screen"]


@pytest.mark.parametrize(
    ("option", "name"),
    [("--screen", "screen"), ("--window", "window"), ("--clipboard", "clipboard"), (f"--region {REGION}", "region")],
)
def test_without_a_question_the_option_is_named(option: str, name: str) -> None:
    fault = gemma_mlx("ask", *option.split()).fault
    assert fault.startswith(name)
    assert fault.endswith(f'came without a question: gemma-mlx ask "What is this?" {option}')


def test_a_region_is_checked_before_anything_else() -> None:
    run = ask("--region", "1,2,3")
    assert run.code == 2
    assert "X,Y,W,H" in run.err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--screen", "there is no screen here (DISPLAY is not set): attach a file"),
        ("--window", "there is no screen here (DISPLAY is not set): attach a file"),
        (f"--region {REGION}", "there is no screen here (DISPLAY is not set): attach a file"),
        ("--clipboard", "there is no clipboard here"),
    ],
)
def test_where_there_is_nothing_to_see_it_is_one_line(option: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert ask(*option.split()).fault.startswith(words)


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--region 300,0,21,10", "the region 300,0,21,10 is not within the screen of 320 x 240 pixels"),
        ("--window", "a window is clicked in xwininfo, which is not here"),
        ("--clipboard", "the clipboard is read with xclip, which is not here"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    option: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_programs(monkeypatch, tmp_path)
    assert ask(*option.split()).fault.startswith(words)


@pytest.mark.usefixtures("display")
def test_a_chat_looks_when_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_programs(monkeypatch, tmp_path)
    lines = ("/screen", f"/screen {REGION}", f"/screen region {REGION}", "/screen window", "/paste", "/screen all")
    run = gemma_mlx("chat", "--model", "demo", stdin="\n".join([*lines, "/drop"]).encode())
    said = [re.sub(r": picture, .*|, which is not here.*", "", line) for line in run.err.splitlines()[1:]]
    assert said == [
        "screen",
        f"region {REGION}",
        f"region {REGION}",
        "a window is clicked in xwininfo",
        "the clipboard is read with xclip",
        "/screen takes window, a region X,Y,W,H, or nothing: /screen window",
        "3 attachments dropped",
    ]


@pytest.mark.parametrize(
    ("words", "view"),
    [
        ("", "screen"),
        ("  ", "screen"),
        (" window ", "window"),
        ("1,2,3,4", Region(1, 2, 3, 4)),
        ("1, 2, 3, 4", Region(1, 2, 3, 4)),
        ("region 1, 2, 3, 4", Region(1, 2, 3, 4)),
    ],
)
def test_words_after_screen(words: str, view: View) -> None:
    assert looking.named(words) == view


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("all", "/screen takes window"),
        ("window 1", "/screen takes window"),
        ("region", "/screen takes window"),
        ("region 1", "a region is X,Y,W,H"),
        ("1,2,3", "a region is X,Y,W,H"),
    ],
)
def test_other_words_are_refused(words: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        looking.named(words)


@pytest.mark.parametrize(
    ("permission", "lines"), [("denied", [macos.NOT_ALLOWED]), ("allowed", []), ("unknown", []), ("not asked", [])]
)
def test_a_mac_that_shows_only_the_wallpaper_is_told_of(
    permission: Permission, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png(96, 96))
    pretend(monkeypatch, tmp_path, "screencapture", 'cp "$here/a.png" "$file"')
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(permissions, "screen", lambda: permission)
    said: list[str] = []
    assert looking.look("screen", said.append).size == (96, 96)
    assert said == lines


def test_the_clipboard_needs_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tmp_path, "osascript", f"echo «data PNGf{png(96, 96).hex().upper()}»")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(permissions, "screen", lambda: "denied")
    said: list[str] = []
    assert looking.look("clipboard", said.append).size == (96, 96)
    assert said == []


@pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)],
)
def test_what_ends_it_early_leaves_no_file(
    number: signal.Signals, raised: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    script = f'echo x > "$file"; cp "$file" "$here/was"; sleep 0.5; kill -{number} $PPID; exec sleep 30'
    pretend(monkeypatch, tmp_path, "screencapture", script)
    with pytest.raises(raised):
        looking.look("window", print)
    assert (tmp_path / "was").exists()
    assert list(temporary.rglob("*")) == []


def test_esc_in_the_picker_attaches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tmp_path, "screencapture", "true")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    said: list[str] = []
    with pytest.raises(InputError, match="no window was clicked: nothing is attached"):
        looking.look("window", said.append)
    assert said == ["click the window that is meant; Esc takes none"]
