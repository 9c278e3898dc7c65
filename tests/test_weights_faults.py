"""Checkpoints that do not fit the configuration: one line that names the tensor, never a half-filled model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest

from gemma_mlx.config import ModelConfig
from gemma_mlx.errors import CheckpointError
from gemma_mlx.loading import load_model
from gemma_mlx.names import target_name
from gemma_mlx.weights import Weights, fill
from tests import saved
from tests.saved import Arrays, published

GATE = "model.language_model.layers.0.mlp.gate_proj"
NORM = "model.language_model.norm.weight"


def fault(directory: Path) -> str:
    """The one line that refuses to load it."""
    with pytest.raises(CheckpointError) as found:
        load_model(directory)
    message = str(found.value)
    assert "\n" not in message
    assert str(directory) in message
    return message


def without(*names: str) -> Callable[[Arrays], None]:
    def change(tensors: Arrays) -> None:
        for name in names:
            del tensors[name]

    return change


def replaced(name: str, array: mx.array) -> Callable[[Arrays], None]:
    def change(tensors: Arrays) -> None:
        tensors[name] = array

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without(NORM), "lacks language_model.norm.weight: download it again"),
        (without(*(f"{GATE[:-9]}{part}_proj.weight" for part in ("gate", "up", "down")), NORM), "and 1 more"),
        (replaced("lm_head.weight", mx.ones((4, 4))), "holds lm_head.weight, which Gemma 4 12B has no place for"),
        (replaced(f"{GATE}.bias", mx.ones((128,))), f"holds {GATE}.bias"),
        (replaced("model.language_model.layers.7.layer_scalar", mx.ones((1,))), "layers.7.layer_scalar"),
        (replaced(NORM, mx.ones((63,))), f"{NORM} has shape (63,), config.json needs (64,)"),
        (replaced(NORM, mx.ones((64, 1))), f"{NORM} has shape (64, 1), config.json needs (64,)"),
        (replaced(NORM, mx.array(1.0)), f"{NORM} has shape (), config.json needs (64,)"),
        (replaced(NORM, mx.ones((64,), mx.int32)), f"{NORM} is of type I32"),
        (replaced(f"{GATE}.weight", mx.zeros((128, 64), mx.uint8)), f"{GATE}.weight is of type U8"),
        (replaced("language_model.model.norm.weight", mx.ones((64,))), "are the same tensor"),
        (replaced(f"{GATE}.scales", mx.ones((128, 1))), GATE),
        (replaced(f"{GATE}.scales", mx.array(1.0)), GATE),
        (replaced(f"{GATE}.scales", mx.ones((128, 0))), GATE),
        (replaced(f"{GATE}.biases", mx.ones((128, 1))), f"holds {GATE}.biases"),
        (replaced("model.language_model.norm.scales", mx.ones((1,))), "holds model.language_model.norm.scales"),
    ],
)
def test_dense_checkpoints_that_do_not_fit(tmp_path: Path, change: Callable[[Arrays], None], words: str) -> None:
    raw = saved.raw_config()
    tensors = saved.renamed(saved.arrays(saved.model(raw)), published)
    change(tensors)
    assert words in fault(saved.write(tmp_path, raw, tensors))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without(f"{GATE}.biases"), "lacks language_model.layers.0.mlp.gate_proj.biases"),
        (without(f"{GATE}.scales"), GATE),
        (without(f"{GATE}.scales", f"{GATE}.biases"), f"{GATE}.weight has shape (128, 8), config.json needs (128, 64)"),
        (without(f"{GATE}.weight"), "lacks language_model.layers.0.mlp.gate_proj.weight"),
        (replaced(f"{GATE}.weight", mx.zeros((128, 16), mx.uint32)), "in groups of 64 with 8 bits, config.json says"),
        (replaced(f"{GATE}.scales", mx.ones((128, 2))), "in groups of 32 with 4 bits, config.json says 64 and 4"),
        (replaced(f"{GATE}.scales", mx.ones((64, 1))), f"{GATE}.scales has shape (64, 1), config.json needs (128, 1)"),
        (replaced(f"{GATE}.biases", mx.ones((128, 2))), f"{GATE}.biases has shape (128, 2)"),
        (replaced(f"{GATE}.weight", mx.zeros((128, 8))), f"{GATE}.weight is of type F32"),
        (replaced(f"{GATE}.weight", mx.array(0, mx.uint32)), GATE),
        (replaced(f"{GATE}.scales", mx.zeros((128, 1), mx.uint8)), f"{GATE}.scales is of type U8"),
    ],
)
def test_quantized_checkpoints_that_do_not_fit(tmp_path: Path, change: Callable[[Arrays], None], words: str) -> None:
    raw = saved.raw_config()
    network = saved.model(raw)
    nn.quantize(network, 64, 4)
    raw["quantization"] = {"group_size": 64, "bits": 4}
    tensors = saved.renamed(saved.arrays(network), published)
    change(tensors)
    assert words in fault(saved.write(tmp_path, raw, tensors))


@pytest.mark.parametrize(
    "block",
    [
        {"group_size": 32, "bits": 4},
        {"group_size": 64, "bits": 8},
        {"group_size": 64, "bits": 4, GATE: {"bits": 8}},
        {"group_size": 64, "bits": 4, "mode": "mxfp4"},
    ],
    ids=["group size", "bits", "a module's bits", "mode"],
)
def test_a_configuration_that_contradicts_the_shapes(tmp_path: Path, block: dict[str, Any]) -> None:
    raw = saved.raw_config()
    network = saved.model(raw)
    nn.quantize(network, 64, 4)
    raw["quantization"] = block
    fault(saved.write(tmp_path, raw, saved.renamed(saved.arrays(network), published)))


def test_a_packing_that_does_not_exist(tmp_path: Path) -> None:
    """Groups of 16 with 7 bits: the shapes fit together, but nothing unpacks them."""
    raw = saved.raw_config()
    tensors = saved.renamed(saved.arrays(saved.model(raw)), published)
    tensors[f"{GATE}.weight"] = mx.zeros((128, 14), mx.uint32)
    tensors[f"{GATE}.scales"] = tensors[f"{GATE}.biases"] = mx.ones((128, 4))
    assert GATE in fault(saved.write(tmp_path, raw, tensors))


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_files(tmp_path: Path, kept: int) -> None:
    raw = saved.raw_config()
    file = saved.write(tmp_path, raw, saved.arrays(saved.model(raw))) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert "model.safetensors is truncated" in fault(tmp_path)


def test_a_missing_shard(tmp_path: Path) -> None:
    raw = saved.raw_config()
    saved.write(tmp_path, raw, saved.arrays(saved.model(raw)), shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors does not exist" in fault(tmp_path)


def test_shards_without_their_index(tmp_path: Path) -> None:
    raw = saved.raw_config()
    saved.write(tmp_path, raw, saved.arrays(saved.model(raw)), shards=2)
    (tmp_path / "model.safetensors.index.json").unlink()
    assert "model.safetensors does not exist" in fault(tmp_path)


def test_a_configuration_for_another_size(tmp_path: Path) -> None:
    raw = saved.raw_config()
    saved.write(tmp_path, raw, saved.arrays(saved.model(raw)))
    (tmp_path / "config.json").write_text(json.dumps(saved.raw_config(hidden_size=96)))
    assert "config.json needs" in fault(tmp_path)


def test_nothing_is_filled_before_everything_fits(tmp_path: Path) -> None:
    raw = saved.raw_config()
    network = saved.model(raw, seed=1)
    before = saved.arrays(network)
    tensors = saved.arrays(saved.model(raw)) | {"lm_head.weight": mx.ones((1,))}
    weights = Weights.read(saved.write(tmp_path, raw, tensors), target_name, ModelConfig.from_dict(raw).quantization)
    with pytest.raises(CheckpointError):
        fill(network, weights, mx.float32, None)
    assert all(mx.array_equal(array, before[name]) for name, array in saved.arrays(network).items())
