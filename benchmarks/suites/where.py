"""Where the time of a token goes: what `profile_step` counts of this model."""

from collections.abc import Iterator

from gemma_mlx.benchmarks.schema import Result
from gemma_mlx.benchmarks.suites.bench import Bench


def profiled(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `profile`."""
    from gemma_mlx.benchmarks.profile_step import compared, profile

    bench.tell("profile: counting the steps of a token")
    if bench.has_vlm("profile", models=2):
        yield from compared(bench.model, bench.drafter, bench.repetitions)
    else:
        yield from profile(bench.model, bench.drafter, bench.settings(drafter=True))
