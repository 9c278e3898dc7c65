"""Whether a checkpoint is one that can be loaded here, and fits, judged from its headers before its weights come.

It is put to the same checks as a directory that is loaded: the family in `config.json`, the packing of each module,
every tensor's name, shape and type. Knows tensors: not where they come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gemma_mlx.checkpoint import Tensor
from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.errors import HubError, MemoryPlanError
from gemma_mlx.memory.plan import limit_of, plan
from gemma_mlx.memory.published import DRAFTER, drafter_bytes
from gemma_mlx.memory.sizes import GIB, file_size
from gemma_mlx.memory.values import Machine, Wish
from gemma_mlx.memory.weights import resident, sizes_of
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.models import ASSISTANT, DEFAULT
from gemma_mlx.names import drafter_name, target_name
from gemma_mlx.weights import Weights, fit

_PARTS = ("language", "vision", "audio")
_KINDS = ("embed_tokens", "self_attn", "mlp")


@dataclass(frozen=True)
class Audit:
    """A checkpoint that can be loaded: what it is and how its tensors are stored."""

    config: ModelConfig | DrafterConfig
    weights: Weights

    @property
    def nbytes(self) -> int:
        return self.weights.nbytes

    def resident(self, item: int) -> int:
        """Bytes once loaded, in an activation type of `item` bytes."""
        return sum(resident(tensor, item) for tensor in self.weights.tensors.values())

    @property
    def is_drafter(self) -> bool:
        return isinstance(self.config, DrafterConfig)

    def __str__(self) -> str:
        """Such as "4-bit language, 16-bit vision and audio, 6.83 GB"."""
        parts: dict[float, list[str]] = {}
        bits_of = self.weights.bits()
        for part in (part for part in _PARTS if part in bits_of):
            parts.setdefault(bits_of[part], []).append("drafter" if self.is_drafter else part)
        words = [f"{bits:g}-bit {_and(names)}{self._mixture(names)}" for bits, names in parts.items()]
        return f"{', '.join(words)}, {file_size(self.nbytes)}"

    def _mixture(self, parts: list[str]) -> str:
        """How many bits each kind of language module has, if they differ."""
        if "language" not in parts:
            return ""
        tensors = self.weights.tensors
        found: dict[str, float] = {}
        for kind in _KINDS:
            own = {name: tensor for name, tensor in tensors.items() if f".{kind}." in f".{name}"}
            found[kind] = replace(self.weights, tensors=own).bits().get("language", 0)
        different = len(set(found.values())) > 1
        return f" ({', '.join(f'{kind} {bits:g}' for kind, bits in found.items())})" if different else ""


def audit(repo: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Audit:
    """Check a checkpoint by its parsed `config.json` and its tensors. Raises `ConfigError` or `CheckpointError`."""
    where = Path(repo)
    if config.get("model_type") == "gemma4_unified_assistant":
        drafter = DrafterConfig.from_dict(config, where / "config.json")
        weights = Weights.of(where, tensors, drafter_name, drafter.quantization)
        fit(Drafter(drafter), weights)
        return Audit(drafter, weights)
    model = ModelConfig.from_dict(config, where / "config.json")
    weights = Weights.of(where, tensors, target_name, model.quantization)
    fit(GemmaModel(model), weights)
    return Audit(model, weights)


def room(name: str, checked: Audit, machine: Machine, drafter: Audit | None = None) -> str:
    """Where the model fits, in words, with the drafter that comes with it and is packed here. Raises `HubError` with
    the numbers, and what to take instead, if it does not."""
    item, memory = 2 if machine.backend == "metal" else 4, f"{machine.ram / GIB:.3g} GB"
    if not isinstance(checked.config, ModelConfig):
        packed = name == ASSISTANT
        held = drafter_bytes(checked.config, DRAFTER, item) if packed else checked.resident(item)
        how = "packed to 4 bits" if packed else "loaded"
        return f"{file_size(held)} of memory once {how}, beside what the model takes"
    sizes = sizes_of(checked.config, checked.weights.tensors.values(), item)
    if drafter is not None and isinstance(drafter.config, DrafterConfig):
        sizes = sizes.with_drafter(drafter.config, drafter_bytes(drafter.config, DRAFTER, item))
    try:
        planned = plan(sizes, machine, Wish())
    except MemoryPlanError:
        instead = f"take `gemma-mlx pull {DEFAULT}`, or add --anyway" if name != DEFAULT else "add --anyway"
        raise HubError(
            f"{name} does not fit in {memory}: {checked}; {file_size(sizes.weights)} of weights once loaded, "
            f"{file_size(limit_of(machine))} may be used in all: {instead}"
        ) from None
    beside = " and the drafter" if planned.knobs.drafter else ""
    return f"fits in {memory} with a context of {planned.largest_context:,}{beside}"


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
