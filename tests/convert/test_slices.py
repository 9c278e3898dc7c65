"""Rows of a file as numbers: in one read or many, at the edges of a type, and what is no number."""

import os
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.checkpoint import read_header
from gemma_mlx.convert.slices import open_reader
from gemma_mlx.errors import CheckpointError

TYPES = {"F32": mx.float32, "BF16": mx.bfloat16, "F16": mx.float16, "U32": mx.uint32, "U8": mx.uint8}


def saved(directory: Path, array: mx.array) -> Path:
    file = directory / "model.safetensors"
    mx.save_safetensors(str(file), {"before": mx.zeros(3, mx.uint8), "x": array})
    return file


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("most", [1, 7, 10**9])
def test_rows_are_those_of_the_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, most: int) -> None:
    array = mx.arange(40).reshape(10, 4).astype(TYPES[dtype])
    tensor = read_header(file := saved(tmp_path, array))["x"]
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, count, start: read(descriptor, min(count, most), start))
    with open_reader([file]) as reader:
        for first, last in ((0, 1), (0, 10), (3, 7), (9, 10)):
            rows = reader.array(tensor, first, last, 10)
            assert rows.dtype == array.dtype
            assert mx.array_equal(rows, array[first:last]).item()


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_only_what_is_no_number_is_damage(tmp_path: Path, dtype: str) -> None:
    bits, infinity = {"F32": (np.uint32, 0x7F800000), "BF16": (np.uint16, 0x7F80), "F16": (np.uint16, 0x7C00)}[dtype]
    sign = 1 << (np.dtype(bits).itemsize * 8 - 1)
    sound = [0, sign, 1, sign | 1, infinity - 1, sign | (infinity - 1)]
    for values, is_damage in (
        [(sound, False), ([sign | (infinity - 1)], False), ([infinity - 1], False)]
        + [([*sound, damage], True) for damage in (infinity, infinity + 1, sign - 1)]
        + [([*sound, sign | damage], True) for damage in (infinity, infinity + 1, sign - 1)]
    ):
        file = saved(tmp_path, mx.array(np.array([values], bits)).view(TYPES[dtype]))
        with open_reader([file]) as reader:
            if is_damage:
                with pytest.raises(CheckpointError, match="x holds values that are no numbers"):
                    reader.rows(read_header(file)["x"], 0, 1, 1)
            else:
                assert reader.rows(read_header(file)["x"], 0, 1, 1).tolist() == values


def test_integers_may_be_anything(tmp_path: Path) -> None:
    file = saved(tmp_path, mx.array([[2**32 - 1, 0x7F800000]], mx.uint32))
    with open_reader([file]) as reader:
        assert reader.rows(read_header(file)["x"], 0, 1, 1).tolist() == [2**32 - 1, 0x7F800000]


def test_files_are_closed(tmp_path: Path) -> None:
    file = saved(tmp_path, mx.zeros((1, 4)))
    with open_reader([file]) as reader:
        (descriptor,) = reader.descriptors.values()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
