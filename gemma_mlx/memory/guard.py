"""The plan kept while a conversation grows: what comes next is admitted only if it fits.

Knows the plan's arithmetic and a count of what else is in use: not by whom.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.memory.parts import parts
from gemma_mlx.memory.sizes import gigabytes
from gemma_mlx.memory.values import ModelBytes, Plan


@dataclass(frozen=True)
class Guard:
    """A model under its plan. `foreign`: bytes in use beside the weights and this conversation."""

    model: ModelBytes
    plan: Plan
    foreign: Callable[[], int]

    def admit(self, positions: int, piece: int) -> None:
        """Raise `MemoryPlanError` if a pass of `piece` positions, `positions` with those before it, does not fit
        beside all that is in use."""
        needed = self._peak(positions, piece) + max(0, self.foreign())
        allowed = self.plan.limit - (self.plan.total - self.plan.peak)
        if needed > allowed:
            raise MemoryPlanError(
                f"{positions:,} tokens need {gigabytes(needed)}, {gigabytes(allowed)} are allowed: start a new "
                "conversation, attach smaller pictures, or plan for more with --memory"
            )

    def _peak(self, positions: int, piece: int) -> int:
        """Bytes while a pass of `piece` positions that ends at `positions` is under way."""
        knobs = replace(self.plan.knobs, context=positions, piece_tokens=piece, image_tokens=piece)
        found = parts(self.model, self.plan.machine.backend, knobs)
        return sum(part.nbytes for part in found if part.counted)
