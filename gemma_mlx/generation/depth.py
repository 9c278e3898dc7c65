"""How many tokens to draft in the next round. Pure: no clock, no model, no file."""

from dataclasses import dataclass
from typing import Protocol

from gemma_mlx.generation.events import Draft

MOST = 8  # drafts in a round


@dataclass(frozen=True)
class Round:
    """One round as it went: `depth` drafts proposed, the first `accepted` of them accepted, `accepted` + 1 tokens won.

    depth 0 is one plain step. `seconds`: from when the round before was ready to when this one was. `position`:
    positions that the caches held when it began.
    """

    depth: int
    accepted: int
    seconds: float
    position: int


class Depths(Protocol):
    """Chooses depths and learns from the rounds."""

    def choose(self, position: int) -> int:
        """Depth of the next round, 0 to MOST; `position`: positions that the caches hold."""

    def record(self, done: Round) -> None:
        """What the last round came to."""


@dataclass(frozen=True)
class Fixed:
    """Always the same depth."""

    depth: int

    def choose(self, position: int) -> int:
        return self.depth

    def record(self, done: Round) -> None:
        """Nothing to learn."""


class Counted:
    """Any `Depths`, and what came of them."""

    def __init__(self, depths: Depths) -> None:
        self._depths = depths
        self._draft = Draft()

    @property
    def draft(self) -> Draft:
        """Rounds with drafts so far, drafts proposed, drafts accepted."""
        return self._draft

    def choose(self, position: int) -> int:
        return self._depths.choose(position)

    def record(self, done: Round) -> None:
        if done.depth:
            so_far = self._draft
            self._draft = Draft(so_far.rounds + 1, so_far.drafted + done.depth, so_far.accepted + done.accepted)
        self._depths.record(done)
