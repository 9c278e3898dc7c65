"""Findings about the operating system, the chip, Python and MLX's build.

Knows facts as plain values: not how they were found. Sources: the metadata and kernels of mlx-metal's wheels. They
need macOS 14; only the macosx_26_0 build has kernels for the M5's neural accelerators, needs macOS 26.2, and reads
prompts three to four times as fast there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gemma_mlx.doctor.finding import Finding

OLDEST_MACOS = (14, 0)
NEURAL_MACOS = (26, 2)
NEURAL_TAG = (26, 0)
NEURAL_GENERATION = 17  # applegpu_g17: M5
OLDEST_MLX = (0, 32, 4)
OLDEST_PYTHON = (3, 11)

Version = tuple[int, ...]


@dataclass(frozen=True)
class Build:
    """An installed MLX: version of `mlx`, its backend's distribution (such as mlx-metal), version and wheel tags."""

    version: str
    backend: str | None
    backend_version: str = ""
    tags: tuple[str, ...] = ()


def version_of(text: str) -> Version:
    """ "26.2.1" → (26, 2, 1): the leading numbers, empty without one."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def generation(architecture: str) -> int | None:
    """Of Apple's GPU: 13 for M1 to 17 for M5, from "applegpu_g17s"; None for others."""
    found = re.fullmatch(r"applegpu_g(\d+)[a-z]?", architecture)
    return int(found[1]) if found else None


def macos(version: str, gpu: int | None) -> Finding:
    """Whether MLX runs on this macOS, and whether an M5 is used fully."""
    found = version_of(version)
    if not found:
        return Finding("macOS", "warning", "its version is unknown", "run sw_vers and see that it says 14 or newer")
    if found < OLDEST_MACOS:
        return Finding("macOS", "fix", f"{version}: MLX needs 14", "update macOS")
    if (gpu or 0) >= NEURAL_GENERATION and found < NEURAL_MACOS:
        advice = "update macOS, then install mlx again: prompts are read 3 to 4 times as fast"
        return Finding("macOS", "warning", f"{version}: from 26.2 on MLX uses this chip's neural accelerators", advice)
    return Finding("macOS", "ok", version)


def chip(name: str, architecture: str, backend: str) -> Finding:
    """What computes. `backend`: "metal", "cuda" or "cpu"."""
    text = f"{name} ({architecture})"
    if backend != "cpu":
        return Finding("chip", "ok", f"{text}, MLX uses {backend.capitalize()}")
    advice = "use a Mac with Apple silicon for daily work; tests and trying out are fine here"
    return Finding("chip", "warning", f"{text}: no GPU that MLX could use, the 12B takes seconds a token", advice)


def metal_missing() -> Finding:
    """A Mac on which MLX finds no Metal."""
    advice = "run on Apple silicon itself, not in a virtual machine, and install mlx again"
    return Finding("chip", "fix", "MLX finds no Metal on this Mac", advice)


def python(version: Sequence[int], machine: str) -> Finding:
    """The interpreter; older ones cannot install the package, but a copied environment can hold one."""
    text = f"{'.'.join(map(str, version[:3]))}, {machine}"
    if tuple(version[:2]) < OLDEST_PYTHON:
        return Finding("Python", "fix", f"{text}: 3.11 is the oldest that works", "make a new environment with it")
    return Finding("Python", "ok", text)


def mlx(build: Build, gpu: int | None = None) -> Finding:
    """The installed MLX: new enough, of one piece, and on an M5 the build that uses all of it."""
    if version_of(build.version) and version_of(build.version) < OLDEST_MLX:
        advice = "pip install --upgrade mlx"
        return Finding("MLX", "fix", f"{build.version}: 0.32.4 is the oldest with all attention kernels", advice)
    if build.backend is None:
        text = f"{build.version}, not from a wheel: how it was built is unknown"
        return Finding("MLX", "warning", text, "if it is slow, compare with pip install mlx in a new environment")
    if version_of(build.backend_version) != version_of(build.version):
        text = f"mlx is {build.version}, {build.backend} is {build.backend_version}"
        advice = f"pip install --force-reinstall mlx=={build.version} {build.backend}=={build.version}"
        return Finding("MLX", "fix", text, advice)
    built_for = " or ".join(map(platform_of, build.tags)) or "an unknown system"
    text = f"{build.version}, {build.backend} built for {built_for}"
    if (gpu or 0) >= NEURAL_GENERATION and not any(_minimum_macos(tag) >= NEURAL_TAG for tag in build.tags):
        # A Python that was built for older systems calls macOS 26 "16", and pip then takes the older wheel.
        advice = f"SYSTEM_VERSION_COMPAT=0 pip install --force-reinstall --no-deps mlx-metal=={build.version}"
        return Finding("MLX", "warning", f"{text}: macosx_26_0 reads prompts 3 to 4 times as fast", advice)
    return Finding("MLX", "ok", text)


def platform_of(tag: str) -> str:
    """The platform of a wheel tag: "py3-none-macosx_26_0_arm64" → "macosx_26_0_arm64"."""
    return tag.split("-")[-1]


def _minimum_macos(tag: str) -> Version:
    found = re.search(r"macosx_(\d+)_(\d+)", tag)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def broken_mlx(fault: str, translated: bool) -> Finding:
    """MLX that cannot be imported. `translated`: Python runs as an Intel program on Apple silicon."""
    if translated:
        advice = "install Python for arm64 (python.org, Homebrew in /opt/homebrew or uv) and gemma-mlx in it"
        return Finding("MLX", "fix", "this Python was built for Intel, MLX has no build for it", advice)
    advice = "pip install --force-reinstall mlx, on Linux mlx[cpu]"
    return Finding("MLX", "fix", f"cannot be imported ({' '.join(fault.split())})", advice)


def blas(fast: str | None, installed: str | None) -> Finding:
    """What multiplies matrices on a CPU: the wheel's own is the slow reference implementation."""
    if fast is not None:
        return Finding("BLAS", "ok", fast)
    text = "the one in MLX's wheel uses one core and is 10 to 17 times slower than OpenBLAS"
    advice = f"export LD_PRELOAD={installed}" if installed else "apt install libopenblas0-pthread, then run this again"
    return Finding("BLAS", "warning", text, advice)


def compiler(found: bool) -> Finding:
    """Without g++, MLX's CPU build runs compiled functions step by step and says nothing."""
    if found:
        return Finding("mx.compile", "ok", "g++ is there")
    return Finding("mx.compile", "warning", "without g++ MLX does not compile on a CPU", "apt install g++")


def precision(dtype: str) -> Finding:
    """The type that a CPU computes in: products of quantized weights with anything but float32 are inexact there."""
    if dtype in ("auto", "float32"):
        return Finding("precision", "ok", "float32; --dtype bfloat16 is off by up to 6 % a product on a CPU")
    return Finding("precision", "warning", f"{dtype} is off by up to 6 % a product on a CPU", "--dtype float32")
