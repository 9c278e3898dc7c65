"""Configurations of other models are refused by name, damaged ones in one line that names the key."""

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.config import FULL, SLIDING, DrafterConfig, ModelConfig
from gemma_mlx.errors import ConfigError
from tests.configs import JSON, published, resaved, with_value, without

WRONG = [None, "x", -1, 0, 1.5, True, [], {}, ["x"], {"a": 1}, [[1]], math.nan, math.inf, 10**400, "two\nlines"]


def refusal(read: Callable[[JSON], object], raw: JSON) -> str:
    """The one line that refuses a configuration."""
    with pytest.raises(ConfigError) as fault:
        read(raw)
    assert "\n" not in str(fault.value)
    return str(fault.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_value({"quant_method": "compressed-tensors"}, "quantization_config"), "compressed-tensors"),
        (with_value({"quant_method": "gptq", "bits": 4}, "quantization_config"), "gptq"),
        (with_value({"bits": 4}, "quantization"), "unknown"),
        (with_value({"bits": 4, "group_size": 64, "mode": "nf4"}, "quantization"), "mode is 'nf4'"),
        (with_value(False, "tie_word_embeddings"), "tie_word_embeddings is false"),
        (with_value(False, "text_config", "tie_word_embeddings"), "tie_word_embeddings is false"),
        (with_value(True, "text_config", "attention_bias"), "attention_bias is True"),
        (with_value(True, "text_config", "enable_moe_block"), "enable_moe_block is True"),
        (with_value(True, "text_config", "use_double_wide_mlp"), "use_double_wide_mlp is True"),
        (with_value(256, "text_config", "hidden_size_per_layer_input"), "hidden_size_per_layer_input is 256"),
        (with_value("silu", "text_config", "hidden_activation"), "hidden_activation is 'silu'"),
        (with_value("all", "text_config", "use_bidirectional_attention"), "use_bidirectional_attention is 'all'"),
        (with_value(None, "text_config", "use_bidirectional_attention"), "use_bidirectional_attention is None"),
        (with_value(20, "text_config", "num_kv_shared_layers"), "num_kv_shared_layers is 20"),
        (with_value("yarn", "text_config", "rope_parameters", FULL, "rope_type"), "rope_type is 'yarn'"),
        (with_value(1.5, "text_config", "rope_parameters", FULL, "partial_rotary_factor"), "at most 1"),
        (with_value(12, "text_config", "num_key_value_heads"), "num_attention_heads is 16"),
        (with_value(5, "text_config", "num_global_key_value_heads"), "num_attention_heads is 16"),
        (with_value(2**31 - 2, "text_config", "head_dim"), "head_dim is 2147483646"),
        (with_value(2**24, "text_config", "num_attention_heads"), "at most 4194303"),
        (with_value([SLIDING] * 48, "text_config", "layer_types"), "layer_types"),
        (with_value([SLIDING, FULL], "text_config", "layer_types"), "layer_types"),
        (with_value(["chunked_attention"] * 48, "text_config", "layer_types"), "layer_types"),
        (with_value(5, "text_config", "num_hidden_layers"), "layer_types"),
        (with_value(1000, "vision_config", "output_proj_dims"), "output_proj_dims is 1000"),
        (with_value([1], "text_config"), "text_config is [1], expected an object"),
        (without("text_config"), "has no text_config"),
        (without("text_config", "hidden_size"), "hidden_size is None"),
        (with_value(True, "text_config", "hidden_size"), "hidden_size is True"),
        (with_value(True, "text_config", "rms_norm_eps"), "rms_norm_eps is True"),
        (with_value("yes", "text_config", "attention_k_eq_v"), "attention_k_eq_v is 'yes', expected true or false"),
        (with_value(["1"], "eos_token_id"), "eos_token_id is ['1']"),
        (with_value([1, -1], "eos_token_id"), "eos_token_id is [1, -1]"),
        (with_value(True, "eos_token_id"), "eos_token_id is True"),
    ],
)
def test_unsupported_target_is_refused(change: Callable[[JSON], None], words: str) -> None:
    raw = published("target_it")
    change(raw)
    assert words in refusal(ModelConfig.from_dict, raw)


