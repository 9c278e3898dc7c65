"""What a repository's checkpoint holds, from `config.json` and the headers of its shards: some hundred kB.

The tensors' `file` is `owner/repo/shard`, which names it in messages. Knows files and tensors: not whether they are
any good (`audit`).
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gemma_mlx.checkpoint import INDEX, WEIGHTS, Tensor, join_shards, parse_header
from gemma_mlx.errors import CheckpointError
from gemma_mlx.hub.repository import Repository

_FIRST = 100_000  # bytes: most headers whole, so that one request is enough
_LONGEST_JSON = 10_000_000  # bytes; the 12B's are 100 kB, and larger ones are not worth parsing


def read_config(repository: Repository) -> dict[str, Any]:
    """The parsed `config.json`. Raises `HubError` without one, `CheckpointError` if it is damaged."""
    return _object(repository, "config.json")


def read_tensors(repository: Repository) -> dict[str, Tensor]:
    """All tensors by their published name, in the order of their file. Raises `HubError` or `CheckpointError`."""
    if INDEX not in repository.files:
        return _header(repository, WEIGHTS)
    parsed = _object(repository, INDEX)
    return join_shards(parsed, Path(repository.label(INDEX)), lambda shard: _header(repository, shard))


def _object(repository: Repository, name: str) -> dict[str, Any]:
    if repository.file(name).size > _LONGEST_JSON:
        raise CheckpointError(f"{repository.label(name)} has {repository.file(name).size} bytes: it is no description")
    try:
        parsed = json.loads(repository.content(name))
    except (ValueError, RecursionError) as fault:
        raise CheckpointError(f"{repository.label(name)} is no JSON ({fault}): use another revision") from None
    if not isinstance(parsed, dict):
        raise CheckpointError(f"{repository.label(name)} holds a {type(parsed).__name__}, not an object")
    return parsed


def _header(repository: Repository, name: str) -> dict[str, Tensor]:
    """One file's tensors, which must fill it."""
    size, path = repository.file(name).size, Path(repository.label(name))
    tensors = parse_header(path, size, _reader(repository, name))
    if tensors and (end := max(tensor.start + tensor.nbytes for tensor in tensors.values())) != size:
        raise CheckpointError(f"{path} has {size} bytes, its header describes {end}: use another revision")
    return tensors


def _reader(repository: Repository, name: str) -> Callable[[int], bytes]:
    """Reads a file from its first byte on, as a file object's `read` does, with few requests."""
    buffer = bytearray()
    pieces = _pieces(repository, name)

    def read(count: int) -> bytes:
        if count > _LONGEST_JSON:
            raise CheckpointError(f"{repository.label(name)} has a header of {count} bytes: it is no checkpoint")
        while len(buffer) < count and (piece := next(pieces, b"")):
            buffer.extend(piece)
        taken = bytes(buffer[:count])
        del buffer[:count]
        return taken

    return read


def _pieces(repository: Repository, name: str) -> Iterator[bytes]:
    start, size, step = 0, repository.file(name).size, _FIRST
    while start < size:
        stop = min(size, start + step)
        yield from repository.chunks(name, start, stop)
        start, step = stop, 2 * step
