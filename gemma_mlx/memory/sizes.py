"""Sizes as people write them, into bytes and back. Knows no model and no machine."""

import re

from gemma_mlx.errors import ConfigError

GIB = 2**30
_PREFIXES = " KMGT"  # of units, each the base times the one before
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d+)?)\s*([KMGT])(?:i?B)?\s*", re.IGNORECASE)


def parse_size(text: str, base: int = 1024) -> int:
    """Bytes of "16GB", "16 GiB", "10.5g" or "800M", in powers of 1024 as memory is sold, or of 1000 as files are told.

    Raises `ConfigError` for anything else, a number without a unit too: who writes 16 means 16GB.
    """
    found = _SIZE.fullmatch(text)
    size = round(float(found[1]) * base ** _PREFIXES.index(found[2].upper())) if found else 0
    if size <= 0:
        raise ConfigError(f"{text!r} is no size: write it as 16GB or 10.5GB")
    return size


def gigabytes(nbytes: float) -> str:
    """As messages and tables show it: 10^9 bytes, one decimal; below 100 MB as 10^6 bytes."""
    return f"{nbytes / 1e9:.1f} GB" if abs(nbytes) >= 1e8 else f"{nbytes / 1e6:.0f} MB"


def file_size(nbytes: float) -> str:
    """As downloads and files are told: one decimal more, because 6.74 and 6.85 GB are different files."""
    return f"{nbytes / 1e9:.2f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:.1f} MB"
