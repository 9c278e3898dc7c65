"""One slice of a task: bytes of the source to bytes of the output.

Plain reads, because pages of a mapped file count as memory of the process. Values that are no numbers are damage, and
found here. Knows arrays and byte offsets: not what a tensor is for, nor when its turn is.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from gemma_mlx.checkpoint import ITEM_BYTES, Tensor
from gemma_mlx.convert.layout import Slice
from gemma_mlx.convert.packing import Packed, pack, unpack
from gemma_mlx.errors import CheckpointError

Written = list[tuple[Tensor, int, np.ndarray]]  # tensor of the output, byte of it, what stands there

_TYPES = {"F32": mx.float32, "BF16": mx.bfloat16, "F16": mx.float16, "U32": mx.uint32, "U8": mx.uint8}
_BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_INFINITY = {"F32": 0x7F800000, "BF16": 0x7F80, "F16": 0x7C00}  # as an integer; beyond it are the NaNs


class DamageError(CheckpointError):
    """The source's values are no weights: it must be another file, and nothing made from this one is of use."""


@dataclass(frozen=True)
class Reader:
    """Open files of the source by path."""

    descriptors: Mapping[Path, int]

    def rows(self, tensor: Tensor, first: int, last: int, height: int) -> np.ndarray:
        """Rows `first` to `last` of a tensor that has `height` of them, as unsigned integers of its item's size.

        Raises `DamageError` if the file ends too early or holds floats that are not finite, another
        `CheckpointError` if it cannot be read.
        """
        row_bytes = tensor.nbytes // height
        data = self._read(tensor, tensor.start + first * row_bytes, (last - first) * row_bytes)
        values = np.frombuffer(data, _BITS[ITEM_BYTES[tensor.dtype]])
        if tensor.dtype in _INFINITY and not _all_finite(values, _INFINITY[tensor.dtype]):
            raise DamageError(
                f"{tensor.file}: {tensor.name} holds values that are no numbers: the file is damaged, download it again"
            )
        return values

    def array(self, tensor: Tensor, first: int, last: int, height: int) -> mx.array:
        """The same rows in the tensor's own type, (last - first, values in a row)."""
        values = self.rows(tensor, first, last, height).reshape(last - first, -1)
        return mx.array(values).view(_TYPES[tensor.dtype])

    def _read(self, tensor: Tensor, start: int, count: int) -> bytes | bytearray:
        descriptor = self.descriptors[tensor.file]
        try:
            data: bytes | bytearray = os.pread(descriptor, count, start)
            while len(data) < count:
                more = os.pread(descriptor, count - len(data), start + len(data))
                if not more:
                    raise DamageError(f"{tensor.file} became shorter while it was read: start again")
                data = bytearray(data) + more
        except OSError as fault:
            raise CheckpointError(f"{tensor.file} cannot be read ({fault.strerror}): check the disk") from None
        return data


@contextmanager
def open_reader(files: Iterable[Path]) -> Iterator[Reader]:
    """The files, open for as long as the context lasts."""
    with ExitStack() as stack:
        descriptors: dict[Path, int] = {}
        for file in files:
            descriptors[file] = os.open(file, os.O_RDONLY)
            stack.callback(os.close, descriptors[file])
        yield Reader(descriptors)


def convert_slice(part: Slice, reader: Reader) -> Written:
    """What the slice's rows become, and where in the tensors of the output it belongs."""
    task = part.task
    starts = [part.first * (tensor.nbytes // task.rows) for tensor in task.outputs]
    return list(zip(task.outputs, starts, _converted(part, reader), strict=True))


def _converted(part: Slice, reader: Reader) -> list[np.ndarray]:
    """The rows of every tensor of the output."""
    task, span = part.task, (part.first, part.last, part.task.rows)
    if task.pack is None and task.unpack is None and task.sources[0].dtype == task.outputs[0].dtype:
        return [reader.rows(task.sources[0], *span)]
    weight, *companions = [reader.array(tensor, *span) for tensor in task.sources]
    if task.unpack is None:
        rows = weight
    else:
        scales, *biases = companions
        rows = unpack(Packed(weight, scales, biases[0] if biases else None), task.unpack)
    rows = rows.astype(_TYPES[task.outputs[-1].dtype])
    if task.pack is None:
        return [_bits(rows)]
    packed = pack(rows, task.pack)
    assert packed.biases is not None  # every recipe packs affinely
    mx.eval(packed.weight, packed.scales, packed.biases)  # at once: they share what they are made from
    return [_bits(packed.weight), _bits(packed.scales), _bits(packed.biases)]


def _bits(array: mx.array) -> np.ndarray:
    """An array's bytes as unsigned integers of its item's size, evaluated."""
    return np.asarray(array.view({1: mx.uint8, 2: mx.uint16, 4: mx.uint32}[array.itemsize]))


def _all_finite(values: np.ndarray, infinity: int) -> bool:
    """Whether floats, given as unsigned integers, are below infinity; the greatest integers of either sign tell."""
    sign = 1 << (values.itemsize * 8 - 1)
    signed = values.view(values.dtype.str.replace("u", "i"))
    return int(signed.max()) < infinity and int(values.max()) < sign | infinity
