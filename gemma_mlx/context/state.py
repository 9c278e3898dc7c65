"""A context in one file: caches, what their positions hold, and the marks.

Written beside its place and renamed, so that a file is whole or not there. Knows arrays and keys: not conversations,
nor which files are kept. Source of the format: this module; safetensors, with numbers and names in its metadata.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from gemma_mlx.config import TextConfig
from gemma_mlx.errors import CheckpointError
from gemma_mlx.model.cache import Caches, LayerRows, Snapshot

FORMAT = "gemma-mlx context 1"
Key = int | tuple[str, int]  # what a position holds: a token id, or the row of a medium known by its content


@dataclass(frozen=True, eq=False)
class State:
    """What is saved of a context. `marks`: marked positions, `snapshots`: those of them with rows of their own."""

    caches: Caches
    keys: list[Key]
    marks: list[int]
    snapshots: Mapping[int, Snapshot]


@dataclass(frozen=True)
class Expected:
    """What a file must be for: a model, known by its `fingerprint`, its activations, at most `limit` positions.

    `admit` is asked for the memory of so many positions before their rows are read.
    """

    config: TextConfig
    dtype: mx.Dtype
    fingerprint: str
    limit: int
    admit: Callable[[int], None]


def save(path: Path, state: State, fingerprint: str) -> None:
    """Write `state`. Raises `CheckpointError` if that is not possible; what was at `path` is then as it was."""
    arrays = _named(state.caches.kept(), "")
    if state.keys:
        arrays["tokens"] = mx.array([key if isinstance(key, int) else -1 for key in state.keys], mx.int32)
    for position, snapshot in state.snapshots.items():
        arrays |= _named(snapshot.sliding, f"{position}@")
    about = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "marks": json.dumps(state.marks),
        "slack": str(state.caches.slack),
        "window": str(state.caches.config.sliding_window),
        "media": json.dumps(_runs(state.keys)),
        "sums": json.dumps({name: _sum(array) for name, array in arrays.items()}),
    }
    partial = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.safetensors")
    try:
        mx.save_safetensors(str(partial), arrays, about)
        os.replace(partial, path)
    except (OSError, RuntimeError) as fault:
        raise CheckpointError(f"{path} cannot be written ({fault}): make room or choose another place") from None
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, expected: Expected) -> State:
    """Read what `save` wrote. Raises `CheckpointError` if it is missing, damaged or of something else, and what
    `admit` raises."""
    try:
        loaded = mx.load(str(path), format="safetensors", return_metadata=True)
        assert isinstance(loaded, tuple)
        arrays, metadata = loaded
        assert isinstance(arrays, dict)
        return _checked(arrays, metadata, expected)
    except (RuntimeError, KeyError, ValueError, TypeError) as fault:
        reason = " ".join(str(fault).split())
        raise CheckpointError(f"{path} is no cache of this model ({reason}): read the conversation again") from None


def _checked(arrays: dict[str, mx.array], metadata: dict[str, str], expected: Expected) -> State:
    if metadata["format"] != FORMAT:
        raise ValueError(f"its format is {metadata['format']!r}, expected {FORMAT!r}")
    if metadata["fingerprint"] != expected.fingerprint:
        raise ValueError("it was written for other weights")
    if metadata["window"] != str(expected.config.sliding_window):
        raise ValueError(f"its window is {metadata['window']}, expected {expected.config.sliding_window}")
    keys = _keys(arrays.get("tokens"), json.loads(metadata["media"]))
    if len(keys) > expected.limit:
        raise ValueError(f"it holds {len(keys)} positions, the context {expected.limit}")
    expected.admit(len(keys))
    sums = json.loads(metadata["sums"])
    if not isinstance(sums, dict) or sums.keys() != arrays.keys():
        raise ValueError("it lacks a part, or has one too many")
    if any(_sum(array) != sums[name] for name, array in arrays.items()):
        raise ValueError("its content was changed")
    arrays.pop("tokens", None)
    caches = Caches(expected.config, int(metadata["slack"]))
    present: dict[str, mx.array] = {}
    marked: dict[int, dict[str, mx.array]] = {}  # by position
    for name, array in arrays.items():
        if array.dtype != expected.dtype:
            raise ValueError(f"{name} is {array.dtype}, expected {expected.dtype}")
        position, of_mark, rest = name.rpartition("@")
        (marked.setdefault(int(position), {}) if of_mark else present)[rest] = array
    everything = range(len(caches.layers) if keys else 0)
    caches.take(_rows(present, caches, everything, len(keys)), len(keys))
    sliding = [index for index, layer in enumerate(caches.layers) if layer.window is not None]
    copies = {at: caches.adopt(at, _rows(named, caches, sliding, at)) for at, named in marked.items()}
    mx.eval([snapshot.sliding for snapshot in copies.values()])
    return State(caches, keys, [int(position) for position in json.loads(metadata["marks"])], copies)


def _named(rows: Mapping[int, LayerRows], prefix: str) -> dict[str, mx.array]:
    parts = ("keys", "values")
    return {f"{prefix}{i}.{part}": array for i, pair in rows.items() for part, array in zip(parts, pair, strict=True)}


def _rows(arrays: dict[str, mx.array], caches: Caches, layers: Sequence[int], offset: int) -> dict[int, LayerRows]:
    """What these layers keep at a position. Raises KeyError or ValueError if the arrays are not that."""
    found: dict[int, LayerRows] = {}
    for index in layers:
        attention = caches.config.layers[index]
        keys, values = arrays.pop(f"{index}.keys"), arrays.pop(f"{index}.values")
        rows = keys.size // (attention.num_key_value_heads * attention.head_dim)
        shape = (1, attention.num_key_value_heads, rows, attention.head_dim)
        if keys.shape != shape or values.shape != shape or rows not in caches.layers[index].keepable(offset):
            raise ValueError(f"layer {index} holds {keys.shape} and {values.shape} at position {offset}")
        found[index] = keys, values
    if arrays:
        raise ValueError(f"{min(arrays)} belongs to no layer")
    return found


def _sum(array: mx.array) -> int:
    """Changes with any single bit of the array, and costs no more than reading it."""
    words = mx.contiguous(array).reshape(-1).view(mx.uint16)
    return int(np.array(mx.sum(words.astype(mx.uint32))))


def _runs(keys: Sequence[Key]) -> list[tuple[int, str, int, int]]:
    """Where media lie: position, digest, first row, rows."""
    runs: list[tuple[int, str, int, int]] = []
    for position, key in enumerate(keys):
        if isinstance(key, tuple):
            digest, row = key
            if runs and runs[-1] == (position - runs[-1][3], digest, row - runs[-1][3], runs[-1][3]):
                runs[-1] = (*runs[-1][:3], runs[-1][3] + 1)
            else:
                runs.append((position, digest, row, 1))
    return runs


def _keys(tokens: mx.array | None, runs: Sequence[tuple[int, str, int, int]]) -> list[Key]:
    keys: list[Key] = [] if tokens is None else np.array(tokens).tolist()
    for position, digest, first, count in runs:
        keys[position : position + count] = [(str(digest), first + row) for row in range(count)]
    return keys
