"""How a checkpoint's weights are packed, as its `config.json` says.

Knows the block that MLX writes there: not the packed weights themselves.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemma_mlx.errors import ConfigError
from gemma_mlx.fields import Fields

_MODES = ("affine", "mxfp4", "mxfp8", "nvfp4")


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

    def of(self, path: str) -> ModuleQuantization:
        """How the module at `path` is packed, if it is."""
        return self.modules.get(path, self.default)


def quantization_config(raw: Mapping[str, Any], where: Path) -> QuantizationConfig | None:
    """The `quantization` block (or its copy `quantization_config`) of an MLX checkpoint, None without one."""
    fields = Fields(raw, where)
    block = fields.section("quantization" if raw.get("quantization") else "quantization_config")
    if block is None or not block.raw:
        return None
    if "group_size" not in block.raw or "bits" not in block.raw:
        method = block.raw.get("quant_method", "unknown")
        raise ConfigError(f"{where}: weights are packed by {reprlib.repr(method)}, only MLX quantization is supported")
    default = _packing(block, ModuleQuantization(0, 0))
    entries = {path: block.needed(path) for path, entry in block.raw.items() if isinstance(entry, Mapping)}
    return QuantizationConfig(default, {path: _packing(entry, default) for path, entry in entries.items()})


def _packing(fields: Fields, default: ModuleQuantization) -> ModuleQuantization:
    mode = fields.raw.get("mode") or default.mode
    if mode not in _MODES:
        raise fields.fault("mode", f"one of {', '.join(_MODES)}")
    return ModuleQuantization(
        fields.integer("group_size", default.group_size), fields.integer("bits", default.bits), mode
    )
