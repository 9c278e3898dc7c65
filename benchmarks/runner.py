"""One run of `gemma-mlx bench`: the cards, suite after suite, every result written when it is known.

Interrupted at any point, what was measured is in the file. A suite that fails is left out with its reason, the others
go on. Knows no suite by name and no terminal.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gemma_mlx.benchmarks import ceiling, machine
from gemma_mlx.benchmarks.peers.link import Unavailable
from gemma_mlx.benchmarks.power import Energy
from gemma_mlx.benchmarks.schema import Recorded, Result, Run, Writer
from gemma_mlx.benchmarks.suites.bench import Bench, Suite, one_line
from gemma_mlx.errors import GemmaError
from gemma_mlx.loading import LoadOptions, Prepared, prepare

REPETITIONS, QUICK_REPETITIONS, COMPARED = 5, 3, 9
PACKAGES = ("gemma-mlx", "mlx", "numpy")


@dataclass(frozen=True)
class Wanted:
    """What to measure. `model` and `options` as `loading.prepare` takes them; `repetitions` None: as many as the kind
    of run calls for; `command`: what was typed; `lengths` as in `Bench`."""

    suites: Sequence[tuple[Suite, frozenset[str]]]
    model: str | Path
    options: LoadOptions
    peers: Mapping[str, Path | None] = field(default_factory=dict)
    quick: bool = False
    repetitions: int | None = None
    command: str = ""
    lengths: tuple[int, ...] = ()

    @property
    def times(self) -> int:
        return self.repetitions or (COMPARED if self.peers else QUICK_REPETITIONS if self.quick else REPETITIONS)


@dataclass(frozen=True)
class Told:
    """What happens meanwhile: what is done now, a result, something that is left out and why."""

    now: Callable[[str], None]
    result: Callable[[Result], None]
    skipped: Callable[[str, str], None]


def run(wanted: Wanted, out: Path, told: Told) -> Recorded:
    """Measure and write. `KeyboardInterrupt` ends the run in the file, then goes on."""
    prepared = prepare(wanted.model, wanted.options)
    cards = _cards(prepared, told)
    header = Run(
        datetime.now().isoformat(timespec="seconds"),
        wanted.command,
        cards.machine,
        cards.model,
        machine.versions([*PACKAGES, *wanted.peers]),  # of those that are packages
        wanted.times,
    )
    writer, swap, began, energy = Writer(out, header), machine.swap_used(), time.monotonic(), Energy()
    results, skipped, facts, finished = list[Result](), dict[str, str](), dict[str, Any](), False
    joules = dict[str, float | None]()

    def skip(what: str, why: str) -> None:
        if skipped.get(what) != why:
            skipped[what] = why
            writer.skip(what, why)
            told.skipped(what, why)

    try:
        with tempfile.TemporaryDirectory() as folder, energy:
            bench = Bench(
                prepared,
                wanted.times,
                wanted.quick,
                wanted.peers,
                Path(folder),
                cards.bandwidth,
                cards.model["bytes_per_token"],
                told.now,
                skip,
                wanted.lengths,
            )
            for suite, names in wanted.suites:
                spent = Energy()
                try:
                    with spent:
                        for result in _results(suite, names, bench):
                            writer.add(result)
                            results.append(result)
                            told.result(result)
                finally:
                    joules["_and_".join(sorted(names))] = spent.joules
        finished = True
    finally:
        facts |= {"seconds": round(time.monotonic() - began, 1), "joules": energy.joules}
        facts |= {f"joules_of_{name}": each for name, each in joules.items() if each is not None}
        facts |= {"swap_bytes_before": swap, "swap_bytes_after": machine.swap_used()}
        writer.end(finished, facts)
    return Recorded(header, tuple(results), skipped, finished, facts)


@dataclass(frozen=True)
class _Cards:
    machine: dict[str, Any]
    model: dict[str, Any]
    bandwidth: ceiling.Bandwidth


def _cards(prepared: Prepared, told: Told) -> _Cards:
    told.now("looking at the machine")
    card = machine.machine_card()
    bandwidth = ceiling.bandwidth(card)
    card |= {"bandwidth_bytes_per_s": round(bandwidth.bytes_per_second), "bandwidth_source": bandwidth.source}
    return _Cards(card, machine.model_card(prepared.directory, prepared.options.dtype), bandwidth)


def _results(suite: Suite, names: frozenset[str], bench: Bench) -> Iterator[Result]:
    """Of one suite, as they come; what a person, a program or MLX objects to ends it."""
    try:
        yield from suite(bench, names)
    except (GemmaError, Unavailable, RuntimeError) as fault:
        bench.skip(", ".join(sorted(names)), one_line(fault))
