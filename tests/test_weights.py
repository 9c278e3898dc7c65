"""Checkpoints in every layout load into what was saved; what does not fit is one line that names it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest

from gemma_mlx.config import ModelConfig
from gemma_mlx.errors import CheckpointError, ConfigError
from gemma_mlx.loading import load_drafter, load_model
from gemma_mlx.names import target_name
from gemma_mlx.weights import Weights, activation_dtype
from tests import saved, tiny
from tests.saved import Arrays, of_mlx_vlm, of_modules, published

GATE = "language_model.layers.0.mlp.gate_proj"
# group sizes and bits that differ between modules, as published mixtures do; None stays as it is
MIXED = {
    "language_model.embed_tokens": (32, 4),
    GATE: (64, 8),
    "language_model.layers.3.self_attn.k_proj": (32, 6),
    "vision_embedder.patch_dense": None,
    "embed_vision.embedding_projection": (64, 8),
}


def equal(found: Arrays, expected: Arrays) -> None:
    """The same names, types and values."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert mx.array_equal(found[name], array), name


def packed(network: nn.Module, default: dict[str, Any], other: Mapping[str, tuple[int, int] | None]) -> dict[str, Any]:
    """Quantizes in place. Returns the block of `config.json` that says how, with mlx-vlm's paths."""

    def choose(path: str, module: nn.Module) -> bool | dict[str, Any]:
        if not isinstance(module, nn.Linear | nn.Embedding) or other.get(path, ()) is None:
            return False
        group, bits = other.get(path) or (default["group_size"], default["bits"])
        return {"group_size": group, "bits": bits, "mode": default.get("mode", "affine")}

    nn.quantize(network, class_predicate=choose)
    mx.eval(network.parameters())
    named = {of_mlx_vlm(path): how and {"group_size": how[0], "bits": how[1]} for path, how in other.items()}
    return default | {path: how or False for path, how in named.items()}


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("spell", [published, of_modules, of_mlx_vlm])
def test_layouts_load_what_was_saved(tmp_path: Path, spell: Callable[[str], str], shards: int) -> None:
    raw = saved.raw_config()
    source = saved.model(raw)
    tensors = saved.renamed(saved.arrays(source), spell)
    tensors[spell("language_model.rotary_emb.inv_freq")] = mx.ones((4,))  # follows from the configuration
    loaded = load_model(saved.write(tmp_path, raw, tensors, shards))
    equal(saved.arrays(loaded), saved.arrays(source))
    assert mx.array_equal(saved.answer(loaded), saved.answer(source))


@pytest.mark.parametrize(
    ("default", "other"),
    [
        ({"group_size": 64, "bits": 4}, {}),
        ({"group_size": 32, "bits": 4, "mode": "affine"}, {}),
        ({"group_size": 64, "bits": 4, "mode": "affine"}, MIXED),
        ({"group_size": 64, "bits": 3}, {GATE: (32, 2)}),
        ({"group_size": 32, "bits": 4, "mode": "mxfp4"}, {}),
        ({"group_size": 32, "bits": 8, "mode": "mxfp8"}, {GATE: None}),
        ({"group_size": 16, "bits": 4, "mode": "nvfp4"}, {}),
    ],
    ids=["4-bit g64", "4-bit g32", "mixed", "3 and 2 bits", "mxfp4", "mxfp8", "nvfp4"],
)
def test_quantized_layouts_equal_a_model_quantized_in_memory(
    tmp_path: Path, default: dict[str, Any], other: Mapping[str, tuple[int, int] | None]
) -> None:
    raw = saved.raw_config()
    source = saved.model(raw)
    dense = saved.answer(source)
    raw["quantization"] = packed(source, default, other)
    directory = saved.write(tmp_path, raw, saved.renamed(saved.arrays(source), of_mlx_vlm))
    loaded = load_model(directory)
    equal(saved.arrays(loaded), saved.arrays(source))
    assert mx.array_equal(saved.answer(loaded), saved.answer(source))
    assert not mx.array_equal(saved.answer(loaded), dense)
    (directory / "config.json").write_text(json.dumps({key: raw[key] for key in raw if key != "quantization"}))
    with pytest.raises(CheckpointError, match="is packed, config"):
        load_model(directory)


def test_a_model_without_pictures_and_sound(tmp_path: Path) -> None:
    raw = saved.raw_config()
    del raw["vision_config"], raw["audio_config"]
    source = saved.model(raw)
    assert not any("vision" in name or "audio" in name for name in saved.arrays(source))
    equal(saved.arrays(load_model(saved.write(tmp_path, raw, saved.arrays(source)))), saved.arrays(source))


def test_the_assistant(tmp_path: Path) -> None:
    source = tiny.drafter()
    text = tiny.text_config(num_hidden_layers=4, layer_types=list(source.config.text_config.layer_types))
    raw = {
        "model_type": "gemma4_unified_assistant",
        "backbone_hidden_size": 32,
        "text_config": text | {"num_kv_shared_layers": 4},
    }
    saved.write(tmp_path, raw, saved.arrays(source))
    equal(saved.arrays(load_drafter(tmp_path)), saved.arrays(source))
    with pytest.raises(ConfigError, match="give the 12B's own directory"):
        load_model(tmp_path)


