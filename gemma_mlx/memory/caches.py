"""Capacities of the caches' buffers, as `model/cache.py` lets them grow, and what is read into them. Numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gemma_mlx.config import AttentionConfig, TextConfig

STEP, SLACK = 256, 64  # as in `model/cache.py`, which cannot be imported without MLX


@dataclass(frozen=True)
class Span:
    """Tokens of one kind that are read in one piece, perhaps beside others."""

    kind: Literal["text", "sound", "image"]
    length: int


@dataclass(frozen=True)
class Rows:
    """The buffers of one kind of layer: rows they have room for, rows in use. `window`: None for full layers."""

    window: int | None
    capacity: int = 0
    end: int = 0

    @property
    def kept(self) -> int:
        """Rows that survive when the buffers are replaced by larger ones."""
        return self.end if self.window is None else min(self.end, self.window + 1 + SLACK)

    def grows(self, length: int) -> bool:
        """Whether so many more rows need other buffers."""
        return self.end + length > self.capacity

    def drops(self, length: int) -> bool:
        """Whether growing forgets rows that could still be gone back to."""
        return self.window is not None and self.grows(length) and self.end > self.window + 1 + SLACK

    def trim(self, length: int) -> "Rows":
        """Without the last rows, in the same buffers."""
        return Rows(self.window, self.capacity, self.end - length)

    def append(self, length: int) -> "Rows":
        if self.grows(length):
            end = self.kept + length
            return Rows(self.window, end + STEP, end)
        return Rows(self.window, self.capacity, self.end + length)

    def visible(self, length: int) -> int:
        """Keys that the last `length` rows, together, may look at."""
        return self.end if self.window is None else min(self.end, length + self.window - 1)


@dataclass(frozen=True)
class Caches:
    """The two kinds of layer caches at one position."""

    sliding: Rows
    full: Rows

    @classmethod
    def empty(cls, config: TextConfig) -> "Caches":
        return cls(Rows(config.sliding_window), Rows(None))

    @classmethod
    def crowded(cls, config: TextConfig, position: int, piece: int) -> "tuple[Caches, Caches]":
        """The most that the caches may hold at a position after pieces of at most `piece` tokens: with STEP rows to
        spare, and with none, so that any token needs other buffers."""
        kept = Rows(config.sliding_window, 0, max(0, position - piece)).kept
        end, full = min(position, kept + piece), min(position, kept + piece + STEP)
        return (
            cls(Rows(config.sliding_window, end + STEP, end), Rows(None, position + STEP, position)),
            cls(Rows(config.sliding_window, full, full), Rows(None, position, position)),
        )

    @property
    def position(self) -> int:
        return self.full.end

    def of(self, layer: AttentionConfig) -> Rows:
        return self.sliding if layer.is_sliding else self.full

    def append(self, length: int) -> "Caches":
        return Caches(self.sliding.append(length), self.full.append(length))

    def trim(self, length: int) -> "Caches":
        return Caches(self.sliding.trim(length), self.full.trim(length))

    def nbytes(self, config: TextConfig, item: int) -> int:
        """Bytes of all layers' buffers."""
        return sum(2 * self.of(layer).capacity * row_bytes(layer, item) for layer in config.layers)


def row_bytes(layer: AttentionConfig, item: int) -> int:
    """Bytes of one position's keys, or values, in a layer."""
    return layer.num_key_value_heads * layer.head_dim * item


def snapshot_bytes(config: TextConfig, position: int, item: int) -> int:
    """A point to come back to: copies of the rows that sliding layers keep."""
    rows = Rows(config.sliding_window, 0, position).kept
    return sum(2 * rows * row_bytes(layer, item) for layer in config.layers if layer.is_sliding)


def length_of(spans: Sequence[Span]) -> int:
    return sum(span.length for span in spans)
