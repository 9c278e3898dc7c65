"""Resident bytes from headers against models that were loaded, and against the published byte counts."""

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import pytest

from gemma_mlx.errors import CheckpointError, ConfigError
from gemma_mlx.loading import load_model
from gemma_mlx.memory.plan import model_bytes
from gemma_mlx.memory.published import drafter_bytes, drafter_config, packed_bytes, published_bytes, target_config
from gemma_mlx.memory.weights import stored_item
from gemma_mlx.model.drafter import Drafter
from tests import saved


def _checkpoint(directory: Path, bits: int | None, stored: mx.Dtype) -> Path:
    raw = saved.raw_config()
    network = saved.model(raw)
    network.update({"language_model": network.language_model.parameters()})
    if bits is not None:
        nn.quantize(network.language_model, group_size=32, bits=bits)
        raw["quantization"] = {"group_size": 32, "bits": bits}
    tensors = {
        name: array.astype(stored) if mx.issubdtype(array.dtype, mx.floating) else array
        for name, array in saved.arrays(network).items()
    }
    return saved.write(directory, raw, saved.renamed(tensors, saved.of_mlx_vlm))


@pytest.mark.parametrize("bits", [None, 4, 8])
@pytest.mark.parametrize("stored", [mx.float32, mx.bfloat16])
@pytest.mark.parametrize(("dtype", "item"), [("float32", 4), ("bfloat16", 2)])
def test_bytes_are_those_of_the_loaded_model(
    tmp_path: Path, bits: int | None, stored: mx.Dtype, dtype: str, item: int
) -> None:
    directory = _checkpoint(tmp_path, bits, stored)
    sizes = model_bytes(directory, None, item)
    arrays = saved.arrays(load_model(directory, dtype=dtype))
    assert sizes.weights == sum(array.nbytes for array in arrays.values())
    layers = [f"language_model.layers.{layer}." for layer in range(7)]
    largest = max(sum(a.nbytes for name, a in arrays.items() if name.startswith(layer)) for layer in layers)
    assert sizes.largest_layer >= largest
    assert sizes.config.text_config.num_hidden_layers == 7
    assert stored_item(directory) == stored.size


def test_faults_are_those_of_loading(tmp_path: Path) -> None:
    directory = _checkpoint(tmp_path, None, mx.float32)
    (directory / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="truncated"):
        model_bytes(directory, None, 4)
    (directory / "config.json").unlink()
    with pytest.raises(ConfigError):
        model_bytes(directory, None, 4)


# Payloads of the published files; those with a packed language model keep vision and audio in 16 bits (62.9 MB more).
@pytest.mark.parametrize(
    ("recipe", "expected"),
    [("bf16", 23_919_460_448), ("4bit", 6_740_867_168 + 62_883_840), ("8bit", 12_716_030_048 + 41_011_200)],
)
def test_published_bytes_follow_from_the_configuration(recipe: str, expected: int) -> None:
    assert published_bytes(recipe, 2).weights == expected


def test_the_published_assistant_has_its_published_bytes() -> None:
    assert drafter_bytes(drafter_config(), "bf16", 2) == 845_713_928
    assert published_bytes("4bit", 2).drafter is None


@pytest.mark.parametrize("item", [2, 4])
def test_the_assistant_is_counted_as_pull_packs_it(item: int) -> None:
    """The oracle: the network's arrays once MLX has packed them, which nothing computes."""
    network = Drafter(drafter_config())
    nn.quantize(network, group_size=64, bits=4)
    arrays = saved.arrays(network).values()
    expected = sum(array.nbytes if array.dtype == mx.uint32 else array.size * item for array in arrays)
    sizes = published_bytes("bf16", item, drafter=True)
    assert sizes.drafter_weights == expected
    assert sizes.drafter == drafter_config()


@pytest.mark.parametrize(("recipe", "bits"), [("bf16", None), ("4bit", 4), ("8bit", 8)])
def test_shapes_on_paper_are_those_of_a_checkpoint(tmp_path: Path, recipe: str, bits: int | None) -> None:
    """Groups of 64 as recipes have them, scales and biases in the activation type."""
    raw = saved.raw_config()
    network = saved.model(raw)
    if bits is not None:
        nn.quantize(network.language_model, group_size=64, bits=bits)
        raw["quantization"] = {"group_size": 64, "bits": bits}
    saved.write(tmp_path, raw, saved.arrays(network))
    sizes = model_bytes(tmp_path, None, 4)
    assert packed_bytes(sizes.config, recipe, 4) == sizes.weights


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="'3bit' is no recipe with known bytes: choose one of 4bit"):
        published_bytes("3bit", 2)
    assert target_config("bf16").quantization is None
