"""How facts are read out of what macOS and Linux print, on texts as they print them."""

from pathlib import Path

import pytest

from gemma_mlx.doctor import linux, macos
from tests.doctor.scripts import path_with

MEMINFO = """MemTotal:       24683120 kB
MemAvailable:   23450716 kB
SwapCached:            0 kB
SwapTotal:       8388604 kB
SwapFree:        6291452 kB
"""
MAPS = """7f1c2a000000-7f1c2a200000 r--p 00000000 fe:01 1234    /x/numpy.libs/libscipy_openblas64_-ff651d7f.so
7f1c2b000000-7f1c2b200000 r--p 00000000 fe:01 1235    /x/mlx_cpu.libs/libblas-bd8a282c.so.3.10.0
7f1c2c000000-7f1c2c200000 rw-p 00000000 00:00 0       [heap]
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("total = 2048.00M  used = 934.25M  free = 1113.75M  (encrypted)", int(934.25 * 2**20)),
        ("total = 0.00M  used = 0.00M  free = 0.00M  (encrypted)", 0),
        ("total = 2048,00M  used = 934,25M  free = 1113,75M  (encrypted)", int(934.25 * 2**20)),
        ("total = 12.00G  used = 10.50G  free = 1.50G", int(10.5 * 2**30)),
        ("", None),
        ("sysctl: unknown oid 'vm.swapusage'", None),
    ],
)
def test_swap_of_macos(text: str, expected: int | None) -> None:
    assert macos.parse_swap(text) == expected


def test_swap_of_linux() -> None:
    assert linux.parse_swap(MEMINFO) == (8388604 - 6291452) * 1024
    assert linux.parse_swap("MemTotal: 1 kB\n") is None
    assert linux.parse_swap("SwapTotal:   0 kB\nSwapFree:    0 kB\n") == 0


def test_only_a_blas_that_mlx_would_find_counts() -> None:
    assert linux.parse_blas(MAPS) is None
    line = "7f1c2d000000-7f1c2d200000 r-xp 00000000 fe:01 99    /usr/lib/x86_64-linux-gnu/openblas-pthread/{}\n"
    for name in ("libopenblas.so.0", "libopenblasp-r0.3.29.so", "libmkl_rt.so.2", "libblis.so.4"):
        assert linux.parse_blas(MAPS + line.format(name)) == name
        assert linux.parse_blas(line.format(name) + MAPS) == name


def test_an_openblas_with_threads_is_found_first(tmp_path: Path) -> None:
    assert linux.installed_openblas(tmp_path) is None
    places = ("usr/lib64/libopenblas.so.0", "usr/lib/x/openblas-serial/libopenblas.so.0")
    for place in (*places, "usr/lib/x/openblas-pthread/libopenblas.so.0"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
        assert linux.installed_openblas(tmp_path) == tmp_path / place


def test_macos_is_asked_with_its_own_path_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sysctl = """case "$2" in
  vm.swapusage) echo "total = 1024.00M  used = 512.50M  free = 511.50M  (encrypted)";;
  iogpu.wired_limit_mb) echo 12288;;
  sysctl.proc_translated) echo 1;;
  *) echo "unknown oid '$2'"; exit 1;;
esac"""
    monkeypatch.setenv("PATH", path_with(tmp_path, sw_vers='[ "$1" = -productVersion ] && echo 26.2', sysctl=sysctl))
    assert macos.version() == "26.2"
    assert macos.swap_used() == int(512.5 * 2**20)
    assert macos.wired_limit() == 12288 * 2**20
    assert macos.translated()
    assert macos.output("sysctl", "-n", "no.such.key") == ""


def test_a_mac_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert macos.version() == ""
    assert macos.swap_used() is None
    assert macos.wired_limit() == 0
    assert not macos.translated()


def test_commands_speak_the_language_that_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path_with(tmp_path, sw_vers='echo "$LC_ALL"'))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert macos.version() == "C"


def test_what_linux_says_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert linux.display() is None
    monkeypatch.setenv("DISPLAY", ":0")
    assert linux.display() == ":0"
    monkeypatch.setenv("PATH", "/nowhere")
    assert not linux.compiler()
    assert linux.name()
