"""The suites by name, in the order in which they run."""

from collections.abc import Mapping

from gemma_mlx.benchmarks.suites import drafting, media, sizes, speed, turns, voice, where
from gemma_mlx.benchmarks.suites.bench import Suite
from gemma_mlx.errors import GemmaError

SUITES: Mapping[str, tuple[Suite, str]] = {
    "load": (speed.loading, "weights into memory"),
    "prefill": (speed.speed, "reading 128 to 32,768 tokens"),
    "decode": (speed.speed, "writing after 0 to 32,768 tokens"),
    "drafter": (drafting.drafting, "plain, fixed depths, chosen depth; prose, code, list"),
    "image": (media.image, "a question about a picture at 280, 560 and 1,120 tokens"),
    "audio": (media.audio, "a recording of 5, 15 and 29 s"),
    "voice": (voice.voice, "from the end of speech to the first text, live"),
    "turn": (turns.turn, "the second turn of a conversation"),
    "resume": (turns.resuming, "a saved conversation"),
    "conversion": (sizes.converting, "bfloat16 to 4 bits"),
    "memory": (sizes.memory, "the peak, planned and measured"),
    "profile": (where.profiled, "nodes of the graph, host time and bytes for each token"),
}
QUICK = ("load", "prefill", "decode", "drafter", "image", "audio", "turn")


def chosen(names: tuple[str, ...], quick: bool) -> list[tuple[Suite, frozenset[str]]]:
    """What to run, each function once with the names that it serves. Without names: all, or the quick ones. Raises
    `GemmaError` for a name that is not known."""
    if unknown := [name for name in names if name not in SUITES]:
        raise GemmaError(f"there is no suite {unknown[0]}: choose from {', '.join(SUITES)}")
    wanted = names or (QUICK if quick else tuple(SUITES))
    found: dict[Suite, set[str]] = {}
    for name, (suite, _) in SUITES.items():
        if name in wanted:
            found.setdefault(suite, set()).add(name)
    return [(suite, frozenset(served)) for suite, served in found.items()]
