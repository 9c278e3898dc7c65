"""Tiny checkpoints to convert, and what directories of them hold."""

import json
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gemma_mlx.checkpoint import read_tensors
from tests import saved, tiny

TOKENIZER = {"tokenizer.json": b"{}", "chat_template.jinja": b"{{ messages }}", "processor_config.json": b"{}"}


def target(
    directory: Path, dtype: mx.Dtype = mx.bfloat16, spelling: Callable[[str], str] = saved.published, shards: int = 1
) -> Path:
    """A random target with its other files, in `directory`, which is made."""
    directory.mkdir(parents=True)
    raw = saved.raw_config()
    tensors = _cast(saved.model(raw), dtype)
    saved.write(directory, raw, saved.renamed(tensors, spelling), shards)
    for name, content in TOKENIZER.items():
        (directory / name).write_bytes(content)
    return directory


def drafter(directory: Path) -> Path:
    """A random assistant, bfloat16, widths of 32."""
    directory.mkdir(parents=True)
    types = ["sliding_attention"] * 3 + ["full_attention"]
    text = tiny.text_config(num_hidden_layers=4, layer_types=types, num_kv_shared_layers=4)
    raw = {"model_type": "gemma4_unified_assistant", "backbone_hidden_size": 32, "text_config": text}
    return saved.write(directory, raw, _cast(tiny.drafter(), mx.bfloat16))


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory by its path there."""
    return {str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*") if file.is_file()}


def raw_bytes(directory: Path) -> dict[str, bytes]:
    """Every tensor's bytes by its name there, read in the plainest way."""
    return {
        name: tensor.file.read_bytes()[tensor.start : tensor.start + tensor.nbytes]
        for name, tensor in read_tensors(directory).items()
    }


def arrays(directory: Path) -> dict[str, mx.array]:
    """Every tensor by its name there, as MLX reads it."""
    loaded: dict[str, mx.array] = {}
    for file in sorted({tensor.file for tensor in read_tensors(directory).values()}):
        found = mx.load(str(file))
        assert isinstance(found, dict)
        loaded |= found
    return loaded


def config(directory: Path) -> dict[str, object]:
    parsed: dict[str, object] = json.loads((directory / "config.json").read_text())
    return parsed


def equal(one: mx.array, other: mx.array) -> bool:
    """Same type, shape and values."""
    return one.dtype == other.dtype and np.array_equal(
        np.array(one.astype(mx.float32)), np.array(other.astype(mx.float32))
    )


def _cast(network: nn.Module, dtype: mx.Dtype) -> saved.Arrays:
    return {name: array.astype(dtype) for name, array in saved.arrays(network).items()}
