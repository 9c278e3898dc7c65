"""Where every tensor of the output will lie, known before a weight is read.

A task is one tensor, or the tensors of one packed module, and what they become; it is done row by row, in slices, in
any order. Knows names, shapes and byte offsets: no arrays, and no files but their names.
Source: the safetensors format (8 bytes of header length, JSON header, tensors back to back).
"""

import json
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from gemma_mlx.checkpoint import ITEM_BYTES, Tensor
from gemma_mlx.convert.recipes import FLOATS, Packing, Recipe, packing_of
from gemma_mlx.convert.source import Source
from gemma_mlx.quantization import ModuleQuantization

_METADATA = {"format": "mlx"}
_ALIGNMENT = 8  # bytes; the widest tensors come first, so that each starts at a multiple of its item


@dataclass(frozen=True)
class Task:
    """Tensors of the source and what they become, row by row; `file` of an output is its name in the directory.

    rows: in every one of them. width: values in a row, unpacked. unpack, pack: None where that is not done; without
    both, the only tensor is copied, or cast if its type changes.
    """

    sources: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    rows: int
    width: int
    unpack: ModuleQuantization | None = None
    pack: Packing | None = None


@dataclass(frozen=True)
class Slice:
    """Rows `first` to `last` (exclusive) of a task."""

    task: Task
    first: int
    last: int

    @property
    def source_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.task.sources) // self.task.rows * (self.last - self.first)


@dataclass(frozen=True)
class Layout:
    """The tasks in the order of the model, and the header of every shard by its name."""

    tasks: tuple[Task, ...]
    headers: dict[str, bytes]

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return tuple(tensor for task in self.tasks for tensor in task.outputs)

    def file_sizes(self) -> dict[str, int]:
        """Bytes of every shard, its header counted."""
        sizes = {name: len(header) for name, header in self.headers.items()}
        for tensor in self.outputs:
            sizes[tensor.file.name] += tensor.nbytes
        return sizes

    def slices(self, values: int) -> list[Slice]:
        """All tasks cut into slices of at most that many values, or one row if that has more."""
        return [part for task in self.tasks for part in _cut(task, values)]


def plan_layout(source: Source, recipe: Recipe, shard_bytes: int) -> Layout:
    """What becomes of every tensor and where it goes. A shard holds at most `shard_bytes` of tensors, or one task."""
    tasks = [task for name in source.shapes for task in _tasks(source, recipe, name)]
    return _placed(tasks, shard_bytes)


def output_bytes(source: Source, recipe: Recipe) -> int:
    """Bytes of the output's weights in a single file."""
    return sum(plan_layout(source, recipe, sys.maxsize).file_sizes().values())


def weight_bytes(source: Source, recipe: Recipe) -> int:
    """Bytes of the output's tensors, as a report counts them."""
    return sum(tensor.nbytes for tensor in plan_layout(source, recipe, sys.maxsize).outputs)


def packed_modules(source: Source, recipe: Recipe) -> dict[str, ModuleQuantization]:
    """How every module that is packed in the output will be, by our path."""
    found: dict[str, ModuleQuantization] = {}
    for name in source.shapes:
        _, after = _before_and_after(source, recipe, name)
        if after is not None:
            found[name.removesuffix(".weight")] = after.stored if isinstance(after, Packing) else after
    return found


def _before_and_after(
    source: Source, recipe: Recipe, name: str
) -> tuple[ModuleQuantization | None, Packing | ModuleQuantization | None]:
    """How a tensor is packed, and will be: anew by a `Packing`, or as it is."""
    before, wanted = source.packed(name), packing_of(recipe, name, source.shapes[name])
    if wanted is not None and wanted.stored != before:
        return before, wanted
    return before, None if wanted is None and recipe.cast else before


def _tasks(source: Source, recipe: Recipe, name: str) -> Iterator[Task]:
    before, after = _before_and_after(source, recipe, name)
    found = source.parts(name)
    parts = tuple(found.values())
    if isinstance(after, Packing):
        yield _packing_task(source, recipe, name, after)
    elif before is not None and after is None:
        shape = source.shapes[name]
        dtype = recipe.stored_dtype(_float_of(parts))
        yield Task(parts, (_output(source, name, dtype, shape),), shape[0], shape[1], unpack=before)
    else:
        for ours, tensor in found.items():
            rows = tensor.shape[0] if len(tensor.shape) > 1 else 1
            output = _output(source, ours, recipe.stored_dtype(tensor.dtype), tensor.shape)
            yield Task((tensor,), (output,), rows, prod(tensor.shape) // rows)


def _packing_task(source: Source, recipe: Recipe, name: str, packing: Packing) -> Task:
    (rows, width), parts = source.shapes[name], tuple(source.parts(name).values())
    path, stored = name.removesuffix(".weight"), packing.stored
    dtype = recipe.stored_dtype(_float_of(parts))
    groups = (rows, width // stored.group_size)
    outputs = (
        _output(source, name, "U32", (rows, width * stored.bits // 32)),
        _output(source, f"{path}.scales", dtype, groups),
        _output(source, f"{path}.biases", dtype, groups),
    )
    return Task(parts, outputs, rows, width, unpack=source.packed(name), pack=packing)


def _float_of(parts: tuple[Tensor, ...]) -> str:
    """The floating-point type of a tensor, or of the scales that it is packed with; microscaling formats have none."""
    return parts[-1].dtype if parts[-1].dtype in FLOATS else "BF16"


def _output(source: Source, ours: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor of the output that has no place yet."""
    return Tensor(source.stored_name(ours), Path(), dtype, shape, prod(shape) * ITEM_BYTES[dtype], 0)


def _cut(task: Task, values: int) -> Iterator[Slice]:
    height = max(1, values // max(1, task.width))
    for first in range(0, task.rows, height):
        yield Slice(task, first, min(first + height, task.rows))


def _placed(tasks: list[Task], shard_bytes: int) -> Layout:
    shards: list[list[Task]] = [[]]
    filled = 0
    for task in tasks:
        size = sum(tensor.nbytes for tensor in task.outputs)
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(task)
        filled += size
    done: list[Task] = []
    headers: dict[str, bytes] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors"
        headers[name], places = _header(name, [tensor for task in shard for tensor in task.outputs])
        done += [replace(task, outputs=tuple(places[tensor.name] for tensor in task.outputs)) for task in shard]
    return Layout(tuple(done), headers)


def _header(file: str, tensors: Iterable[Tensor]) -> tuple[bytes, dict[str, Tensor]]:
    """The first bytes of a shard, and its tensors in their places."""
    entries: dict[str, object] = {"__metadata__": _METADATA}
    starts: dict[str, int] = {}
    end = 0
    ordered = sorted(tensors, key=lambda tensor: -ITEM_BYTES[tensor.dtype])
    for tensor in ordered:
        starts[tensor.name], start = end, end
        end += tensor.nbytes
        entries[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    header = struct.pack("<Q", len(text)) + text
    placed = {
        tensor.name: replace(tensor, file=Path(file), start=len(header) + starts[tensor.name]) for tensor in ordered
    }
    return header, placed
