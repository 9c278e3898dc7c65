"""The shape of a model, read from its `config.json`.

Frozen values only: no weights, no files besides `config.json`, no idea what runs them. Keys keep the reference's
names. Every spelling that published checkpoints use is accepted (`per_layer_config` of re-saved checkpoints, audio
configs with a single key, `eoa_token_index` or `eoa_token_id`, quantization blocks with per-module entries); a
checkpoint of another family is refused by name.
Source: the published `config.json` of google/gemma-4-12B-it and its assistant, and transformers' `gemma4_unified`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemma_mlx.errors import ConfigError
from gemma_mlx.family import SUPPORTED, refuse_other_models, refuse_unsupported
from gemma_mlx.fields import Fields, read_json
from gemma_mlx.quantization import QuantizationConfig, quantization_config

SLIDING = "sliding_attention"
FULL = "full_attention"
_MOST_ROWS = 2**31  # MLX counts the rows of an array in 32 bits
_PATTERN = 6  # five sliding layers, then a full one, when a config does not list its layers


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding of one kind of layer; `partial_rotary_factor` counts only for `proportional`."""

    rope_type: str
    rope_theta: float
    partial_rotary_factor: float = 1.0


@dataclass(frozen=True)
class AttentionConfig:
    """One layer's attention: its kind and the widths that differ between kinds."""

    layer_type: str
    head_dim: int
    num_key_value_heads: int
    k_eq_v: bool
    rope: RopeConfig

    @property
    def is_sliding(self) -> bool:
        return self.layer_type == SLIDING


