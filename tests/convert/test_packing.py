"""Packed matrices: rows stand alone, affine is MLX's own, and Q4_0 agrees with its definition on every block."""

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.convert.packing import Packed, pack, unpack
from gemma_mlx.convert.recipes import RECIPES, Packing, affine
from gemma_mlx.quantization import ModuleQuantization
from tests.convert import q4_0

Q4_0 = RECIPES["qat-q4_0"].parts["language"]
METHODS = {"4bit": affine(4, 64), "4bit-g32": affine(4, 32), "8bit": affine(8, 64), "q4_0": Q4_0}
DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}
every_method = pytest.mark.parametrize("packing_", METHODS.values(), ids=METHODS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)


def gaussian(shape: tuple[int, int], spread: float = 0.02, dtype: mx.Dtype = mx.float32, seed: int = 0) -> mx.array:
    values = np.random.default_rng(seed).standard_normal(shape) * spread
    return mx.array(values.astype(np.float32)).astype(dtype)


def floats(array: mx.array) -> q4_0.Floats:
    return np.array(array.astype(mx.float32))


def integers(packed: Packed) -> np.ndarray:
    """The stored 4-bit integers, one by one, the first in the lowest bits."""
    words = np.array(packed.weight)
    return np.array([[int(word) >> 4 * place & 15 for word in row for place in range(8)] for row in words])


def same(first: Packed, second: Packed) -> bool:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(bool(mx.array_equal(one, other)) and one.dtype == other.dtype for one, other in pairs)


def error(restored: q4_0.Floats, values: q4_0.Floats) -> float:
    """Relative root-mean-square error."""
    wide = values.astype(np.float64)
    return float(np.linalg.norm(restored - wide) / np.linalg.norm(wide))


def packed_error(rows: mx.array, packing_: Packing) -> float:
    return error(floats(unpack(pack(rows, packing_), packing_.stored)), floats(rows))


def adversarial() -> q4_0.Floats:
    """Blocks that tell roundings apart; each row is one block."""
    tiny = np.finfo(np.float32).smallest_subnormal
    ramp = np.linspace(-1, 1, 32)
    halves = (np.arange(32) - 15.5) / 16  # with the extreme below, every second one falls between two integers
    blocks = [
        np.zeros(32),
        -np.zeros(32),
        np.ones(32),
        -np.ones(32),
        ramp,
        -ramp,
        np.tile([1.0, -1.0], 16),
        np.tile([-1.0, 1.0], 16),
        np.r_[halves[:-1], -1.0],
        np.r_[halves[:-1], 1.0],
        np.r_[1.0, np.zeros(31)],
        np.r_[np.zeros(31), -1.0],
        ramp * 3.0e38,
        np.r_[3.4028235e38, ramp[:31] * 1e30],
        ramp * 1e-30,
        ramp * 2e-37,
        ramp * 8e-38,
        ramp * 1e-38,
        np.full(32, tiny),
        np.r_[-tiny, np.zeros(31)],
        np.r_[1e30, ramp[:31] * 1e-10],
        np.r_[1 / 3, ramp[:31] / 3],
    ]
    return np.array(blocks).astype(np.float32)


@every_method
@every_dtype
def test_slices_of_rows_give_what_the_whole_gives(packing_: Packing, dtype: mx.Dtype) -> None:
    rows = gaussian((7, 192), dtype=dtype)
    whole = pack(rows, packing_)
    for cut in (1, 3, 6):
        first, second = pack(rows[:cut], packing_), pack(rows[cut:], packing_)
        columns = zip(vars(first).values(), vars(second).values(), strict=True)
        assert same(whole, Packed(*(mx.concatenate(list(column)) for column in columns)))


@every_dtype
@pytest.mark.parametrize("name", ["4bit", "4bit-g32", "8bit"])
def test_affine_is_what_mlx_quantizes(name: str, dtype: mx.Dtype) -> None:
    rows, stored = gaussian((5, 256), dtype=dtype), METHODS[name].stored
    weight, scales, biases = mx.quantize(rows, stored.group_size, stored.bits)
    packed = pack(rows, METHODS[name])
    assert same(packed, Packed(weight, scales, biases))
    assert packed.scales.dtype == dtype
    restored = mx.dequantize(weight, scales, biases, stored.group_size, stored.bits)
    assert mx.array_equal(unpack(packed, stored, dtype), restored)


