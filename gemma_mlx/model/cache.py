"""Keys and values of one conversation, and exact ways back.

Full-attention layers keep every position; sliding layers keep the window and a slack, so that going back is exact or
an error, never a guess. Rows lie in order of time in buffers that are written in place. Knows shapes only: not tokens,
turns or policies. An append can always be undone: what it drops, it drops before it adds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import mlx.core as mx

from gemma_mlx.config import TextConfig
from gemma_mlx.errors import CheckpointError, ContextError

STEP = 256  # rows by which a buffer grows; one copy of the kept rows for so many appended ones
SLACK = 64  # rows that a sliding layer keeps beyond its window: how far `trim` can always go back


class Rows(NamedTuple):
    """State of a layer, replaced as a whole so that an interrupt never leaves half of it changed."""

    keys: mx.array  # (1, kv_heads, capacity, head_dim)
    values: mx.array
    end: int  # one past the last valid row; row `end - 1` is position `offset - 1`
    offset: int  # positions seen


class LayerCache:
    """Rows of one layer: all of them, or with a `window` at least the last `window + 1 + slack`.

    A query of the model reads `window - 1` rows before its own; the drafter's, two more (`shared`).
    """

    def __init__(self, window: int | None = None, slack: int = SLACK) -> None:
        self.window, self.slack = window, slack
        self.rows: Rows | None = None

    @property
    def offset(self) -> int:
        """Positions seen: the next token's position."""
        return 0 if self.rows is None else self.rows.offset

    @property
    def trimmable(self) -> int:
        """How many positions can be taken back exactly."""
        if self.rows is None or self.window is None or self.rows.end == self.rows.offset:
            return self.offset
        return self.rows.end - (self.window + 1)

    @property
    def nbytes(self) -> int:
        return 0 if self.rows is None else self.rows.keys.nbytes + self.rows.values.nbytes

    def append(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Add L rows, (1, kv_heads, L, head_dim) each. Returns the rows that these L queries may look at."""
        length = keys.shape[2]
        rows = self.rows
        if rows is None or rows.end + length > rows.keys.shape[2]:
            self.rows = self._with_room(keys, values)
        else:
            start, end = rows.end, rows.end + length
            rows.keys[..., start:end, :] = keys
            rows.values[..., start:end, :] = values
            self.rows = Rows(rows.keys, rows.values, end, rows.offset + length)
        return self.view(length)

    def view(self, length: int = 1) -> tuple[mx.array, mx.array]:
        """Keys and values that the last `length` positions may look at, oldest first."""
        assert self.rows is not None, "nothing was appended yet"
        return self._last(None if self.window is None else length + self.window - 1)

    def kept(self) -> tuple[mx.array, mx.array]:
        """The rows that survive the next append, as slices of the buffers."""
        return self._last(None if self.window is None else self.window + 1 + self.slack)

    def shared(self) -> tuple[mx.array, mx.array]:
        """Keys and values that the drafter may look at: in sliding layers those at distance 1 … window + 1."""
        return self._last(None if self.window is None else self.window + 1)

    def keepable(self, offset: int) -> range:
        """How many rows `kept` may return at a position: fewer than the slack allows after a `trim`."""
        if self.window is None:
            return range(offset, offset + 1)
        return range(min(offset, self.window + 1), min(offset, self.window + 1 + self.slack) + 1)

    def trim(self, n: int) -> None:
        """Forget the last `n` positions; the caller has checked `trimmable`."""
        if self.rows is not None:
            self.rows = self.rows._replace(end=self.rows.end - n, offset=self.rows.offset - n)

    def fill(self, keys: mx.array, values: mx.array, offset: int) -> None:
        """Take over kept rows, the last of which is position `offset - 1`."""
        # A slice is another handle: writing in place must not reach the caller's arrays.
        self.rows = Rows(keys[:], values[:], keys.shape[2], offset)

    def _last(self, count: int | None) -> tuple[mx.array, mx.array]:
        assert self.rows is not None
        keys, values, end, _ = self.rows
        start = 0 if count is None else max(0, end - count)
        return keys[..., start:end, :], values[..., start:end, :]

    def _with_room(self, keys: mx.array, values: mx.array) -> Rows:
        length = keys.shape[2]
        if self.rows is None:
            return Rows(_with_spare([keys]), _with_spare([values]), length, length)
        old_keys, old_values = self.kept()
        end, offset = old_keys.shape[2] + length, self.rows.offset + length
        return Rows(_with_spare([old_keys, keys]), _with_spare([old_values, values]), end, offset)


def _with_spare(parts: list[mx.array]) -> mx.array:
    """The parts and STEP rows to come: after a long piece as well, so that the first decoded token copies nothing."""
    _, heads, _, width = parts[0].shape
    spare = mx.broadcast_to(mx.array(0, parts[0].dtype), (1, heads, STEP, width))
    return mx.concatenate([*parts, spare], axis=2)


def _copies(layer: LayerCache) -> tuple[mx.array, mx.array]:
    keys, values = layer.kept()
    return mx.contiguous(keys), mx.contiguous(values)


@dataclass(frozen=True)
class Snapshot:
    """A point to come back to: copies of the sliding layers' rows; full layers are only cut back to `offset`."""

    offset: int
    branch: int
    sliding: dict[int, tuple[mx.array, mx.array]]

    @property
    def nbytes(self) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in self.sliding.values())