@dataclass(frozen=True)
class TextConfig:
    """The decoder. `global_*` are the widths of full-attention layers; `layers` resolves them for each layer."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    num_global_key_value_heads: int
    global_head_dim: int
    layer_types: tuple[str, ...]
    sliding_window: int
    vocab_size: int
    rope_sliding: RopeConfig
    rope_full: RopeConfig
    attention_k_eq_v: bool = True
    num_kv_shared_layers: int = 0
    final_logit_softcapping: float | None = None
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 262144
    pad_token_id: int = 0

    @property
    def layers(self) -> tuple[AttentionConfig, ...]:
        """Attention of every layer, in order."""
        sliding = AttentionConfig(SLIDING, self.head_dim, self.num_key_value_heads, False, self.rope_sliding)
        full = AttentionConfig(
            FULL, self.global_head_dim, self.num_global_key_value_heads, self.attention_k_eq_v, self.rope_full
        )
        return tuple(sliding if kind == SLIDING else full for kind in self.layer_types)

    def last_layer(self, layer_type: str) -> int:
        """Index of the last layer of a kind: the one whose keys and values the drafter reads."""
        return max(index for index, kind in enumerate(self.layer_types) if kind == layer_type)


@dataclass(frozen=True)
class VisionConfig:
    """The image embedder: one projection of square patches of `model_patch_size` pixels."""

    mm_embed_dim: int
    output_proj_dims: int
    mm_posemb_size: int = 1120
    patch_size: int = 16
    pooling_kernel_size: int = 3
    num_soft_tokens: int = 280
    rms_norm_eps: float = 1e-6

    @property
    def model_patch_size(self) -> int:
        """Side of the patch that becomes one soft token, in pixels."""
        return self.patch_size * self.pooling_kernel_size

    @property
    def patch_dim(self) -> int:
        """Values of one patch: rows × columns × 3 channels."""
        return self.model_patch_size**2 * 3


@dataclass(frozen=True)
class AudioConfig:
    """The audio embedder: frames of `audio_samples_per_token` samples at 16 kHz, one soft token each."""

    audio_embed_dim: int = 640
    rms_norm_eps: float = 1e-6

    @property
    def audio_samples_per_token(self) -> int:
        return self.audio_embed_dim


@dataclass(frozen=True)
class ModelConfig:
    """The target: decoder, embedders of the modalities it has, and the token ids that mark them."""

    text_config: TextConfig
    vision_config: VisionConfig | None
    audio_config: AudioConfig | None
    quantization: QuantizationConfig | None
    image_token_id: int = 258880
    audio_token_id: int = 258881
    video_token_id: int = 258884
    boi_token_id: int = 255999
    eoi_token_id: int = 258882
    boa_token_id: int = 256000
    eoa_token_id: int = 258883
    eos_token_id: tuple[int, ...] = (1, 106)

    @classmethod
    def load(cls, directory: Path) -> "ModelConfig":
        """Read `directory/config.json`. Raises `ConfigError` for a missing, malformed or foreign one."""
        return cls.from_dict(read_json(directory / "config.json"), directory / "config.json")

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], where: Path = Path("config.json")) -> "ModelConfig":
        """Build from the parsed JSON; `where` names the file in error messages."""
        refuse_other_models(raw, "gemma4_unified", where)
        fields = Fields(raw, where)
        section = fields.needed("text_config")
        if raw.get("tie_word_embeddings") is False or section.raw.get("tie_word_embeddings") is False:
            raise ConfigError(f"{where}: tie_word_embeddings is false, {SUPPORTED} with a tied head")
        text = _text_config(section)
        if text.num_kv_shared_layers:
            raise ConfigError(f"{where}: num_kv_shared_layers is {text.num_kv_shared_layers}, only 0 is supported")
        ids = {key: fields.integer(key, least=0) for key in _TOKEN_IDS if raw.get(key) is not None}
        for key in ("eoa_token_index", "eoa_token_id"):
            if raw.get(key) is not None:
                ids["eoa_token_id"] = fields.integer(key, least=0)
        return cls(
            text_config=text,
            vision_config=_vision_config(fields.section("vision_config"), text),
            audio_config=_audio_config(fields.section("audio_config")),
            quantization=quantization_config(raw, where),
            eos_token_id=fields.ids("eos_token_id") or section.ids("eos_token_id") or (1,),
            **ids,
        )


@dataclass(frozen=True)
class DrafterConfig:
    """The multi-token-prediction assistant: a Q-only decoder of a few layers over the target's keys and values."""

    text_config: TextConfig
    backbone_hidden_size: int
    quantization: QuantizationConfig | None

    @classmethod
    def load(cls, directory: Path) -> "DrafterConfig":
        """Read `directory/config.json`. Raises `ConfigError` for a missing, malformed or foreign one."""
        return cls.from_dict(read_json(directory / "config.json"), directory / "config.json")

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], where: Path = Path("config.json")) -> "DrafterConfig":
        """Build from the parsed JSON; `where` names the file in error messages."""
        refuse_other_models(raw, "gemma4_unified_assistant", where)
        if raw.get("use_ordered_embeddings"):
            raise ConfigError(f"{where}: this is the assistant of Gemma 4 E2B or E4B (ordered embeddings), {SUPPORTED}")
        fields = Fields(raw, where)
        text = _text_config(fields.needed("text_config"))
        if text.num_kv_shared_layers != text.num_hidden_layers:
            raise ConfigError(
                f"{where}: num_kv_shared_layers is {text.num_kv_shared_layers} of {text.num_hidden_layers}, "
                "an assistant shares all of them"
            )
        return cls(text, fields.integer("backbone_hidden_size"), quantization_config(raw, where))


_TOKEN_IDS = ("image_token_id", "audio_token_id", "video_token_id", "boi_token_id", "eoi_token_id", "boa_token_id")