def test_modes_without_biases_are_unpacked() -> None:
    rows = gaussian((3, 64), dtype=mx.bfloat16)
    weight, scales = mx.quantize(rows, mode="mxfp4")[:2]
    stored = ModuleQuantization(32, 4, "mxfp4")
    expected = mx.dequantize(weight, scales, mode="mxfp4").astype(mx.float32)
    assert mx.array_equal(unpack(Packed(weight, scales, None), stored), expected)


@every_dtype
@pytest.mark.parametrize("spread", [1e-6, 1e-3, 0.02, 1.0, 1000.0])
def test_integers_and_scales_are_those_of_q4_0(dtype: mx.Dtype, spread: float) -> None:
    rows = gaussian((40, 160), spread, dtype)
    wanted, scales = q4_0.matrix(floats(rows))
    packed = pack(rows, Q4_0)
    np.testing.assert_array_equal(integers(packed), wanted)
    assert mx.array_equal(packed.scales, mx.array(scales).astype(dtype))  # rounded once
    assert packed.biases is not None
    assert mx.array_equal(packed.biases, -8 * packed.scales)
    assert {packed.scales.dtype, packed.biases.dtype} == {dtype}


def test_integers_are_those_of_q4_0_on_blocks_that_tell_roundings_apart() -> None:
    values = adversarial()
    wanted, scales = q4_0.matrix(values)
    packed = pack(mx.array(values), Q4_0)
    np.testing.assert_array_equal(integers(packed), wanted)
    np.testing.assert_array_equal(np.array(packed.scales), scales)


def test_integers_are_those_of_q4_0_on_values_between_two_integers() -> None:
    """Multiples of a sixteenth of the scale, off by one unit in the last place: rounding must not depend on luck."""
    steps = np.random.default_rng(1).integers(-128, 128, (200, 32)) / np.float32(16)
    scales = np.random.default_rng(2).uniform(0.001, 2, (200, 1)).astype(np.float32)
    values = (steps * scales).astype(np.float32)
    values[1::3], values[2::3] = np.nextafter(values[1::3], np.float32(9e9)), np.nextafter(values[2::3], np.float32(0))
    np.testing.assert_array_equal(integers(pack(mx.array(values), Q4_0)), q4_0.matrix(values)[0])


def test_the_layout_is_the_one_that_mlx_unpacks() -> None:
    rows = gaussian((4, 96))
    packed = pack(rows, Q4_0)
    ones, zeros = mx.ones_like(packed.scales), mx.zeros_like(packed.scales)
    np.testing.assert_array_equal(np.array(mx.dequantize(packed.weight, ones, zeros, 32, 4)), integers(packed))
    inputs = gaussian((3, 96), 1.0, seed=5)
    product = mx.quantized_matmul(inputs, packed.weight, packed.scales, packed.biases, group_size=32, bits=4)
    np.testing.assert_allclose(product, inputs @ unpack(packed, Q4_0.stored).T, atol=1e-5)


@every_dtype
@pytest.mark.parametrize("spread", [1e-4, 0.02, 1.0])
def test_error_is_at_most_that_of_a_q4_0_file(dtype: mx.Dtype, spread: float) -> None:
    rows = gaussian((64, 512), spread, dtype)
    assert packed_error(rows, Q4_0) <= 1.005 * error(q4_0.restored(floats(rows)), floats(rows))


@every_dtype
def test_weights_on_a_q4_0_grid_lose_less_than_by_plain_4_bits(dtype: mx.Dtype) -> None:
    """What training for Q4_0 leaves: values that Q4_0 gives back, in the type of the checkpoint."""
    rows = mx.array(q4_0.restored(floats(gaussian((64, 512))))).astype(dtype)
    assert packed_error(rows, Q4_0) <= 1.005 * error(q4_0.restored(floats(rows)), floats(rows))
    assert packed_error(rows, Q4_0) < 0.1 * packed_error(rows, METHODS["4bit-g32"])


@every_method
@every_dtype
def test_the_largest_values_stay_finite(packing_: Packing, dtype: mx.Dtype) -> None:
    rows = mx.full((1, 64), mx.finfo(dtype).max, dtype)
    for extreme in (rows, -rows, mx.zeros_like(rows)):
        packed = pack(extreme, packing_)
        assert packed.biases is not None
        assert mx.isfinite(packed.scales).all()
        assert mx.isfinite(packed.biases).all()
        restored = unpack(packed, packing_.stored)
        assert error(floats(restored), floats(extreme)) < 0.01 if extreme.any() else not restored.any()