class Caches:
    """One conversation's layer caches and their common position.

    `trim(n)` is exact for n ≤ `trimmable`: at least min(offset, slack) as long as nothing was taken back, and after
    an append of L positions at least min(what it was before, slack) + L. A snapshot goes back further.
    """

    def __init__(self, config: TextConfig, slack: int = SLACK) -> None:
        self.config, self.slack = config, slack
        self.layers = [
            LayerCache(config.sliding_window if layer.is_sliding else None, slack) for layer in config.layers
        ]
        self._branches = [(0, 0)]  # (branch, first position written in it), ascending in both
        self._next_branch = 1
        self._marked = -1  # the latest branch with a snapshot

    @property
    def offset(self) -> int:
        """Positions held: the next token's position."""
        return self.layers[0].offset

    @property
    def trimmable(self) -> int:
        return min(layer.trimmable for layer in self.layers)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    @property
    def arrays(self) -> list[mx.array]:
        """All buffers, to evaluate them."""
        return [a for layer in self.layers if layer.rows is not None for a in layer.rows[:2]]

    def trim(self, n: int) -> None:
        """Forget the last `n` positions. Raises `ContextError` beyond `trimmable`."""
        if not 0 <= n <= self.trimmable:
            raise ContextError(
                f"cannot take back {n} of {self.offset} positions: {self.trimmable} are kept, restore a snapshot"
            )
        if n:
            for layer in self.layers:
                layer.trim(n)
            self._branch_off()

    def realign(self) -> None:
        """Take back what only some layers hold, after a forward pass was interrupted between two of them."""
        offset = min(layer.offset for layer in self.layers)
        for layer in self.layers:
            layer.trim(layer.offset - offset)

    def snapshot(self) -> Snapshot:
        """A point to come back to. Copies the sliding layers' rows now, so that appends go on in place."""
        sliding = [index for index, layer in enumerate(self.layers) if layer.window is not None and layer.offset]
        copies = {index: _copies(self.layers[index]) for index in sliding}
        mx.eval(copies)  # a lazy slice would hold the whole buffer and force every later append to copy it
        branch = self._branches[-1][0]
        self._marked = branch
        return Snapshot(self.offset, branch, copies)

    def can_restore(self, snapshot: Snapshot) -> bool:
        """Whether the full layers still hold the snapshot's positions as they were."""
        for index, (branch, _) in enumerate(self._branches):
            if branch == snapshot.branch:
                following = self._branches[index + 1 :]
                return not following or following[0][1] >= snapshot.offset
        return False

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to the snapshot. Raises `ContextError` if its positions were overwritten since."""
        if not self.can_restore(snapshot):
            raise ContextError(
                f"the snapshot at position {snapshot.offset} was overwritten: read the prompt again from the start"
            )
        for index, layer in enumerate(self.layers):
            if snapshot.offset == 0:
                layer.rows = None
            elif layer.window is None:
                layer.trim(layer.offset - snapshot.offset)
            else:
                layer.fill(*snapshot.sliding[index], snapshot.offset)
        self._branch_off()

    def shared(self, layer_type: str) -> tuple[mx.array, mx.array]:
        """Keys and values of the last layer of a kind, cut to the valid length: what the drafter reads."""
        return self.layers[self.config.last_layer(layer_type)].shared()

    def save(self, path: Path) -> None:
        """Write the kept rows to one file; `path` ends in `.safetensors`."""
        arrays: dict[str, mx.array] = {}
        for index, layer in enumerate(self.layers):
            if layer.offset:
                arrays[f"{index}.keys"], arrays[f"{index}.values"] = _copies(layer)
        mx.save_safetensors(str(path), arrays, {"offset": str(self.offset), "slack": str(self.slack)})

    @classmethod
    def load(cls, path: Path, config: TextConfig) -> "Caches":
        """Read what `save` wrote. Raises `CheckpointError` if it does not fit the configuration."""
        try:
            loaded = mx.load(str(path), return_metadata=True)
            assert isinstance(loaded, tuple)
            arrays, metadata = loaded
            caches = cls(config, int(metadata["slack"]))
            caches._fill(arrays, int(metadata["offset"]))
        except (RuntimeError, KeyError, ValueError) as fault:
            raise CheckpointError(f"{path} is no cache of this model ({fault}): read the conversation again") from None
        return caches

    def _fill(self, arrays: dict[str, mx.array], offset: int) -> None:
        names = {f"{index}.{part}" for index in range(len(self.layers)) for part in ("keys", "values")}
        if arrays.keys() != (names if offset else set()):
            raise ValueError(f"{len(arrays)} arrays at position {offset}, expected {len(names) if offset else 0}")
        if not all(mx.issubdtype(array.dtype, mx.floating) for array in arrays.values()):
            raise ValueError("its rows are no floating-point numbers")
        for index, (layer, attention) in enumerate(zip(self.layers, self.config.layers, strict=True)):
            if offset:
                keys, values = arrays[f"{index}.keys"], arrays[f"{index}.values"]
                rows = keys.size // (attention.num_key_value_heads * attention.head_dim)
                shape = (1, attention.num_key_value_heads, rows, attention.head_dim)
                if keys.shape != shape or values.shape != shape or rows not in layer.keepable(offset):
                    raise ValueError(f"layer {index} holds {keys.shape} and {values.shape} at position {offset}")
                layer.fill(keys, values, offset)
        mx.eval(self.arrays)

    def _branch_off(self) -> None:
        """Positions from here on belong to a new branch: snapshots taken later than here are lost."""
        while len(self._branches) > 1 and self._branches[-1][1] > self.offset:
            self._branches.pop()
        if self._branches[-1][0] <= self._marked:  # a branch without snapshots needs no end
            self._branches.append((self._next_branch, self.offset))
            self._next_branch += 1
