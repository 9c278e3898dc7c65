"""The shape of a model, read from its `config.json`.

Frozen values only: no weights, no files besides `config.json`, no idea what runs them. Keys keep the reference's
names. Every spelling that published checkpoints use is accepted (`per_layer_config` of re-saved checkpoints, audio
configs with a single key, `eoa_token_index` or `eoa_token_id`, quantization blocks with per-module entries); a
checkpoint of another family is refused by name.
Source: the published `config.json` of google/gemma-4-12B-it and its assistant, and transformers' `gemma4_unified`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemma_mlx.errors import ConfigError

SLIDING = "sliding_attention"
FULL = "full_attention"
SUPPORTED = "supported: Gemma 4 12B (gemma4_unified) and its assistant (gemma4_unified_assistant)"
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
class ModuleQuantization:
    """How one linear layer or embedding is packed (see `mlx.core.quantize`)."""

    group_size: int
    bits: int
    mode: str = "affine"


@dataclass(frozen=True)
class QuantizationConfig:
    """The default packing of a checkpoint and the modules that differ, by their published path."""

    default: ModuleQuantization
    modules: Mapping[str, ModuleQuantization] = field(default_factory=dict)


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
        if raw.get("tie_word_embeddings") is False:
            raise ConfigError(f"{where}: tie_word_embeddings is false, {SUPPORTED} with a tied head")
        text = _text_config(_section(raw, "text_config", where), where)
        if text.num_kv_shared_layers:
            raise ConfigError(f"{where}: num_kv_shared_layers is {text.num_kv_shared_layers}, only 0 is supported")
        eos = raw.get("eos_token_id", (raw.get("text_config") or {}).get("eos_token_id", 1))
        ids = {key: int(raw[key]) for key in _TOKEN_IDS if raw.get(key) is not None}
        eoa = raw.get("eoa_token_id", raw.get("eoa_token_index"))
        if eoa is not None:
            ids["eoa_token_id"] = int(eoa)
        return cls(
            text_config=text,
            vision_config=_vision_config(raw.get("vision_config"), text),
            audio_config=_audio_config(raw.get("audio_config")),
            quantization=quantization_config(raw, where),
            eos_token_id=tuple(eos) if isinstance(eos, list | tuple) else (int(eos),),
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
        text = _text_config(_section(raw, "text_config", where), where)
        if text.num_kv_shared_layers != text.num_hidden_layers:
            raise ConfigError(
                f"{where}: num_kv_shared_layers is {text.num_kv_shared_layers} of {text.num_hidden_layers}, "
                "an assistant shares all of them"
            )
        return cls(text, _integer(raw, "backbone_hidden_size", where), quantization_config(raw, where))


_TOKEN_IDS = ("image_token_id", "audio_token_id", "video_token_id", "boi_token_id", "eoi_token_id", "boa_token_id")


def read_json(path: Path) -> dict[str, Any]:
    """Parse a JSON object. Raises `ConfigError` that names the file if it is missing or not an object."""
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{path} does not exist: give the directory of a model, or `demo`") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as fault:
        raise ConfigError(f"{path} cannot be read as JSON ({fault}): download it again") from None
    if not isinstance(parsed, dict):
        raise ConfigError(f"{path} holds a {type(parsed).__name__}, not an object: download it again")
    return parsed


def refuse_other_models(raw: Mapping[str, Any], expected: str, where: Path) -> None:
    """Raise `ConfigError` naming the model that `raw` describes unless its `model_type` is the expected one."""
    model_type = raw.get("model_type")
    if model_type == expected:
        return
    if model_type == "gemma4_unified_assistant":
        raise ConfigError(f"{where} is the drafter of Gemma 4 12B, not the model itself: give it as the drafter")
    if model_type == "gemma4_unified":
        raise ConfigError(f"{where} is Gemma 4 12B itself, not its assistant: give it as the model")
    raise ConfigError(f"{where} is {_name_of(raw)}, {SUPPORTED}")


def quantization_config(raw: Mapping[str, Any], where: Path) -> QuantizationConfig | None:
    """The `quantization` block (or its copy `quantization_config`) of an MLX checkpoint, None without one."""
    block = raw.get("quantization") or raw.get("quantization_config")
    if block is None:
        return None
    if "group_size" not in block or "bits" not in block:
        method = block.get("quant_method", "an unknown method")
        raise ConfigError(f"{where}: weights are packed by {method}, only MLX quantization is supported")
    default = ModuleQuantization(int(block["group_size"]), int(block["bits"]), block.get("mode", "affine"))
    modules = {
        path: ModuleQuantization(
            int(entry.get("group_size", default.group_size)),
            int(entry.get("bits", default.bits)),
            entry.get("mode", default.mode),
        )
        for path, entry in block.items()
        if isinstance(entry, Mapping)
    }
    return QuantizationConfig(default, modules)


def _name_of(raw: Mapping[str, Any]) -> str:
    text = raw.get("text_config") or {}
    model_type = raw.get("model_type", "no known model (model_type is missing)")
    if model_type in ("gemma4", "gemma4_text"):
        if text.get("hidden_size_per_layer_input"):
            return "Gemma 4 E2B or E4B (gemma4 with per-layer embeddings)"
        if text.get("enable_moe_block"):
            return "Gemma 4 26B-A4B (gemma4 with experts)"
        return f"Gemma 4 with an image encoder (gemma4, hidden size {text.get('hidden_size')})"
    return str(model_type)


def _section(raw: Mapping[str, Any], key: str, where: Path) -> Mapping[str, Any]:
    section = raw.get(key)
    if not isinstance(section, Mapping):
        raise ConfigError(f"{where} has no {key}: download it again")
    return section


def _integer(raw: Mapping[str, Any], key: str, where: Path) -> int:
    value = raw.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"{where}: {key} is {value!r}, expected a whole number")
    return value


def _text_config(raw: Mapping[str, Any], where: Path) -> TextConfig:
    _refuse_unsupported(raw, where)
    count = _integer(raw, "num_hidden_layers", where)
    types = tuple(raw.get("layer_types") or [FULL if (i + 1) % _PATTERN == 0 else SLIDING for i in range(count)])
    if len(types) != count or not set(types) <= {SLIDING, FULL} or FULL not in types or SLIDING not in types:
        raise ConfigError(
            f"{where}: layer_types must name {count} layers of {SLIDING} and {FULL} (both present), got {len(types)}"
        )
    heads, dim = _integer(raw, "num_key_value_heads", where), _integer(raw, "head_dim", where)
    k_eq_v = bool(raw.get("attention_k_eq_v", False))
    full = _full_layer_overrides(raw, types, where)
    ropes = raw.get("rope_parameters") or {}
    return TextConfig(
        hidden_size=_integer(raw, "hidden_size", where),
        intermediate_size=_integer(raw, "intermediate_size", where),
        num_hidden_layers=count,
        num_attention_heads=_integer(raw, "num_attention_heads", where),
        num_key_value_heads=heads,
        head_dim=dim,
        num_global_key_value_heads=full.get("num_key_value_heads", heads),
        global_head_dim=full.get("head_dim", dim),
        layer_types=types,
        sliding_window=_integer(raw, "sliding_window", where),
        vocab_size=_integer(raw, "vocab_size", where),
        rope_sliding=_rope(ropes.get(SLIDING, {"rope_type": "default", "rope_theta": 1e4}), where),
        rope_full=_rope(
            ropes.get(FULL, {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.25}), where
        ),
        attention_k_eq_v=k_eq_v,
        num_kv_shared_layers=int(raw.get("num_kv_shared_layers") or 0),
        final_logit_softcapping=raw.get("final_logit_softcapping"),
        rms_norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
        max_position_embeddings=int(raw.get("max_position_embeddings", 262144)),
        pad_token_id=int(raw.get("pad_token_id") or 0),
    )


def _refuse_unsupported(raw: Mapping[str, Any], where: Path) -> None:
    required = {
        "hidden_activation": "gelu_pytorch_tanh",
        "use_bidirectional_attention": "vision",
        "attention_bias": False,
        "enable_moe_block": False,
        "hidden_size_per_layer_input": 0,
        "use_double_wide_mlp": False,
    }
    for key, value in required.items():
        if key in raw and (raw[key] or 0) != value:
            raise ConfigError(f"{where}: {key} is {raw[key]!r}, only {value!r} is supported")


def _full_layer_overrides(raw: Mapping[str, Any], types: tuple[str, ...], where: Path) -> dict[str, int]:
    """Widths of the full layers: the published `global_*` keys, or `per_layer_config` of a re-saved checkpoint."""
    per_layer = raw.get("per_layer_config")
    if per_layer:
        entries = {int(index): dict(entry) for index, entry in per_layer.items()}
        full_layers = {index for index, kind in enumerate(types) if kind == FULL}
        values = [entries.get(index, {}) for index in sorted(full_layers)]
        if set(entries) - full_layers or any(entry != values[0] for entry in values):
            raise ConfigError(f"{where}: per_layer_config must give the same widths to all full layers and only them")
        return {key: int(value) for key, value in values[0].items()}
    overrides = {"head_dim": int(raw.get("global_head_dim") or 512)}
    heads = raw.get("num_global_key_value_heads")
    if heads is not None and raw.get("attention_k_eq_v", False):
        overrides["num_key_value_heads"] = int(heads)
    return overrides


def _rope(raw: Mapping[str, Any], where: Path) -> RopeConfig:
    kind = raw.get("rope_type", "default")
    if kind not in ("default", "proportional"):
        raise ConfigError(f"{where}: rope_type is {kind!r}, only 'default' and 'proportional' are supported")
    return RopeConfig(kind, float(raw["rope_theta"]), float(raw.get("partial_rotary_factor", 1.0)))


def _vision_config(raw: Mapping[str, Any] | None, text: TextConfig) -> VisionConfig | None:
    if raw is None:
        return None
    embed = int(raw.get("mm_embed_dim", text.hidden_size))
    return VisionConfig(
        mm_embed_dim=embed,
        output_proj_dims=int(raw.get("output_proj_dims", embed)),
        mm_posemb_size=int(raw.get("mm_posemb_size", 1120)),
        patch_size=int(raw.get("patch_size", 16)),
        pooling_kernel_size=int(raw.get("pooling_kernel_size", 3)),
        num_soft_tokens=int(raw.get("num_soft_tokens", 280)),
        rms_norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
    )


def _audio_config(raw: Mapping[str, Any] | None) -> AudioConfig | None:
    if raw is None:
        return None
    return AudioConfig(int(raw.get("audio_embed_dim", 640)), float(raw.get("rms_norm_eps", 1e-6)))
