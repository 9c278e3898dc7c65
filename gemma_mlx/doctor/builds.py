"""Which build of MLX is installed, from the metadata of its packages.

Knows metadata: not what is good or bad. Source: the WHEEL file that pip keeps in each dist-info directory.
"""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from gemma_mlx.doctor.system import Build

_BACKENDS = ("mlx-metal", "mlx-cuda-13", "mlx-cuda-12", "mlx-cuda", "mlx-cpu")


def mlx_build() -> Build:
    """The installed `mlx` and the package that holds its backend; without metadata, version "unknown"."""
    frontend = _installed("mlx")
    version = frontend.version if frontend else "unknown"
    for name in _BACKENDS:
        if backend := _installed(name):
            return Build(version, name, backend.version, wheel_tags(backend.read_text("WHEEL") or ""))
    return Build(version, None)


def wheel_tags(text: str) -> tuple[str, ...]:
    """The tags of a WHEEL file, such as "py3-none-macosx_26_0_arm64"."""
    return tuple(re.findall(r"^Tag: (\S+)", text, re.MULTILINE))


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
