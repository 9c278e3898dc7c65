"""Tensors of a checkpoint into the modules of a model.

Strict: every tensor must have a place, and every place a tensor of its shape. A module is quantized exactly if its
`.scales` exist, and then its shapes must agree with what the configuration says of it. Weights are read lazily and made
resident layer by layer. Knows names and shapes: not prompts, tokenizers or what a model computes.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma_mlx.checkpoint import Tensor, read_tensors
from gemma_mlx.errors import CheckpointError, ConfigError
from gemma_mlx.progress import Progress
from gemma_mlx.quantization import ModuleQuantization, QuantizationConfig

DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}
_FLOATS = {"F32": mx.float32, "BF16": mx.bfloat16, "F16": mx.float16}
_PACKED = {mx.uint32: "U32", mx.uint8: "U8"}  # packed weights, and the scales of microscaling formats

Rename = Callable[[str], str | None]


@dataclass(frozen=True)
class Weights:
    """The tensors of a directory by our names, and how the quantized ones are packed by default and by module."""

    directory: Path
    tensors: Mapping[str, Tensor]
    quantization: QuantizationConfig | None

    @classmethod
    def read(cls, directory: Path, rename: Rename, quantization: QuantizationConfig | None) -> "Weights":
        """Headers only. Raises `CheckpointError` for damaged files or two tensors of one name."""
        return cls.of(directory, read_tensors(directory), rename, quantization)

    @classmethod
    def of(
        cls, directory: Path, published: Mapping[str, Tensor], rename: Rename, quantization: QuantizationConfig | None
    ) -> "Weights":
        """The tensors of a directory that is named only. Raises `CheckpointError` for two tensors of one name."""
        tensors: dict[str, Tensor] = {}
        for tensor in published.values():
            name = rename(tensor.name)
            if name in tensors:
                raise CheckpointError(f"{directory}: {tensor.name} and {tensors[name].name} are the same tensor")
            if name is not None:
                tensors[name] = tensor
        if quantization is not None:
            modules = {rename(path) or path: entry for path, entry in quantization.modules.items()}
            quantization = QuantizationConfig(quantization.default, modules)
        return cls(directory, tensors, quantization)

    @property
    def stored_dtype(self) -> mx.Dtype:
        """The type of what is not packed: the floating-point type with most bytes."""
        sizes = Counter[str]()
        for tensor in self.tensors.values():
            sizes[tensor.dtype] += tensor.nbytes
        floats = [dtype for dtype, _ in sizes.most_common() if dtype in _FLOATS]
        return _FLOATS[floats[0]] if floats else mx.float32

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def packing(self, path: str, width: int) -> ModuleQuantization | None:
        """How the module at `path` with input `width` is quantized, None if it is not.

        Raises `CheckpointError` if the shapes and the configuration disagree, or the latter is silent.
        """
        scales, weight = self.tensors.get(f"{path}.scales"), self.tensors.get(f"{path}.weight")
        if scales is None or weight is None:
            return None
        for tensor in (scales, weight):
            if len(tensor.shape) != 2:
                raise CheckpointError(f"{self.directory}: {tensor.name} has shape {tensor.shape}, expected a matrix")
        if self.quantization is None:
            raise CheckpointError(
                f"{self.directory}: {weight.name} is packed, config.json does not say how: download it again"
            )
        declared = self.quantization.of(path)
        found = (width // max(1, scales.shape[-1]), weight.shape[-1] * 32 // width)
        if (declared.group_size, declared.bits) != found:
            raise CheckpointError(
                f"{self.directory}: {weight.name} is packed in groups of {found[0]} with {found[1]} bits, "
                f"config.json says {declared.group_size} and {declared.bits}: download it again"
            )
        return declared

    def bits(self) -> dict[str, float]:
        """Mean stored bits per weight of each part, scales not counted: language, vision, audio."""
        totals: dict[str, tuple[float, float]] = {}
        for name, tensor in self.tensors.items():
            if not name.endswith(".weight") or len(tensor.shape) < 2:
                continue
            part = "vision" if "vision" in name else "audio" if "audio" in name else "language"
            stored, count = tensor.nbytes * 8, prod(tensor.shape)
            scales = self.tensors.get(f"{name.removesuffix('.weight')}.scales")
            if scales is not None and self.quantization is not None:
                count = prod(scales.shape) * self.quantization.of(name.removesuffix(".weight")).group_size
            before = totals.get(part, (0.0, 0.0))
            totals[part] = (before[0] + stored, before[1] + count)
        return {part: _whole(round(stored / count, 2)) for part, (stored, count) in totals.items()}


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number


def activation_dtype(name: str, weights: Weights) -> mx.Dtype:
    """The type to compute in. "auto": float32 on a CPU, whose quantized bfloat16 products are off by several per cent,
    and the stored type on a GPU."""
    if name == "auto":
        return mx.float32 if mx.default_device() == mx.cpu else weights.stored_dtype
    if name not in DTYPES:
        raise ConfigError(f"dtype is {name}, expected auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def fill(model: nn.Module, weights: Weights, dtype: mx.Dtype, progress: Progress | None) -> None:
    """Put the weights into `model`, floating-point ones as `dtype`, and make them resident layer by layer."""
    wanted = fit(model, weights)
    loaded = {file: _lazy(file) for file in {tensor.file for tensor in weights.tensors.values()}}
    total, done = weights.nbytes, 0
    for names in _layer_by_layer(list(wanted)):
        tensors = [weights.tensors[name] for name in names]
        arrays = [
            (name, _cast(loaded[tensor.file].pop(tensor.name), dtype))
            for name, tensor in zip(names, tensors, strict=True)
        ]
        model.load_weights(arrays, strict=False)
        mx.eval([array for _, array in arrays])
        mx.clear_cache()  # what the casts were made from: never more than one layer of it
        done += sum(tensor.nbytes for tensor in tensors)
        if progress is not None:
            progress(done, total)


def fit(model: nn.Module, weights: Weights) -> dict[str, mx.array]:
    """The model's parameters by name, its modules packed as the weights are; none is read.

    Raises `CheckpointError` that names what is missing, what is too many, or the first wrong shape or type.
    """
    _quantize_like(model, weights)
    wanted = dict(tree_flatten(model.parameters()))
    _check(wanted, weights)
    return wanted


def _lazy(file: Path) -> dict[str, mx.array]:
    """The file's tensors, each read when it is evaluated."""
    loaded = mx.load(str(file))
    assert isinstance(loaded, dict)
    return loaded


