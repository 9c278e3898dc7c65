"""The plan kept while a conversation grows: what comes next is admitted only if it fits.

Knows the plan's arithmetic and a count of what else is in use: not by whom.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.memory.parts import parts
from gemma_mlx.memory.sizes import gigabytes
from gemma_mlx.memory.values import ModelBytes, Plan

# Bytes that belong to the passes before and after, and are in the plan already: a token's choice, a picture's patches.
# On the 12B in float32 with a picture of 1120 tokens, 18 MB.
PASSING = 24_000_000


@dataclass(frozen=True)
class Guard:
    """A model under its plan. `in_use`: bytes that are taken beside the weights, by whomever."""

    model: ModelBytes
    plan: Plan
    in_use: Callable[[], int]

    def admit(self, positions: int, piece: int, held: int) -> None:
        """Raise `MemoryPlanError` if a pass of `piece` positions, `positions` with those before it, does not fit
        beside what others use. `held`: bytes of the conversation so far."""
        allowed = self.plan.limit - (self.plan.total - self.plan.peak)
        others = max(0, self.in_use() - held - PASSING)
        if self._is_planned(positions, piece) and self.plan.peak + others <= allowed:
            return
        needed = self.peak(positions, piece) + others
        if needed > allowed:
            raise MemoryPlanError(
                f"{positions:,} tokens need {gigabytes(needed)}, {gigabytes(allowed)} are allowed: start a new "
                "conversation, attach smaller pictures, or plan for more with --memory"
            )

    def _is_planned(self, positions: int, piece: int) -> bool:
        """Whether the plan's own peak covers the pass, so that nothing needs to be counted: that takes long."""
        planned = self.plan.knobs
        return positions <= planned.context and piece <= max(planned.piece_tokens, planned.image_tokens)

    def peak(self, positions: int, piece: int) -> int:
        """Bytes while a pass of `piece` positions that ends at `positions` is under way.

        Never more than planned for what the plan allows; a pass that is longer than its pieces is one picture.
        """
        planned = self.plan.knobs
        picture = piece if piece > planned.piece_tokens else min(piece, planned.image_tokens)
        earlier = replace(planned, context=positions)
        knobs = replace(earlier, piece_tokens=min(piece, planned.piece_tokens), image_tokens=picture)
        found = parts(self.model, self.plan.machine.backend, knobs, earlier)
        return sum(part.nbytes for part in found if part.counted)


def largest_picture(model: ModelBytes, plan: Plan, positions: int, sizes: Sequence[int]) -> int:
    """The largest of these sizes that a picture after so many positions may have: at least what the plan allows."""
    guard = Guard(model, plan, lambda: 0)
    allowed = plan.limit - (plan.total - plan.peak) - PASSING
    fitting = (size for size in sizes if guard.peak(positions + size, size) <= allowed)
    return max(plan.knobs.image_tokens, max(fitting, default=0))
