"""What a model directory holds, read from safetensors headers alone.

Every fault that a download or a copy can cause is found here, before a weight is read: truncated files, headers that
lie about offsets, missing shards, an index that names absent tensors, duplicates. Knows files and headers: not what
the tensors mean. Source: the safetensors format (8 bytes of header length, JSON header, tensors back to back).
"""

import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from gemma_mlx.errors import CheckpointError
from gemma_mlx.fields import read_json

ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U32": 4, "U8": 1}
WEIGHTS = "model.safetensors"  # of a model in one file
INDEX = "model.safetensors.index.json"
_LONGEST_HEADER = 100_000_000  # bytes, the format's own limit; a length beyond it is damage
_MOST = 2**63  # bytes and dimensions from here on are damage
_FILE = re.compile(r"[^/\0]+\.safetensors")  # of a shard: beside its index, wherever that came from
_AGAIN = "download or copy it again"


@dataclass(frozen=True)
class Tensor:
    """One tensor's shape and place; `dtype` as safetensors spells it, `start` is a byte of the file."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    start: int


def read_tensors(directory: Path) -> dict[str, Tensor]:
    """All tensors of a directory by their published name. Raises `CheckpointError` for missing or damaged files."""
    index = directory / INDEX
    if not index.exists():
        return read_header(directory / WEIGHTS)
    return join_shards(read_json(index), index, lambda shard: read_header(directory / shard))


def join_shards(
    parsed: Mapping[str, Any], index: Path, header_of: Callable[[str], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The tensors of all shards that a parsed index names; `index` is its path, `header_of` lists one shard's.

    Its `unused`, lists of names by shard, are tensors that another shard's take the place of. A file of several GB
    that came from elsewhere can so be a shard as it is, without a second copy that lacks a few tensors; it is strict,
    so that nothing else can be left out or used twice. Raises `CheckpointError` if index and shards disagree.
    """
    weight_map, unused = parsed.get("weight_map"), parsed.get("unused", {})
    if not isinstance(weight_map, dict) or {str} != {type(file) for file in weight_map.values()}:
        raise CheckpointError(f"{index} has no weight_map: {_AGAIN}")
    if not isinstance(unused, dict) or not all(_is_list_of_names(names) for names in unused.values()):
        raise CheckpointError(f"{index}: unused must be lists of tensor names by file: {_AGAIN}")
    tensors: dict[str, Tensor] = {}
    for shard in sorted({*weight_map.values(), *unused}):
        if not _FILE.fullmatch(shard):
            raise CheckpointError(
                f"{index} names the shard {shard!r}, which is no safetensors file beside it: {_AGAIN}"
            )
        found = header_of(shard)
        for name in unused.get(shard, ()):
            if name not in found:
                raise CheckpointError(f"{index} leaves out {name}, which is not in {shard}: {_AGAIN}")
            if weight_map.get(name) == shard:
                raise CheckpointError(f"{index} both uses and leaves out {name} of {shard}: {_AGAIN}")
            del found[name]
        if twice := found.keys() & tensors.keys():
            raise CheckpointError(f"{index.parent / shard} repeats {min(twice)} of another shard: {_AGAIN}")
        tensors |= found
    if absent := weight_map.keys() - tensors.keys():
        raise CheckpointError(f"{index} names {min(absent)}, which is in no shard: {_AGAIN}")
    return tensors


def _is_list_of_names(names: object) -> bool:
    return isinstance(names, list) and {type(name) for name in names} <= {str} and len(set(names)) == len(names)


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file. Raises `CheckpointError` if its header and its size do not agree."""
    try:
        with path.open("rb") as file:
            return parse_header(path, path.stat().st_size, file.read)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path} does not exist: the directory is not a complete model, {_AGAIN}") from None
    except OSError as fault:
        raise CheckpointError(f"{path} cannot be read ({fault.strerror}): check its permissions") from None


def parse_header(path: Path, size: int, read: Callable[[int], bytes]) -> dict[str, Tensor]:
    """The tensors of a safetensors file of `size` bytes, whose next n bytes `read(n)` returns, from the first on.

    `path` names it in faults and tensors: the file may be elsewhere. Raises `CheckpointError`.
    """
    prefix = read(8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
    header = read(min(length, _LONGEST_HEADER)) if 8 + length <= size else b""
    if not header:
        raise CheckpointError(f"{path} is truncated: {size} bytes, its header alone needs more, {_AGAIN}")
    try:
        entries = json.loads(header, object_pairs_hook=_once)
    except _Twice as fault:
        raise CheckpointError(f"{path} holds {fault} twice: {_AGAIN}") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is no safetensors file (its header is not JSON): {_AGAIN}") from None
    if not isinstance(entries, dict):
        raise CheckpointError(f"{path} is no safetensors file (its header is no object): {_AGAIN}")
    entries.pop("__metadata__", None)
    body = size - 8 - length
    tensors = {name: _tensor(path, name, entry, size - body, body) for name, entry in entries.items()}
    places = sorted((*entry["data_offsets"], name) for name, entry in entries.items())
    for (_, end, name), (start, _, other) in pairwise(places):
        if start < end:
            raise CheckpointError(f"{path}: {other} overlaps {name}: {_AGAIN}")
    return tensors


class _Twice(ValueError):
    """A name that an object of JSON has two of."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, whose last entry of a name would silently count."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found


def _tensor(path: Path, name: str, entry: dict[str, Any], origin: int, body: int) -> Tensor:
    try:
        dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        if {type(number) for number in (*shape, start, end)} != {int} or min(shape, default=0) < 0:
            raise ValueError
        expected = math.prod(shape) * ITEM_BYTES[dtype]
        if max(*shape, start, end, expected) >= _MOST:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path}: the header entry of {name} is malformed: {_AGAIN}") from None
    if end > body:
        raise CheckpointError(f"{path} is truncated: {name} ends at byte {end}, the file holds {body}, {_AGAIN}")
    if start < 0 or end - start != expected:
        raise CheckpointError(f"{path}: {name} {shape} of {dtype} needs {expected} bytes, has {end - start}: {_AGAIN}")
    return Tensor(name, path, dtype, shape, expected, origin + start)