@pytest.mark.parametrize(
    "entries",
    [
        {"5": {"head_dim": 512}},  # 7 of 8 are missing
        {f"{i:02}": {"head_dim": 512} for i in range(0, 48, 6)},  # sliding layers
        {f"{i:02}": {"head_dim": 512 + i} for i in range(5, 48, 6)},
        {f"{i:02}": 512 for i in range(5, 48, 6)},
        {"five": {"head_dim": 512}},
        {"9" * 5000: {"head_dim": 512}},
    ],
    ids=["few", "sliding", "different", "no objects", "no index", "endless index"],
)
def test_strange_per_layer_configs_are_refused(entries: JSON) -> None:
    raw = published("target_it")
    raw["text_config"]["per_layer_config"] = entries
    refusal(ModelConfig.from_dict, raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"model_type": "gemma4", "text_config": {"hidden_size_per_layer_input": 256}}, "E2B or E4B"),
        ({"model_type": "gemma4", "text_config": {"enable_moe_block": True}}, "26B-A4B"),
        ({"model_type": "gemma4", "text_config": {"hidden_size": 5376}}, "image encoder (gemma4, hidden size 5376)"),
        ({"model_type": "gemma4", "text_config": 3}, "image encoder"),
        ({"model_type": "gemma3"}, "gemma3"),
        ({"model_type": "llama"}, "llama"),
        ({}, "model_type is missing"),
    ],
)
def test_other_models_are_refused_by_name(raw: JSON, words: str) -> None:
    for read in (ModelConfig.from_dict, DrafterConfig.from_dict):
        message = refusal(read, raw)
        assert words in message
        assert "supported: Gemma 4 12B" in message


def test_model_and_drafter_are_not_confused() -> None:
    assert "give the 12B's own directory" in refusal(ModelConfig.from_dict, published("assistant"))
    assert "give it as the model" in refusal(DrafterConfig.from_dict, published("target_it"))
    ordered = published("assistant") | {"use_ordered_embeddings": True}
    assert "E2B or E4B" in refusal(DrafterConfig.from_dict, ordered)
    unshared = published("assistant")
    unshared["text_config"]["num_kv_shared_layers"] = 3
    assert "num_kv_shared_layers is 3 of 4" in refusal(DrafterConfig.from_dict, unshared)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[1]", b"null", b"9" * 5000, b"[" * 100_000],
    ids=["empty", "cut", "no UTF-8", "list", "null", "endless number", "endless nesting"],
)
def test_damaged_json_is_one_line_with_the_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    for load in (ModelConfig.load, DrafterConfig.load):
        with pytest.raises(ConfigError, match=r"^[^\n]*config\.json[^\n]*download it again$"):
            load(tmp_path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json does not exist"):
        ModelConfig.load(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"config\.json does not exist"):
        ModelConfig.load(tmp_path / "file")
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        ModelConfig.load(tmp_path)


def paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield (*path, key)
            yield from paths(entry, (*path, key))


@pytest.mark.parametrize("name", ["target_it", "assistant"])
def test_no_damage_of_any_key_escapes(name: str) -> None:
    """Each key deleted, or set to each wrong value: a configuration or a ConfigError of one short line."""
    read: Callable[[JSON], object] = ModelConfig.from_dict if name == "target_it" else DrafterConfig.from_dict
    whole = published(name)
    whole["quantization"] = {"group_size": 64, "bits": 4, "mode": "affine", "model.norm": {"group_size": 64, "bits": 8}}
    resaved(whole)
    changes = [(path, without(*path)) for path in paths(whole)]
    changes += [(path, with_value(value, *path)) for path in paths(whole) for value in WRONG]
    for path, change in changes:
        raw = copy.deepcopy(whole)
        change(raw)
        message = fault(read, raw)
        assert "\n" not in message, path
        assert len(message) < 320, path


def fault(read: Callable[[JSON], object], raw: JSON) -> str:
    try:
        read(raw)
    except ConfigError as error:
        return str(error)
    return ""
