"""What a conversion can start from, and what the headers alone say of it."""

import json
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx.convert.recipes import RECIPES
from gemma_mlx.convert.run import convert
from gemma_mlx.convert.source import Source
from gemma_mlx.errors import CheckpointError, ConfigError
from gemma_mlx.quantization import ModuleQuantization
from tests import saved
from tests.convert import checkpoints

Q = "language_model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize("spelling", [saved.published, saved.of_modules, saved.of_mlx_vlm])
@pytest.mark.parametrize("shards", [1, 3])
def test_every_spelling_is_one_source(tmp_path: Path, spelling: Callable[[str], str], shards: int) -> None:
    source = Source.read(checkpoints.target(tmp_path / "a", spelling=spelling, shards=shards))
    wanted = {name: array.shape for name, array in saved.arrays(saved.model(saved.raw_config())).items()}
    assert source.shapes == wanted
    assert source.weights.tensors.keys() == wanted.keys()
    assert len(source.files) == shards
    assert not source.is_drafter
    assert not source.is_packed
    assert source.packed(f"{Q}.weight") is None
    assert source.packed("language_model.layers.0.layer_scalar") is None


def test_the_order_is_that_of_the_model(tmp_path: Path) -> None:
    names = list(Source.read(checkpoints.target(tmp_path / "a")).shapes)
    layers = [int(name.split(".")[2]) for name in names if ".layers." in name]
    assert layers == sorted(layers)


def test_shapes_are_those_of_the_unpacked_model(tmp_path: Path) -> None:
    plain = Source.read(checkpoints.target(tmp_path / "a"))
    convert(plain.directory, tmp_path / "b", RECIPES["4bit-g32"])
    packed = Source.read(tmp_path / "b")
    assert packed.shapes == plain.shapes
    assert packed.is_packed
    assert packed.packed(f"{Q}.weight") == ModuleQuantization(32, 4)
    assert packed.packed("embed_audio.embedding_projection.weight") is None


def test_names_in_the_mlx_tree(tmp_path: Path) -> None:
    source = Source.read(checkpoints.target(tmp_path / "a"))
    assert {source.stored_name(name) for name in source.shapes} == {saved.of_mlx_vlm(name) for name in source.shapes}


def test_the_assistant_keeps_its_names(tmp_path: Path) -> None:
    source = Source.read(checkpoints.drafter(tmp_path / "a"))
    assert source.is_drafter
    assert {source.stored_name(name) for name in source.shapes} == checkpoints.raw_bytes(source.directory).keys()


def test_tensors_that_an_index_replaces_are_left_out(tmp_path: Path) -> None:
    """As `pull` arranges it: pictures and sound come from a file of their own, what they replace stays in its shard."""
    plain = checkpoints.target(tmp_path / "a")
    tensors = checkpoints.arrays(plain)
    media = {name: array for name, array in tensors.items() if "language" not in name}
    damaged = {name: mx.full(array.shape, float("nan"), array.dtype) for name, array in media.items()}
    hybrid = checkpoints.target(tmp_path / "b")
    mx.save_safetensors(str(hybrid / "model.safetensors"), tensors | damaged, {"format": "mlx"})
    mx.save_safetensors(str(hybrid / "media.safetensors"), media, {"format": "mlx"})
    weight_map = dict.fromkeys(tensors, "model.safetensors") | dict.fromkeys(media, "media.safetensors")
    index = {"weight_map": weight_map, "unused": {"model.safetensors": list(media)}}
    (hybrid / "model.safetensors.index.json").write_text(json.dumps(index))
    for source in (plain, hybrid):
        convert(source, tmp_path / f"{source.name}-out", RECIPES["4bit"])
    assert checkpoints.raw_bytes(tmp_path / "a-out") == checkpoints.raw_bytes(tmp_path / "b-out")
    assert not (tmp_path / "b-out" / "model.safetensors.index.json").exists()


def test_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(ConfigError, match=f"{path.name} is no directory"):
            Source.read(path)


@pytest.mark.parametrize("change", ["missing", "shape", "type"])
def test_what_does_not_fit_the_config(tmp_path: Path, change: str) -> None:
    raw = saved.raw_config()
    tensors = saved.renamed(saved.arrays(saved.model(raw)), saved.published)
    name = f"model.{Q}.weight"
    if change == "missing":
        del tensors[name]
    else:
        tensors[name] = tensors[name][1:] if change == "shape" else tensors[name].astype(mx.int32)
    saved.write(tmp_path, raw, tensors)
    with pytest.raises(CheckpointError, match="q_proj"):
        Source.read(tmp_path)


def test_another_model(tmp_path: Path) -> None:
    directory = checkpoints.target(tmp_path / "a")
    raw = checkpoints.config(directory)
    (directory / "config.json").write_text(json.dumps(raw | {"model_type": "llama"}))
    with pytest.raises(ConfigError, match="llama"):
        Source.read(directory)
