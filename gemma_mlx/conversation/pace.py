"""How far one conversation drafts: as told, or as far as it pays, which is learned and kept between sessions.

Knows depths and where their costs are remembered: not how drafts are made.
"""

from gemma_mlx.calibration import Setting, known_costs, remember_costs
from gemma_mlx.generation.adaptive import Adaptive
from gemma_mlx.generation.depth import Counted, Fixed
from gemma_mlx.generation.events import Draft
from gemma_mlx.generation.speculative import Drafting
from gemma_mlx.loading import Gemma


class Pace:
    """Depths of one conversation, reply by reply. Without a drafter, and at depth 0, nothing is drafted."""

    def __init__(self, gemma: Gemma) -> None:
        self._drafter = gemma.drafter
        self._setting = Setting(
            device=gemma.plan.machine.name,
            model=str(gemma.path),
            drafter=f"{gemma.sizes.drafter_weights} bytes",
            dtype=str(gemma.model.language_model.norm.weight.dtype),
        )
        self._adaptive: Adaptive | None = None
        self._counted: Counted | None = None

    def drafting(self, depth: int | None) -> Drafting | None:
        """How the next reply drafts; `depth` None: as far as it pays."""
        self._counted = None
        if self._drafter is None or depth == 0:
            return None
        self._counted = Counted(self._learning() if depth is None else Fixed(depth))
        return Drafting(self._drafter, self._counted)

    def _learning(self) -> Adaptive:
        if self._adaptive is None:
            self._adaptive = Adaptive(known_costs(self._setting))
        return self._adaptive

    def done(self) -> Draft:
        """What drafting came to in the last reply; what was learned is remembered."""
        if self._counted is None:
            return Draft()
        if self._adaptive is not None:
            remember_costs(self._setting, self._adaptive.costs)
        return self._counted.draft
