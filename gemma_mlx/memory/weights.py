"""Resident bytes of a model's weights, from the headers of its files.

Packed integers stay as they are stored; floating-point tensors, scales and biases too, are held in the activation
type. Knows headers and names: not what the weights compute.
"""

from collections import defaultdict
from collections.abc import Iterable
from math import prod
from pathlib import Path

from gemma_mlx.checkpoint import ITEM_BYTES, Tensor, read_tensors
from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.memory.values import ModelBytes

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


def model_bytes(directory: Path, drafter: Path | None, item: int, drafter_item: int | None = None) -> ModelBytes:
    """A model as loaded, with its drafter if there is one; `item`: bytes of a number in the activation type,
    `drafter_item`: in the drafter's, if that is another.

    Reads `config.json` and safetensors headers. Raises `ConfigError` and `CheckpointError` as loading does.
    """
    model = sizes_of(ModelConfig.load(directory), read_tensors(directory).values(), item)
    if drafter is None:
        return model
    return model.with_drafter(*drafter_bytes(drafter, drafter_item or item))


def drafter_bytes(directory: Path, item: int) -> tuple[DrafterConfig, int]:
    """An assistant's configuration and its resident bytes."""
    config = DrafterConfig.load(directory)
    return config, sum(_groups(read_tensors(directory).values(), item).values())


def sizes_of(config: ModelConfig, tensors: Iterable[Tensor], item: int) -> ModelBytes:
    """A model without a drafter, from its configuration and tensors."""
    groups = _groups(tensors, item)
    return ModelBytes(config, sum(groups.values()), max(groups.values(), default=0), item)


def stored_item(directory: Path) -> int:
    """Bytes of a number in the floating-point type that most of a checkpoint is stored in; 4 if there is none."""
    sizes: dict[str, int] = defaultdict(int)
    for tensor in read_tensors(directory).values():
        if tensor.dtype in _FLOATS:
            sizes[tensor.dtype] += tensor.nbytes
    return ITEM_BYTES[max(sizes, key=lambda dtype: sizes[dtype])] if sizes else 4


def resident(tensor: Tensor, item: int) -> int:
    """Bytes of one tensor as loaded."""
    return prod(tensor.shape) * item if tensor.dtype in _FLOATS else tensor.nbytes


def _groups(tensors: Iterable[Tensor], item: int) -> dict[str, int]:
    """Resident bytes of what is loaded together: a decoder layer, or a tensor outside of them."""
    groups: dict[str, int] = defaultdict(int)
    for tensor in tensors:
        head, layers, rest = tensor.name.partition("layers.")
        groups[head + layers + rest.split(".")[0] if layers else tensor.name] += resident(tensor, item)
    return groups
