"""The checkpoint that a conversion starts from: the 12B or its assistant, in any spelling, packed or not.

Everything that can be wrong with it is found here, before a weight is read: damaged files, missing tensors, tensors of
another shape or type, another model. Knows headers and `config.json`: not what becomes of the tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx.utils import tree_flatten

from gemma_mlx.checkpoint import Tensor
from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.errors import ConfigError
from gemma_mlx.fields import read_json
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.names import drafter_name, mlx_target_name, target_name
from gemma_mlx.quantization import ModuleQuantization
from gemma_mlx.weights import Weights, fit

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """A checkpoint that is whole. `shapes` holds every tensor by our name as if nothing were packed, in the order of
    the model; `config` is its `config.json` parsed, `raw` the same as it stands there."""

    directory: Path
    raw: Mapping[str, Any]
    config: ModelConfig | DrafterConfig
    shapes: Mapping[str, Shape]
    weights: Weights

    @classmethod
    def read(cls, directory: Path) -> "Source":
        """Headers only. Raises `ConfigError` or `CheckpointError` for what is no whole Gemma 4 12B or assistant."""
        directory = directory.resolve()
        if not directory.is_dir():
            raise ConfigError(f"{directory} is no directory: give the directory of a model")
        raw = read_json(directory / "config.json")
        config: ModelConfig | DrafterConfig
        model: GemmaModel | Drafter
        if raw.get("model_type") == "gemma4_unified_assistant":
            config, rename = DrafterConfig.load(directory), drafter_name
            model = Drafter(config)
        else:
            config, rename = ModelConfig.load(directory), target_name
            model = GemmaModel(config)
        shapes = {name: array.shape for name, array in dict(tree_flatten(model.parameters())).items()}
        weights = Weights.read(directory, rename, config.quantization)
        fit(model, weights)
        return cls(directory, raw, config, shapes, weights)

    @property
    def is_drafter(self) -> bool:
        return isinstance(self.config, DrafterConfig)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of weights."""
        return tuple(sorted({tensor.file for tensor in self.weights.tensors.values()}))

    def packed(self, name: str) -> ModuleQuantization | None:
        """How the tensor of that name (ours) is packed, None if it is not."""
        path = name.removesuffix(".weight")
        return None if path == name else self.weights.packing(path, self.shapes[name][-1])

    @property
    def is_packed(self) -> bool:
        return any(name.endswith(".scales") for name in self.weights.tensors)

    def parts(self, name: str) -> dict[str, Tensor]:
        """The tensor of that name and, if it is packed, the scales and biases that belong to it; all by our names."""
        path, tensors = name.removesuffix(".weight"), self.weights.tensors
        names = [name] if self.packed(name) is None else [name, f"{path}.scales", f"{path}.biases"]
        return {part: tensors[part] for part in names if part in tensors}

    def stored_name(self, name: str) -> str:
        """The name under which MLX checkpoints hold a tensor or a module, given ours."""
        return name if self.is_drafter else mlx_target_name(name)
