"""Which model a `config.json` describes: Gemma 4 12B and its assistant, or another one that is refused by name.

Knows names and the switches that tell siblings apart: not sizes or weights.
"""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma_mlx.errors import ConfigError

SUPPORTED = "supported: Gemma 4 12B (gemma4_unified) and its assistant (gemma4_unified_assistant)"


def refuse_other_models(raw: Mapping[str, Any], expected: str, where: Path) -> None:
    """Raise `ConfigError` naming the model that `raw` describes unless its `model_type` is the expected one."""
    model_type = raw.get("model_type")
    if model_type == expected:
        return
    if model_type == "gemma4_unified_assistant":
        raise ConfigError(f"{where} is the drafter of Gemma 4 12B, not the model itself: give the 12B's own directory")
    if model_type == "gemma4_unified":
        raise ConfigError(f"{where} is Gemma 4 12B itself, not its assistant: give it as the model")
    raise ConfigError(f"{where} is {_name_of(raw)}, {SUPPORTED}")


def refuse_unsupported(raw: Mapping[str, Any], where: Path) -> None:
    """Raise `ConfigError` for a decoder with parts that Gemma 4 12B does not have."""
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
            raise ConfigError(f"{where}: {key} is {reprlib.repr(raw[key])}, only {value!r} is supported")


def _name_of(raw: Mapping[str, Any]) -> str:
    section = raw.get("text_config")
    text: Mapping[str, Any] = section if isinstance(section, Mapping) else {}
    model_type = raw.get("model_type")
    if model_type is None:
        return "no known model (model_type is missing)"
    if model_type in ("gemma4", "gemma4_text"):
        if text.get("hidden_size_per_layer_input"):
            return "Gemma 4 E2B or E4B (gemma4 with per-layer embeddings)"
        if text.get("enable_moe_block"):
            return "Gemma 4 26B-A4B (gemma4 with experts)"
        return f"Gemma 4 with an image encoder (gemma4, hidden size {reprlib.repr(text.get('hidden_size'))})"
    return reprlib.repr(model_type)