def _text_config(fields: Fields) -> TextConfig:
    raw, where = fields.raw, fields.where
    refuse_unsupported(raw, where)
    types = _layer_types(fields)
    heads, dim = fields.integer("num_key_value_heads"), fields.integer("head_dim")
    full_heads, full_dim = _full_widths(fields, types, heads, dim)
    queries = fields.integer("num_attention_heads")
    if queries % heads or queries % full_heads:
        raise fields.fault("num_attention_heads", f"a multiple of the {heads} and {full_heads} key-value heads")
    if queries * max(dim, full_dim) >= _MOST_ROWS:
        raise fields.fault("num_attention_heads", f"at most {(_MOST_ROWS - 1) // max(dim, full_dim)}")
    ropes = fields.section("rope_parameters") or Fields({}, where)
    cap = raw.get("final_logit_softcapping")
    return TextConfig(
        hidden_size=fields.integer("hidden_size"),
        intermediate_size=fields.integer("intermediate_size"),
        num_hidden_layers=len(types),
        num_attention_heads=queries,
        num_key_value_heads=heads,
        head_dim=dim,
        num_global_key_value_heads=full_heads,
        global_head_dim=full_dim,
        layer_types=types,
        sliding_window=fields.integer("sliding_window"),
        vocab_size=fields.integer("vocab_size"),
        rope_sliding=_rope(ropes.section(SLIDING), RopeConfig("default", 1e4)),
        rope_full=_rope(ropes.section(FULL), RopeConfig("proportional", 1e6, 0.25)),
        attention_k_eq_v=fields.flag("attention_k_eq_v"),
        num_kv_shared_layers=fields.integer("num_kv_shared_layers", 0, least=0),
        final_logit_softcapping=None if cap is None else fields.number("final_logit_softcapping", None),
        rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
        max_position_embeddings=fields.integer("max_position_embeddings", 262144, most=_MOST_ROWS - 1),
        pad_token_id=fields.integer("pad_token_id", 0, least=0),
    )


def _layer_types(fields: Fields) -> tuple[str, ...]:
    count, types = fields.integer("num_hidden_layers", most=1000), fields.raw.get("layer_types")
    if types is None:
        types = [FULL if (i + 1) % _PATTERN == 0 else SLIDING for i in range(count)]
    known = isinstance(types, list) and all(kind in (SLIDING, FULL) for kind in types)
    if not known or len(types) != count or FULL not in types or SLIDING not in types:
        raise fields.fault("layer_types", f"a list of {count} of {SLIDING} and {FULL}, both present")
    return tuple(types)


def _full_widths(fields: Fields, types: tuple[str, ...], heads: int, dim: int) -> tuple[int, int]:
    """Key-value heads and head_dim of the full layers: the published `global_*` keys, or `per_layer_config` of a
    re-saved checkpoint; `heads` and `dim` are the sliding layers'."""
    per_layer = fields.section("per_layer_config")
    if per_layer is None or not per_layer.raw:
        shared = fields.flag("attention_k_eq_v")
        full_heads = fields.integer("num_global_key_value_heads", heads)
        return full_heads if shared else heads, fields.integer("global_head_dim", 512)
    full_layers = {str(index) for index, kind in enumerate(types) if kind == FULL}
    if {index.lstrip("0") or "0" for index in per_layer.raw} != full_layers:
        raise fields.fault("per_layer_config", f"entries for the {len(full_layers)} full layers and no others")
    entries = [per_layer.needed(index) for index in per_layer.raw]
    widths = {(entry.integer("num_key_value_heads", heads), entry.integer("head_dim", dim)) for entry in entries}
    if len(widths) > 1:
        raise fields.fault("per_layer_config", "the same widths for all full layers")
    return widths.pop()


def _rope(fields: Fields | None, default: RopeConfig) -> RopeConfig:
    if fields is None:
        return default
    kind = fields.raw.get("rope_type", "default")
    if kind not in ("default", "proportional"):
        raise fields.fault("rope_type", "default or proportional")
    factor = fields.number("partial_rotary_factor", 1.0)
    if factor > 1:
        raise fields.fault("partial_rotary_factor", "at most 1")
    return RopeConfig(kind, fields.number("rope_theta", None), factor)


def _vision_config(fields: Fields | None, text: TextConfig) -> VisionConfig | None:
    if fields is None:
        return None
    embed = fields.integer("mm_embed_dim", text.hidden_size)
    if fields.integer("output_proj_dims", embed) != embed:
        raise fields.fault("output_proj_dims", f"mm_embed_dim, {embed}")
    return VisionConfig(
        mm_embed_dim=embed,
        output_proj_dims=embed,
        mm_posemb_size=fields.integer("mm_posemb_size", 1120),
        patch_size=fields.integer("patch_size", 16, most=1024),
        pooling_kernel_size=fields.integer("pooling_kernel_size", 3, most=16),
        num_soft_tokens=fields.integer("num_soft_tokens", 280),
        rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
    )


def _audio_config(fields: Fields | None) -> AudioConfig | None:
    if fields is None:
        return None
    return AudioConfig(fields.integer("audio_embed_dim", 640), fields.number("rms_norm_eps", 1e-6))
