"""Keys and values of one conversation, and exact ways back.

Full-attention layers keep every position; sliding layers keep the window and a slack, so that going back is exact or
an error, never a guess. Rows lie in order of time in buffers that are written in place. Knows shapes only: not tokens,
turns or policies. An append can always be undone: what it drops, it drops before it adds.
"""

from dataclasses import dataclass
from typing import NamedTuple

import mlx.core as mx

from gemma_mlx.config import TextConfig
from gemma_mlx.errors import ContextError

STEP = 256  # rows by which a buffer grows; one copy of the kept rows for so many appended ones
SLACK = 64  # rows that a sliding layer keeps beyond its window: how far `trim` can always go back


LayerRows = tuple[mx.array, mx.array]  # keys and values, (1, kv_heads, n, head_dim) each


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
        rows = self.rows
        if rows is None:
            return 0
        return rows.offset if self.window is None or rows.end == rows.offset else rows.end - self.window - 1

    @property
    def nbytes(self) -> int:
        return 0 if self.rows is None else self.rows.keys.nbytes + self.rows.values.nbytes

    def append(self, keys: mx.array, values: mx.array) -> LayerRows:
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

    def view(self, length: int = 1) -> LayerRows:
        """Keys and values that the last `length` positions may look at, oldest first."""
        assert self.rows is not None, "nothing was appended yet"
        return self._last(None if self.window is None else length + self.window - 1)

    def kept(self) -> LayerRows:
        """The rows that survive the next append, as slices of the buffers."""
        return self._last(None if self.window is None else self.window + 1 + self.slack)

    def shared(self) -> LayerRows:
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
            keys, values, end, offset = self.rows
            self.rows = Rows(keys, values, end - n, offset - n)

    def kept_nbytes(self, offset: int) -> int:
        """The most that `kept` takes at a position."""
        if self.rows is None:
            return 0
        rows = offset if self.window is None else min(offset, self.window + 1 + self.slack)
        return rows * self.nbytes // self.rows.keys.shape[2]

    def drops(self, length: int) -> bool:
        """Whether appending so many rows forgets some that `trim` could still go back to."""
        if self.rows is None or self.window is None:
            return False
        return self.rows.end + length > self.rows.keys.shape[2] and self.rows.end > self.window + 1 + self.slack

    def kept_at(self, offset: int) -> LayerRows:
        """Copies of what `kept` was at an earlier position; the caller has checked `trimmable`."""
        assert self.rows is not None, "nothing was appended yet"
        end = self.rows.end - (self.rows.offset - offset)
        start = 0 if self.window is None else max(0, end - (self.window + 1 + self.slack))
        return mx.contiguous(self.rows.keys[..., start:end, :]), mx.contiguous(self.rows.values[..., start:end, :])

    def fill(self, keys: mx.array, values: mx.array, offset: int) -> None:
        """Copy kept rows, the last of which is position `offset - 1`."""
        self.rows = Rows(_with_spare([keys]), _with_spare([values]), keys.shape[2], offset)

    def _last(self, count: int | None) -> LayerRows:
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


@dataclass(frozen=True)
class Snapshot:
    """A point to come back to: copies of the sliding layers' rows; full layers are only cut back to `offset`."""

    offset: int
    branch: int
    sliding: dict[int, LayerRows]

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
        return min([layer.trimmable for layer in self.layers])

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    @property
    def arrays(self) -> list[mx.array]:
        """All buffers, to evaluate them."""
        return [a for layer in self.layers if layer.rows is not None for a in layer.rows[:2]]

    def trim(self, n: int) -> None:
        """Forget the last `n` positions. Raises `ContextError` beyond `trimmable`."""
        self._check(n)
        if n:
            for layer in self.layers:
                layer.trim(n)
            self._branch_off()

    def _check(self, n: int) -> None:
        if not 0 <= n <= self.trimmable:
            raise ContextError(
                f"cannot take back {n} of {self.offset} positions: {self.trimmable} are kept, restore a snapshot"
            )

    def realign(self) -> None:
        """Take back what only some layers hold, after a forward pass was interrupted between two of them."""
        offset = min(layer.offset for layer in self.layers)
        for layer in self.layers:
            layer.trim(layer.offset - offset)

    def drops(self, length: int) -> bool:
        """Whether appending so many positions makes `trimmable` less than it would be with them."""
        return any(layer.drops(length) for layer in self.layers)

    def snapshot(self, position: int | None = None) -> Snapshot:
        """A point to come back to: the present one, or an earlier one that `trim` could go back to.

        Copies the sliding layers' rows now, so that appends go on in place. Raises `ContextError` beyond `trimmable`.
        """
        offset = self.offset if position is None else position
        self._check(self.offset - offset)
        sliding = [index for index, layer in enumerate(self.layers) if layer.window is not None and offset]
        copies = {index: self.layers[index].kept_at(offset) for index in sliding}
        mx.eval(copies)  # a lazy slice would hold the whole buffer and force every later append to copy it
        branch = max(branch for branch, first in self._branches if first <= offset)
        self._marked = max(self._marked, branch)
        return Snapshot(offset, branch, copies)

    def snapshot_nbytes(self, position: int) -> int:
        """The most that a snapshot at a position takes."""
        return sum(layer.kept_nbytes(position) for layer in self.layers if layer.window is not None)

    def adopt(self, position: int, sliding: dict[int, LayerRows]) -> Snapshot:
        """A snapshot of these caches that was taken before they were saved."""
        self._marked = max(self._marked, self._branches[-1][0])
        return Snapshot(position, self._branches[-1][0], sliding)

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
        mx.eval(self.arrays)
        self._branch_off()

    def shared(self, layer_type: str) -> LayerRows:
        """Keys and values of the last layer of a kind, cut to the valid length: what the drafter reads."""
        return self.layers[self.config.last_layer(layer_type)].shared()

    def kept(self) -> dict[int, LayerRows]:
        """The rows that survive the next append, by layer, as slices of the buffers."""
        return {index: layer.kept() for index, layer in enumerate(self.layers) if layer.offset}

    def take(self, rows: dict[int, LayerRows], offset: int) -> None:
        """Copy the `kept` rows of other caches, which stand at `offset`, into these, which are empty."""
        for index, kept in rows.items():
            self.layers[index].fill(*kept, offset)
        mx.eval(self.arrays)

    def copy(self) -> "Caches":
        """Caches of their own with the same rows; snapshots of these are of those as well."""
        other = Caches(self.config, self.slack)
        other.take(self.kept(), self.offset)
        other._branches, other._next_branch, other._marked = [*self._branches], self._next_branch, self._marked
        return other

    def _branch_off(self) -> None:
        """Positions from here on belong to a new branch: snapshots taken later than here are lost."""
        while len(self._branches) > 1 and self._branches[-1][1] > self.offset:
            self._branches.pop()
        if self._branches[-1][0] <= self._marked:  # a branch without snapshots needs no end
            self._branches.append((self._next_branch, self.offset))
            self._next_branch += 1