def _cast(array: mx.array, dtype: mx.Dtype) -> mx.array:
    return array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array


def _quantize_like(model: nn.Module, weights: Weights) -> None:
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            packing = weights.packing(path, module.weight.shape[-1])
            if packing is None:
                continue
            try:
                packed = module.to_quantized(packing.group_size, packing.bits, packing.mode)
            except ValueError as fault:
                name = weights.tensors[f"{path}.weight"].name
                raise CheckpointError(f"{weights.directory}: {name} is packed as nothing unpacks ({fault})") from None
            _replace(model, path, packed)


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent: nn.Module | list[nn.Module] = model
    *way, last = path.split(".")
    for step in way:
        parent = parent[int(step)] if isinstance(parent, list) else parent[step]
    assert isinstance(parent, nn.Module)
    parent[last] = module


def _check(wanted: Mapping[str, mx.array], weights: Weights) -> None:
    """Raise `CheckpointError` that names what is missing, what is too many, or the first wrong shape or type."""
    if missing := sorted(wanted.keys() - weights.tensors.keys()):
        raise CheckpointError(f"{weights.directory} lacks {_some(missing)}: download it again")
    if unknown := sorted(weights.tensors[name].name for name in weights.tensors.keys() - wanted.keys()):
        raise CheckpointError(f"{weights.directory} holds {_some(unknown)}, which Gemma 4 12B has no place for")
    for name, array in wanted.items():
        tensor = weights.tensors[name]
        if tensor.shape != array.shape:
            raise CheckpointError(
                f"{weights.directory}: {tensor.name} has shape {tensor.shape}, config.json needs {array.shape}"
            )
        types = list(_FLOATS) if mx.issubdtype(array.dtype, mx.floating) else [_PACKED[array.dtype]]
        if tensor.dtype not in types:
            raise CheckpointError(
                f"{weights.directory}: {tensor.name} is of type {tensor.dtype}, expected {' or '.join(types)}"
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _layer_by_layer(names: list[str]) -> list[list[str]]:
    """Names grouped by decoder layer, everything else in a group of its own module."""
    groups: dict[str, list[str]] = {}
    for name in names:
        head, _, rest = name.partition("layers.")
        groups.setdefault(f"{head}layers.{rest.split('.')[0]}" if rest else name, []).append(name)
    return list(groups.values())
