"""Reading and writing at growing lengths: tokens a second of prefill and decode, and how soon a model is loaded.

Prompts are ids that were drawn once, the same for all programs; what is written is the length's own number of tokens,
greedy, whatever they are. Decode counts from the second token on, where programs are a step ahead of what they show.
"""

from collections.abc import Iterator

import numpy as np

from gemma_mlx.benchmarks.peers.link import Generated, Linked
from gemma_mlx.benchmarks.schema import OURS, Result
from gemma_mlx.benchmarks.suites.bench import Bench, programs

LENGTHS, QUICK = (128, 512, 2048, 8192, 32768), (128, 512)
EMPTY = 8  # tokens of a prompt that counts as none
WRITTEN, QUICKLY = 64, 32
_FIRST, _SEED = 20, 0  # of the ids that are drawn: no special token


def speed(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suites `prefill` and `decode`."""
    decoding = "decode" in wanted
    written = (QUICKLY if bench.quick else WRITTEN) if decoding else 3
    for length in bench.lengths or ((EMPTY,) if decoding else ()) + (QUICK if bench.quick else LENGTHS):
        if length + written > bench.longest:
            bench.skip(f"{length:,} tokens", f"memory is planned for {bench.longest:,}: --context")
            continue
        with programs(bench, bench.settings()) as running:
            bench.tell(f"{length:,} tokens read, {written} written")
            ids = drawn(bench, length)

            def take(linked: Linked, ids: list[int] = ids) -> Generated:
                return linked.generate(ids, written)

            found = running.alternate(take, bench.repetitions)
        for name, runs in found.items():
            same = all(run.ids == found[OURS][0].ids for run in runs)
            details = {"prompt_tokens": length, "same_ids": same, "peak_mlx_bytes": max(r.peak_mlx_bytes for r in runs)}
            told = bool(bench.lengths) or length > EMPTY
            if "prefill" in wanted and told:
                rates = tuple(length / run.first for run in runs)
                yield Result("prefill", f"{length:,} tokens", name, "tokens/s", rates, "more", length, details=details)
            if decoding:
                case = f"after {length:,} tokens" if told else "from the beginning"
                bound = bench.bound(length + written // 2)
                rates = tuple(run.decode for run in runs)
                yield Result("decode", case, name, "tokens/s", rates, "more", length, bound, details)


def loading(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `load`: from asking for a directory until its weights are in memory, in a process that is new each time."""
    bench.tell("loading")
    with programs(bench, bench.settings()) as found:
        names = found.names
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(bench.repetitions + 1):
        for name in names if turn % 2 == 0 else names[::-1]:
            with Linked(name, bench.place(name), bench.settings(), bench.folder / f"{name}.log") as linked:
                times[name].append(linked.load_seconds)
    for name, seconds in times.items():
        yield Result("load", "weights in memory", name, "s", tuple(seconds[1:]))


def drawn(bench: Bench, length: int) -> list[int]:
    """Ids of a prompt."""
    size = bench.prepared.config.text_config.vocab_size
    rng = np.random.default_rng((_SEED, length))
    ids: list[int] = rng.integers(_FIRST, size, length).tolist()
    return ids
