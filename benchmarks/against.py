"""What became slower or faster from one run of `gemma-mlx bench` to a later one.

A change is told when it is beyond the noise: the ranges between the quartiles do not touch, and the medians are apart
by more than `least`. Something timed a single time has no noise to compare with, and is never judged. Knows neither
what was measured nor what the command does about it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gemma_mlx.benchmarks.schema import OURS, Recorded, Result
from gemma_mlx.benchmarks.units import COUNTED, told
from gemma_mlx.errors import GemmaError

LEAST = 0.03
THRESHOLD = 0.1
Kind = Literal["slower", "faster", "same", "unsure", "unjudged", "missing", "new"]
"""`unsure`: apart, but timed a single time; `unjudged`: neither more nor less is better; `missing`: only before."""

_ALIKE = 0.02
_CHANGING = frozenset(  # words in the names of what may change on one machine: it is shown, not compared
    "power battery swap load free available used date time os kernel python wheel version bandwidth path".split()
)
_WORDS = {  # unit -> worse, better
    "s": ("slower", "faster"),
    "ms": ("slower", "faster"),
    "tokens/s": ("slower", "faster"),
    "bytes": ("worse", "better"),
}


@dataclass(frozen=True)
class Change:
    """One thing in two runs; `before` is None where it is new, `after` where it is missing."""

    kind: Kind
    before: Result | None
    after: Result | None

    @property
    def by(self) -> float:
        """Change of the median as a part of the one before, above 0 if it rose; 0 where one of the two is missing."""
        if self.before is None or self.after is None:
            return 0.0
        old, new = self.before.spread.median, self.after.spread.median
        if old == new:
            return 0.0
        return (new - old) / abs(old) if old else math.copysign(math.inf, new)


def changes(before: Recorded, after: Recorded, *, least: float = LEAST) -> list[Change]:
    """What both runs have, in the order of the later one, then what is missing from it. `least`: part of the median
    that is no change. Raises `GemmaError` if machines or models differ, or the runs have nothing in common."""
    _same("machine", before.run.machine, after.run.machine)
    _same("model", before.run.model, after.run.model)
    old = {(each.key, each.x): each for each in before.results}
    new = {(each.key, each.x): each for each in after.results}
    if not old.keys() & new.keys():
        raise GemmaError(
            f"the runs of {before.run.id} ({len(old)} results) and {after.run.id} ({len(new)} results) measured "
            "nothing in common; run the same suites again, to the end"
        )
    found = [_change(old[key], each, least) if key in old else Change("new", None, each) for key, each in new.items()]
    return found + [Change("missing", each, None) for key, each in old.items() if key not in new]


def worse(found: Sequence[Change], threshold: float = THRESHOLD) -> list[Change]:
    """Those that became slower, or take more, by more than `threshold`, a part of the median before."""
    return [each for each in found if each.kind == "slower" and abs(each.by) > threshold]


def words(change: Change) -> str:
    """One line: what it is, before and after with their spreads, and what became of it."""
    known = change.after or change.before
    if known is None:
        raise ValueError("a change of nothing")
    program = "" if known.program == OURS else f" ({known.program})"
    name = ", ".join(part for part in (known.suite, known.case) if part) + program
    if change.before is None or change.after is None:
        return f"{name}: {change.kind}, {told(known)}"
    apart = f"{abs(change.by):.0%}".replace("%", " %") if math.isfinite(change.by) else "from nothing"
    slower, faster = _WORDS.get(known.unit, ("worse", "better"))
    verdict = {
        "slower": f"{apart} {slower}",
        "faster": f"{apart} {faster}",
        "same": "no change beyond the noise",
        "unsure": f"{apart} {'more' if change.by > 0 else 'less'}, but timed once: measure again with repetitions",
    }.get(change.kind, f"{apart} {'more' if change.by > 0 else 'less'}" if change.by else "as before")
    return f"{name}: {told(change.before)} → {told(change.after)}: {verdict}"


def _change(before: Result, after: Result, least: float) -> Change:
    change = Change("same", before, after)
    old, new = before.spread, after.spread
    if not after.better:
        return Change("unjudged", before, after)
    if abs(change.by) <= least or (old.low <= new.high and new.low <= old.high):
        return change
    if after.unit not in COUNTED and min(len(before.values), len(after.values)) == 1:
        return Change("unsure", before, after)
    return Change("faster" if (change.by > 0) == (after.better == "more") else "slower", before, after)


def _same(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for name in (name for name in before if name in after):
        old, new = before[name], after[name]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            _same(what, old, new)
        elif old != new and not _CHANGING.intersection(name.lower().split("_")) and not _close(name, old, new):
            raise GemmaError(
                f"the {what} is not the same: {name} was {old!r} and is {new!r}; compare with a run of this {what}"
            )


def _close(name: str, old: Any, new: Any) -> bool:
    """Systems tell a little less or more memory from one version to the next."""
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    return "bytes" in name and numbers and math.isclose(old, new, rel_tol=_ALIKE)
