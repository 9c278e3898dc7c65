"""The values of a checkpoint's tensors by our names, some rows at a time, whether they are packed or not.

Knows where a tensor lies and how it is packed: not what its values are compared with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from gemma_mlx.convert.packing import Packed, unpack
from gemma_mlx.convert.slices import Reader, open_reader
from gemma_mlx.convert.source import Source


@dataclass(frozen=True)
class Values:
    """A checkpoint whose files are open. Reading raises `CheckpointError` for damage. Made by `open_values`."""

    source: Source
    reader: Reader

    def height(self, name: str) -> int:
        """Rows of a tensor; one of a single dimension is one row."""
        shape = self.source.shapes[name]
        return shape[0] if len(shape) > 1 else 1

    def nbytes(self, name: str) -> int:
        """Bytes of a tensor in its file, with the scales and biases that it is packed with."""
        return sum(tensor.nbytes for tensor in self.source.parts(name).values())

    def rows(self, name: str, first: int, last: int) -> mx.array:
        """Rows of a tensor, (last - first, values in a row): float32 if it is packed, else of its own type."""
        packed = self.source.packed(name)
        values, *fit = [
            self.reader.array(tensor, first, last, self.height(name)) for tensor in self.source.parts(name).values()
        ]
        if packed is None:
            return values
        return unpack(Packed(values, fit[0], fit[1] if len(fit) > 1 else None), packed)


@contextmanager
def open_values(source: Source) -> Iterator[Values]:
    """The checkpoint, its files open for as long as the context lasts."""
    with open_reader(source.files) as reader:
        yield Values(source, reader)


def squares(got: mx.array, wanted: mx.array) -> tuple[float, float]:
    """Sums of squares of the difference and of what is wanted, in float32 within a row and float64 beyond."""
    exact = np.asarray(wanted.astype(mx.float32))
    lost = np.asarray(got.astype(mx.float32)) - exact
    difference, size = (np.einsum("ij,ij->i", each, each).sum(dtype=np.float64) for each in (lost, exact))
    return float(difference), float(size)
