"""Matrices to packed integers and back, row by row.

Both methods store MLX's affine layout (integers in uint32, first one in the lowest bits; a scale and a bias for every
group) and every row stands alone, so slices of rows give what the whole matrix gives. Knows arrays: no names or files.
Sources: `mlx.core.quantize`; `quantize_row_q4_0_ref` of ggml for the rounding of Q4_0.
"""

from dataclasses import dataclass

import mlx.core as mx

from gemma_mlx.convert.recipes import Packing
from gemma_mlx.quantization import ModuleQuantization


@dataclass(frozen=True)
class Packed:
    """`weight` (n, width * bits / 32) uint32; `scales` and, except in some modes, `biases` (n, width / group size)."""

    weight: mx.array
    scales: mx.array
    biases: mx.array | None


def pack(rows: mx.array, packing: Packing) -> Packed:
    """Rows (n, width) of finite float32, bfloat16 or float16; scales and biases get that type. Not evaluated."""
    if packing.method == "q4_0":
        with mx.stream(mx.cpu):  # a GPU may round a division in another way
            return _q4_0(rows)
    return Packed(*mx.quantize(rows, packing.stored.group_size, packing.stored.bits))


def unpack(packed: Packed, stored: ModuleQuantization, dtype: mx.Dtype = mx.float32) -> mx.array:
    """The matrix (n, width) that the packed one stands for, computed in `dtype`."""
    if packed.biases is None:
        values = mx.dequantize(packed.weight, packed.scales, None, stored.group_size, stored.bits, stored.mode)
        return values.astype(dtype)
    scales, biases = packed.scales.astype(dtype), packed.biases.astype(dtype)
    return mx.dequantize(packed.weight, scales, biases, stored.group_size, stored.bits, stored.mode)


def _q4_0(rows: mx.array) -> Packed:
    """Blocks of 32: the value of largest magnitude, with its sign, becomes -8; the others are rounded to its steps."""
    blocks = rows.astype(mx.float32).reshape(*rows.shape[:-1], -1, 32)
    first = mx.argmax(mx.abs(blocks), axis=-1, keepdims=True)  # the first of equal magnitudes
    scale = mx.take_along_axis(blocks, first, axis=-1) / -8
    inverse = 1 / scale
    usable = mx.isfinite(inverse)  # zeros, and magnitudes that have no inverse in float32, are a block of zeros
    steps = blocks * mx.where(usable, inverse, 0) + 8.5  # product and sum rounded on their own, like the reference
    integers = mx.minimum(steps.astype(mx.uint32), 15)
    scales = mx.where(usable, scale, 0).squeeze(-1).astype(rows.dtype)
    return Packed(_nibbles(integers), scales, -8 * scales)


def _nibbles(integers: mx.array) -> mx.array:
    """(n, blocks, 32) values below 16 to (n, blocks * 4) words, eight in each, the first in the lowest bits."""
    words = integers.reshape(*integers.shape[:-2], -1, 8) << mx.arange(0, 32, 4, dtype=mx.uint32)
    return words.sum(axis=-1)
