"""What Linux has that MLX's CPU build and recording need, a function for each fact.

Knows files and libraries: not what is good or bad. Sources: proc(5); the layout of Debian's and Fedora's OpenBLAS.
"""

import ctypes.util
import os
import re
import shutil
from pathlib import Path

_FAST_BLAS = re.compile(r"/lib(?:openblas|mkl_rt|blis|flexiblas|armpl)[^/\s]*$", re.MULTILINE)
_OPENBLAS = (
    "usr/lib/*/openblas-pthread/libopenblas.so.0",  # Debian, Ubuntu
    "usr/lib/*/openblas-*/libopenblas.so.0",
    "usr/lib*/libopenblasp.so.0",  # Fedora
    "usr/lib*/libopenblas.so.0",
)


def name() -> str:
    """The distribution's name and version; "Linux" if it does not say."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read("/etc/os-release"), re.MULTILINE)
    return found[1] if found else "Linux"


def swap_used() -> int | None:
    """Bytes swapped out; None if unknown."""
    return parse_swap(_read("/proc/meminfo"))


def parse_swap(meminfo: str) -> int | None:
    """Bytes in use, of /proc/meminfo."""
    sizes = dict(re.findall(r"^(SwapTotal|SwapFree):\s+(\d+) kB", meminfo, re.MULTILINE))
    return (int(sizes["SwapTotal"]) - int(sizes["SwapFree"])) * 1024 if len(sizes) == 2 else None


def fast_blas() -> str | None:
    """The fast BLAS in this process, None if MLX has only what its wheel brings. Ask after `mlx.core` is imported."""
    return parse_blas(_read("/proc/self/maps"))


def parse_blas(maps: str) -> str | None:
    """The file name of a BLAS in /proc/self/maps that other libraries find; numpy's own (scipy_openblas) is not one."""
    found = _FAST_BLAS.search(maps)
    return found[0][1:] if found else None


def installed_openblas(root: Path = Path("/")) -> Path | None:
    """An OpenBLAS below `root` that could be preloaded, one with threads of its own first."""
    return next((path for pattern in _OPENBLAS for path in sorted(root.glob(pattern))), None)


def compiler() -> bool:
    """Whether `mx.compile` finds the compiler that it calls on a CPU."""
    return shutil.which("g++") is not None


def portaudio() -> bool:
    """Whether the library that records sound is installed."""
    return ctypes.util.find_library("portaudio") is not None


def display() -> str | None:
    """The screen that this process could take pictures of."""
    return os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