def test_types_are_kept_or_cast(tmp_path: Path) -> None:
    raw = saved.raw_config(hidden_size=96)
    half = {name: array.astype(mx.bfloat16) for name, array in saved.arrays(saved.model(raw)).items()}
    saved.write(tmp_path, raw, half)
    equal(saved.arrays(load_model(tmp_path, dtype="bfloat16")), half)
    wide = load_model(tmp_path)  # auto: float32 on a CPU
    equal(saved.arrays(wide), {name: array.astype(mx.float32) for name, array in half.items()})
    assert wide.language_model.embed_scale == 9.8125  # √96 = 9.798 as bfloat16, in which it was trained
    saved.write(tmp_path, raw, saved.arrays(wide))
    assert load_model(tmp_path).language_model.embed_scale == pytest.approx(96**0.5, rel=1e-7)
    with pytest.raises(ConfigError, match="dtype is int8, expected auto, float32, bfloat16, float16"):
        load_model(tmp_path, dtype="int8")


def test_a_stray_type_does_not_change_what_is_stored(tmp_path: Path) -> None:
    raw = saved.raw_config(hidden_size=96)
    tensors = {name: array.astype(mx.bfloat16) for name, array in saved.arrays(saved.model(raw)).items()}
    first = min(tensors)
    tensors[first] = tensors[first].astype(mx.float32) if tensors[first].ndim == 1 else tensors[first]
    tensors["language_model.layers.0.layer_scalar"] = tensors["language_model.layers.0.layer_scalar"].astype(mx.float32)
    weights = Weights.read(saved.write(tmp_path, raw, tensors), target_name, None)
    assert {tensor.dtype for tensor in weights.tensors.values()} == {"BF16", "F32"}
    assert weights.stored_dtype == mx.bfloat16
    assert weights.bits() == {"language": 16, "vision": 16, "audio": 16}


def test_text_embeddings_have_the_type_that_is_computed_in(tmp_path: Path) -> None:
    """mxfp4 unpacks to bfloat16 whatever its surroundings."""
    raw = saved.raw_config()
    source = saved.model(raw)
    raw["quantization"] = packed(source, {"group_size": 32, "bits": 4, "mode": "mxfp4"}, {})
    saved.write(tmp_path, raw, saved.arrays(source))
    for dtype in (mx.float32, mx.float16):
        model = load_model(tmp_path, dtype=str(dtype).rpartition(".")[2])
        assert model.embed_text(mx.array([[1, 2]])).dtype == dtype


def test_auto_is_the_stored_type_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = saved.raw_config()
    half = {name: array.astype(mx.bfloat16) for name, array in saved.arrays(saved.model(raw)).items()}
    weights = Weights.read(saved.write(tmp_path, raw, half), target_name, None)
    assert activation_dtype("auto", weights) == mx.float32
    monkeypatch.setattr(mx, "default_device", lambda: mx.Device(mx.gpu))
    assert activation_dtype("auto", weights) == mx.bfloat16


def test_quantized_weights_stay_packed_whatever_the_type(tmp_path: Path) -> None:
    raw = saved.raw_config()
    source = saved.model(raw)
    raw["quantization"] = packed(source, {"group_size": 64, "bits": 4}, {})
    loaded = load_model(saved.write(tmp_path, raw, saved.arrays(source)), dtype="bfloat16")
    found = saved.arrays(loaded)
    assert mx.array_equal(found[f"{GATE}.weight"], saved.arrays(source)[f"{GATE}.weight"])
    assert (found[f"{GATE}.weight"].dtype, found[f"{GATE}.scales"].dtype) == (mx.uint32, mx.bfloat16)


def test_bits_by_part(tmp_path: Path) -> None:
    raw = saved.raw_config()
    source = saved.model(raw)
    weights = Weights.read(saved.write(tmp_path, raw, saved.arrays(source)), target_name, None)
    assert weights.bits() == {"language": 32.0, "vision": 32.0, "audio": 32.0}
    other = {"vision_embedder.patch_dense": None, "embed_vision.embedding_projection": None, "embed_audio": None}
    raw["quantization"] = packed(source, {"group_size": 64, "bits": 4}, other)
    saved.write(tmp_path, raw, saved.renamed(saved.arrays(source), of_mlx_vlm))
    config = ModelConfig.load(tmp_path)
    weights = Weights.read(tmp_path, target_name, config.quantization)
    assert weights.bits() == {"language": 4.0, "vision": 32.0, "audio": 4.0}


def test_progress_counts_every_byte_once(tmp_path: Path) -> None:
    raw = saved.raw_config()
    source = saved.model(raw)
    saved.write(tmp_path, raw, saved.arrays(source))
    seen: list[tuple[int, int]] = []
    load_model(tmp_path, progress=lambda done, total: seen.append((done, total)))
    total = sum(array.nbytes for array in saved.arrays(source).values())
    assert {whole for _, whole in seen} == {total}
    done = [part for part, _ in seen]
    assert done == sorted(set(done))
    assert done[-1] == total
    assert len(done) > raw["text_config"]["num_hidden_layers"]


@pytest.mark.parametrize("stored", [mx.float32, mx.bfloat16])
def test_loading_holds_one_layer_more_than_what_stays(tmp_path: Path, stored: mx.Dtype) -> None:
    raw = saved.raw_config(hidden_size=256, intermediate_size=1024)
    half = {name: array.astype(stored) for name, array in saved.arrays(saved.model(raw)).items()}
    saved.write(tmp_path, raw, half)
    of_a_layer = sum(array.nbytes for name, array in half.items() if ".layers.3." in name)
    patches = half["vision_embedder.patch_dense.weight"].nbytes
    del half
    before = mx.set_cache_limit(0)
    mx.clear_cache()
    held = mx.get_active_memory()
    mx.reset_peak_memory()
    loaded = load_model(tmp_path)
    peak = mx.get_peak_memory() - held
    mx.set_cache_limit(before)
    resident = sum(array.nbytes for array in saved.arrays(loaded).values())
    assert resident > 4 * max(of_a_layer, patches)
    assert resident <= peak <= resident + max(of_a_layer, patches) + 2**20
