"""Positions that a conversation may come back to, within a budget of bytes.

A mark costs nothing while the caches can be cut back to it. Its rows are copied just before they would be dropped; then
it counts, and the marks that were not used for longest make room. Knows caches: not what their positions hold.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gemma_mlx.model.cache import Caches, Snapshot


@dataclass
class Marks:
    """The marks of one conversation. `budget`: bytes that copies may take."""

    budget: int
    _at: dict[int, Snapshot | None] = field(default_factory=dict)  # by position, the least recently used first

    @property
    def nbytes(self) -> int:
        return sum(snapshot.nbytes for snapshot in self._at.values() if snapshot)

    @property
    def positions(self) -> list[int]:
        """Least recently used first."""
        return [*self._at]

    @property
    def copies(self) -> dict[int, Snapshot]:
        """The marks that have rows of their own."""
        return {position: snapshot for position, snapshot in self._at.items() if snapshot}

    def add(self, caches: Caches, position: int) -> None:
        """Mark a position: one that the caches can be cut back to, or that they are about to reach."""
        if position in self._at or (position > 0 and caches.offset - position <= caches.trimmable):
            self._at[position] = self._at.pop(position, None)

    def adopt(self, caches: Caches, positions: Sequence[int], copies: Mapping[int, Snapshot]) -> None:
        """Marks of the same caches before they were saved, of their copies the last used ones that the budget holds."""
        left = self.budget
        for position in reversed(positions):
            if position in copies:
                left -= copies[position].nbytes
            if left >= 0 or position not in copies:
                self._at[position] = copies.get(position)
        self._at = dict(reversed(self._at.items()))
        self._prune(caches)

    def secure(self, caches: Caches, length: int, at_once: bool = True) -> None:
        """Copy what the caches would drop of marked positions if they grew by so many, one by one if not `at_once`."""
        if caches.drops(length):
            last = caches.offset if at_once else caches.offset + length  # where rows may be dropped
            for position, snapshot in [*self._at.items()]:
                if snapshot is None and position <= caches.offset and last - position > caches.slack:
                    self._copy(caches, position)

    def secure_all(self, caches: Caches) -> None:
        """Copy what caches with nothing but the kept rows would lack."""
        self.secure(caches, sys.maxsize)

    def way_back(self, caches: Caches, position: int) -> int:
        """The nearest position, at most `position`, that the caches can go back to."""
        if caches.offset - position <= caches.trimmable:
            return position
        found = (at for at, snapshot in self.copies.items() if at <= position and caches.can_restore(snapshot))
        return max(found, default=0)

    def go_back(self, caches: Caches, position: int) -> None:
        """Go where `way_back` said, other than to 0."""
        if caches.offset - position <= caches.trimmable:
            caches.trim(caches.offset - position)
        else:
            caches.restore(self.copies[position])
            self._at[position] = self._at.pop(position)
        self._prune(caches)

    def of(self, caches: Caches) -> "Marks":
        """The same marks for a copy of the caches."""
        other = Marks(self.budget, {**self._at})
        other._prune(caches)
        return other

    def _prune(self, caches: Caches) -> None:
        """Forget the marks that lead nowhere any more."""
        self._at = {
            position: snapshot
            for position, snapshot in self._at.items()
            if position <= caches.offset
            and (caches.can_restore(snapshot) if snapshot else caches.offset - position <= caches.trimmable)
        }

    def _copy(self, caches: Caches, position: int) -> None:
        needed = caches.snapshot_nbytes(position)
        for other in self.positions:
            if other == position or self.nbytes + needed <= self.budget:
                break
            if self._at[other]:
                del self._at[other]
        if self.nbytes + needed <= self.budget:
            self._at[position] = caches.snapshot(position)
        else:
            del self._at[position]
