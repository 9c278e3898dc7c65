"""The suites by name, in the order of `names`."""

from collections.abc import Mapping

from gemma_mlx.benchmarks.suites import drafting, media, sizes, speed, turns, voice, where
from gemma_mlx.benchmarks.suites.bench import Suite
from gemma_mlx.errors import GemmaError

SUITES: Mapping[str, Suite] = {
    "load": speed.loading,
    "prefill": speed.speed,
    "decode": speed.speed,
    "drafter": drafting.drafting,
    "image": media.image,
    "audio": media.audio,
    "voice": voice.voice,
    "turn": turns.turn,
    "resume": turns.resuming,
    "conversion": sizes.converting,
    "memory": sizes.memory,
    "profile": where.profiled,
}
QUICK = ("load", "prefill", "decode", "drafter", "image", "audio", "turn")


def chosen(names: tuple[str, ...], quick: bool) -> list[tuple[Suite, frozenset[str]]]:
    """What to run, each function once with the names that it serves. Without names: all, or the quick ones. Raises
    `GemmaError` for a name that is not known."""
    if unknown := [name for name in names if name not in SUITES]:
        raise GemmaError(f"there is no suite {unknown[0]}: choose from {', '.join(SUITES)}")
    wanted = names or (QUICK if quick else tuple(SUITES))
    found: dict[Suite, set[str]] = {}
    for name, suite in SUITES.items():
        if name in wanted:
            found.setdefault(suite, set()).add(name)
    return [(suite, frozenset(served)) for suite, served in found.items()]
