"""Sizes as people write them, into bytes and back. Knows no model and no machine."""

import re

from gemma_mlx.errors import ConfigError

GIB = 2**30
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of "16GB", "16 GiB", "10.5g" or "800M", counted in powers of 1024 as memory is sold.

    Raises `ConfigError` for anything else.
    """
    found = _SIZE.fullmatch(text)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if size <= 0:
        raise ConfigError(f"{text!r} is no size of memory: write it as 16GB or 10.5GB")
    return size


def gigabytes(nbytes: float) -> str:
    """As messages and tables show it: 10^9 bytes, one decimal; below 100 MB as 10^6 bytes."""
    return f"{nbytes / 1e9:.1f} GB" if abs(nbytes) >= 1e8 else f"{nbytes / 1e6:.0f} MB"
