"""A part of the screen as people write it: X,Y,W,H. Knows numbers only, and no screen."""

import re
from dataclasses import dataclass

from gemma_mlx.errors import InputError

_FOUR = re.compile(r"(-?\d{1,6}),(-?\d{1,6}),(\d{1,6}),(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class Region:
    """A rectangle: its upper left corner from that of the screen, and its size, at least 1 by 1. On macOS in points, of
    which screens with fine pixels have two pixels each, and below zero on a screen left of or above the main one; in
    pixels elsewhere."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> "Region":
        """Read X,Y,W,H. Raises `InputError`."""
        found = _FOUR.fullmatch("".join(text.split()))
        region = cls(*map(int, found.groups())) if found else None
        if region is None or not (region.width and region.height):
            raise InputError(f"a region is X,Y,W,H, whole numbers with W and H above 0, not {text!r}: 0,25,800,600")
        return region

    def __str__(self) -> str:
        return f"region {self.x},{self.y},{self.width},{self.height}"
