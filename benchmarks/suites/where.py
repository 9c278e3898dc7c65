"""Where the time of a token goes: what `profile_step` counts of this model."""

from collections.abc import Iterator

from gemma_mlx.benchmarks.schema import Result
from gemma_mlx.benchmarks.suites.bench import Bench

_PEER = "mlx-vlm"


def profiled(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `profile`."""
    from gemma_mlx.benchmarks.profile_step import compared, profile

    bench.tell("profile: counting the steps of a token")
    drafter = bench.prepared.drafter if bench.prepared.plan.knobs.drafter else None
    if _PEER in bench.peers:
        yield from compared(bench.model, drafter, bench.repetitions)
    else:
        yield from profile(bench.model, drafter, bench.settings(drafter=drafter is not None))
