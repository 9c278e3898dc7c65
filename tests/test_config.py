"""Every spelling of a configuration that was published means what it says."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gemma_mlx.config import FULL, SLIDING, AudioConfig, DrafterConfig, ModelConfig, RopeConfig, VisionConfig
from gemma_mlx.quantization import ModuleQuantization
from tests.configs import JSON, published, resaved, target, with_value, without


def write(directory: Path, raw: JSON) -> Path:
    (directory / "config.json").write_text(json.dumps(raw))
    return directory


def test_published_target(tmp_path: Path) -> None:
    config = ModelConfig.load(write(tmp_path, published("target_it")))
    text = config.text_config
    assert (text.hidden_size, text.intermediate_size, text.vocab_size) == (3840, 15360, 262144)
    assert (text.num_hidden_layers, text.num_attention_heads, text.sliding_window) == (48, 16, 1024)
    assert (text.num_key_value_heads, text.head_dim) == (8, 256)
    assert (text.num_global_key_value_heads, text.global_head_dim) == (1, 512)
    assert text.layer_types == (*[SLIDING] * 5, FULL) * 8
    assert (text.rope_sliding, text.rope_full) == (
        RopeConfig("default", 1e4),
        RopeConfig("proportional", 1e6, 0.25),
    )
    assert (text.attention_k_eq_v, text.final_logit_softcapping, text.rms_norm_eps) == (True, 30.0, 1e-6)
    assert (text.max_position_embeddings, text.pad_token_id, text.num_kv_shared_layers) == (262144, 0, 0)
    assert config.vision_config == VisionConfig(3840, 3840, 1120, 16, 3, 280, 1e-6)
    assert config.vision_config is not None
    assert (config.vision_config.model_patch_size, config.vision_config.patch_dim) == (48, 6912)
    assert config.audio_config == AudioConfig(640, 1e-6)
    assert config.audio_config is not None
    assert config.audio_config.audio_samples_per_token == 640
    assert (config.image_token_id, config.audio_token_id, config.video_token_id) == (258880, 258881, 258884)
    assert (config.boi_token_id, config.eoi_token_id) == (255999, 258882)
    assert (config.boa_token_id, config.eoa_token_id) == (256000, 258883)
    assert config.eos_token_id == (1, 106)
    assert config.quantization is None


def test_layers_resolve_widths_and_kinds() -> None:
    text = target().text_config
    sliding, full = text.layers[4], text.layers[5]
    assert (sliding.is_sliding, sliding.head_dim, sliding.num_key_value_heads, sliding.k_eq_v) == (True, 256, 8, False)
    assert (full.is_sliding, full.head_dim, full.num_key_value_heads, full.k_eq_v) == (False, 512, 1, True)
    assert (sliding.rope, full.rope) == (text.rope_sliding, text.rope_full)
    assert [index for index, layer in enumerate(text.layers) if not layer.is_sliding] == list(range(5, 48, 6))
    assert (text.last_layer(SLIDING), text.last_layer(FULL)) == (46, 47)


def test_base_model_differs_in_the_end_of_sequence_only() -> None:
    base = ModelConfig.from_dict(published("target_base"))
    assert base.eos_token_id == (1,)
    assert replace(base, eos_token_id=(1, 106)) == target()


def test_published_assistant(tmp_path: Path) -> None:
    config = DrafterConfig.load(write(tmp_path, published("assistant")))
    text = config.text_config
    assert (config.backbone_hidden_size, config.quantization) == (3840, None)
    assert (text.hidden_size, text.intermediate_size, text.vocab_size) == (1024, 8192, 262144)
    assert text.layer_types == (SLIDING, SLIDING, SLIDING, FULL)
    assert (text.num_kv_shared_layers, text.final_logit_softcapping) == (4, None)
    assert (text.head_dim, text.global_head_dim, text.num_global_key_value_heads) == (256, 512, 1)


@pytest.mark.parametrize(
    "change",
    [
        resaved,
        with_value({"audio_embed_dim": 640}, "audio_config"),
        with_value({}, "audio_config"),
        with_value({}, "vision_config"),
        with_value(258883, "eoa_token_id"),
        without("eoa_token_index"),
        with_value(None, "eoa_token_index"),
        without("text_config", "layer_types"),
        without("text_config", "rope_parameters"),
        without("text_config", "global_head_dim"),
        without("tie_word_embeddings"),
        without("text_config", "rms_norm_eps"),
        with_value({}, "quantization"),
        with_value({}, "quantization_config"),
    ],
    ids=lambda change: change.__qualname__,
)
def test_other_spellings_mean_the_published_model(change: Callable[[JSON], None]) -> None:
    assert target(change) == target()


@pytest.mark.parametrize(
    ("change", "ids"),
    [
        (with_value(5, "eos_token_id"), (5,)),
        (with_value([1, 106, 50], "eos_token_id"), (1, 106, 50)),
        (with_value(None, "eos_token_id"), (1,)),
        (without("eos_token_id"), (1,)),
        (lambda raw: (raw.pop("eos_token_id"), raw["text_config"].pop("eos_token_id")), (1,)),
        (lambda raw: (raw.pop("eos_token_id"), raw["text_config"].update(eos_token_id=[7, 8])), (7, 8)),
    ],
)
def test_end_of_sequence_ids(change: Callable[[JSON], None], ids: tuple[int, ...]) -> None:
    assert target(change).eos_token_id == ids


def test_what_a_checkpoint_may_lack_or_shorten() -> None:
    short = target(with_value(131072, "text_config", "max_position_embeddings"))
    assert short.text_config.max_position_embeddings == 131072
    assert target(without("vision_config")).vision_config is None
    assert target(without("audio_config")).audio_config is None
    assert target(with_value(7, "eoa_token_id")).eoa_token_id == 7
    assert target(with_value(8, "eoa_token_index")).eoa_token_id == 8
    uncapped = target(with_value(None, "text_config", "final_logit_softcapping"))
    assert uncapped.text_config.final_logit_softcapping is None


def test_keys_and_values_apart_means_as_many_heads_as_sliding_layers() -> None:
    """The reference reads `num_global_key_value_heads` only where keys and values are one."""
    text = target(with_value(False, "text_config", "attention_k_eq_v")).text_config
    assert (text.attention_k_eq_v, text.num_global_key_value_heads, text.global_head_dim) == (False, 8, 512)


def test_quantization_by_module() -> None:
    block = {
        "group_size": 64,
        "bits": 4,
        "mode": "affine",
        "language_model.model.layers.0.mlp.gate_proj": {"group_size": 32, "bits": 8},
        "language_model.model.embed_tokens": {"bits": 6},
        "vision_embedder.patch_dense": False,
        "embed_audio.embedding_projection": {"group_size": 32, "bits": 4, "mode": "mxfp4"},
    }
    for key in ("quantization", "quantization_config"):
        found = target(with_value(block, key)).quantization
        assert found is not None
        assert found.default == ModuleQuantization(64, 4, "affine")
        assert found.modules == {
            "language_model.model.layers.0.mlp.gate_proj": ModuleQuantization(32, 8),
            "language_model.model.embed_tokens": ModuleQuantization(64, 6),
            "embed_audio.embedding_projection": ModuleQuantization(32, 4, "mxfp4"),
        }
    drafter = DrafterConfig.from_dict(published("assistant") | {"quantization": {"group_size": 64, "bits": 4}})
    assert drafter.quantization is not None
    assert (drafter.quantization.default, drafter.quantization.modules) == (ModuleQuantization(64, 4), {})
