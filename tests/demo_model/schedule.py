"""What training consists of, stage after stage: how many steps, of which batches, and how fast weights move.

Seeing comes first, then hearing, then what to do with it; what is seen is lost first where all is learnt at once, so
lines come back alone, and once more with everything else while the rate falls to nothing. Knows neither model nor data.
Source: trials with this model.
"""

from collections.abc import Mapping
from dataclasses import dataclass

WARM_UP = 50  # steps


@dataclass(frozen=True)
class Stage:
    """`steps` batches of the kinds in `shares`. The learning rate goes from one share of it to another, evenly.

    `lower`: share of the rate for what sees and hears. `whole`: how many pictures are whole ones; `new`: how many are
    crops of `strips`; the rest is of the pool of crops. `helping`: weight of the losses beside the reply's. `rounded`:
    weights are used as 4 bits will round them.
    """

    steps: int
    shares: Mapping[str, float]
    rate: tuple[float, float] = (1.0, 1.0)
    lower: float = 1.0
    whole: float = 0.3
    new: float = 0.0
    helping: float = 1.0
    rounded: bool = False


_TOLD = {"sounds": 0.03, "talk": 0.12, "calls": 0.14, "pictures": 0.25, "both": 0.06}
_EARLY, _LATE = _TOLD | {"lines": 0.2, "speech": 0.2}, _TOLD | {"strips": 0.32, "speech": 0.08}
_SEEING = {"strips": 0.38, "sounds": 0.02, "talk": 0.08, "calls": 0.1, "pictures": 0.28, "speech": 0.07, "both": 0.07}
_READING = {"strips": 0.1, "sounds": 0.02, "talk": 0.18, "calls": 0.2, "pictures": 0.38, "speech": 0.07, "both": 0.05}
_TALKING = {"strips": 0.08, "sounds": 0.02, "talk": 0.24, "calls": 0.17, "pictures": 0.37, "speech": 0.07, "both": 0.05}
STAGES = (
    Stage(2400, {"lines": 1}),
    Stage(1400, {"lines": 0.5, "sounds": 0.5}),
    Stage(5200, _EARLY),
    Stage(3000, {"lines": 0.92, "sounds": 0.08}, rate=(0.8, 0.1)),
    Stage(1500, {"strips": 0.92, "sounds": 0.08}, rate=(0.6, 0.4)),
    Stage(2000, _LATE, rate=(0.4, 0.16), whole=0.4, new=0.45, helping=0.3),
    Stage(2200, {"strips": 0.94, "sounds": 0.06}, rate=(0.5, 0.05)),
    Stage(3800, _SEEING, rate=(0.4, 0.15), lower=0.15, whole=0.4, new=0.4),
    Stage(6000, _READING, rate=(0.3, 0.05), lower=0.7, whole=0.12, new=0.6),
    Stage(900, _READING, rate=(0.05, 0.001), lower=0.7, whole=0.25, new=0.4, rounded=True),
    Stage(3100, _TALKING, rate=(0.14, 0.001), lower=0.7, whole=0.2, new=0.5, rounded=True),
)
STEPS = sum(stage.steps for stage in STAGES)


def at(number: int, stages: tuple[Stage, ...] = STAGES) -> tuple[Stage, float]:
    """The stage of step `number`, counted from 0, and the share of the learning rate then."""
    left = number
    for stage in stages:
        if left < stage.steps:
            first, last = stage.rate
            return stage, min(1.0, (left + 1) / WARM_UP) * (first + (last - first) * left / stage.steps)
        left -= stage.steps
    raise ValueError(f"step {number} of {sum(stage.steps for stage in stages)}")
