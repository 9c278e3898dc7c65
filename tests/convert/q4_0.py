"""Q4_0 from its definition, one block at a time: the slow and obvious twin of the packing that conversion uses.

Source: `quantize_row_q4_0_ref` and `dequantize_row_q4_0` of ggml, in float32; a file stores the scale in float16.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
Floats = NDArray[np.float32]


def block(values: Floats) -> tuple[list[int], np.float32]:
    """Integers 0 … 15 of 32 values, and the scale before it is rounded for storage."""
    largest = extreme = np.float32(0)
    for value in values:
        if abs(value) > largest:
            largest, extreme = abs(value), value
    scale = np.float32(extreme / np.float32(-8))
    with np.errstate(over="ignore"):
        inverse = np.float32(1) / scale if scale else np.float32(0)
    if not np.isfinite(inverse):  # undefined in the reference: it converts infinity to an integer
        scale = inverse = np.float32(0)
    shifted = [np.float32(np.float32(value * inverse) + np.float32(8.5)) for value in values]
    return [min(15, int(number)) for number in shifted], scale


def matrix(values: Floats) -> tuple[NDArray[np.uint32], Floats]:
    """Integers (n, width) and unrounded scales (n, width / 32) of a matrix."""
    blocks = [block(part) for part in values.reshape(-1, BLOCK)]
    integers = np.array([part for part, _ in blocks], np.uint32).reshape(values.shape)
    return integers, np.array([scale for _, scale in blocks], np.float32).reshape(len(values), -1)


def restored(values: Floats) -> Floats:
    """What a Q4_0 file gives back for a matrix: its scales have passed through float16."""
    integers, scales = matrix(values)
    stored = scales.astype(np.float16).astype(np.float32)
    return (integers.astype(np.float32) - 8) * np.repeat(stored, BLOCK, axis=-1)
