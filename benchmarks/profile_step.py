"""Where the time of a step goes that is not arithmetic: nodes of its graph, time of the host, bytes that it reads.

    python -m gemma_mlx.benchmarks.profile_step --rounds 11 --out result.jsonl

compares with mlx-vlm on a model made for it, with as many layers as published and hardly any width, in float32 and
packed to 4 bits; with `--wide` on one whose arithmetic counts. Host time is what the thread that decodes computes to
build and to dispatch graphs, without what it waits for, so programs beside it change it little. Nodes are those that
this device gets; "on a GPU" takes norms, turns and attention, which a CPU has no kernels for, as one each. Knows steps,
not programs.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma_mlx.benchmarks.dispatch import Ours, Stepped, Vlm
from gemma_mlx.benchmarks.graph import as_on_a_gpu, compiled, dispatches, kept_together
from gemma_mlx.benchmarks.layout import TINY, Size, assistant_config, target_config
from gemma_mlx.benchmarks.machine import machine_card, model_card, versions
from gemma_mlx.benchmarks.peers.program import Settings
from gemma_mlx.benchmarks.record import command
from gemma_mlx.benchmarks.schema import Result, Run, Writer
from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.device import this_machine
from gemma_mlx.errors import GemmaError
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel

SUITE, REPETITIONS = "profile", 9
NARROW = replace(TINY, layers=48, hidden=64, intermediate=128, draft_hidden=64, draft_intermediate=128)
MIDDLE = Size(12, 1024, 2048, 8, 4, 128, 16384, 512, 128, 256, 2048, boundary_id=2000, medium_id=2010)
PROMPT = list(range(20, 52))
_WARM, _STEPS = 4, 24  # tokens before those that are timed, and of these
_DEPTH, _BLOCKS = 4, 16  # drafts, and how often they are made for one value
_BITS, _GROUP = 4, 32
_SHARE = 0.7  # of the memory that both programs' weights may take together

Making = Callable[[], Stepped]


@dataclass(frozen=True)
class Spent:
    """Milliseconds a step: what the thread computed to build and to dispatch it, and what passed on the clock."""

    build: float
    dispatch: float
    passed: float

    @property
    def host(self) -> float:
        return self.build + self.dispatch


def profile(directory: Path, drafter: Path | None, settings: Settings) -> list[Result]:
    """Of gemma-mlx alone. Raises what loading raises."""

    def made() -> Stepped:
        return Ours(directory, drafter, settings.dtype)

    return _measured([made], drafter is not None, REPETITIONS)


def compared(directory: Path, drafter: Path | None, repetitions: int) -> list[Result]:
    """Of both programs in alternation A B B A, which hold their weights at once in this process. Whether their tokens
    were the same is in the details, as `same_ids`. Raises `GemmaError` if mlx-vlm is not installed or memory is too
    small for both."""
    size, room = sum(file.stat().st_size for file in directory.glob("*.safetensors")), this_machine().ram * _SHARE
    if 2 * size > room:
        raise GemmaError(
            f"{directory} takes {size / 1e9:.1f} GB, two programs may take {room / 2e9:.1f} GB each: "
            "profile it without --compare"
        )

    def ours() -> Stepped:
        return Ours(directory, drafter, "auto")

    def peer() -> Stepped:
        return Vlm(directory, drafter, "auto")

    return _measured([ours, peer], drafter is not None, repetitions)


def _measured(making: Sequence[Making], drafts: bool, repetitions: int) -> list[Result]:
    on_a_gpu = [_graphs_on_a_gpu(make, drafts) for make in making]
    taken = [_Taken(make(), drafts) for make in making]
    answers = [each.warm_up() for each in taken]
    same = all(answer == answers[0] for answer in answers)
    for number in range(repetitions):
        for each in taken if number % 2 == 0 else taken[::-1]:
            each.take()
    return [result for each, there in zip(taken, on_a_gpu, strict=True) for result in each.results(there, same)]


@dataclass(frozen=True)
class Graphs:
    """Nodes of a token and of a draft; nan without a drafter."""

    token: float
    draft: float


class _Taken:
    """What was measured of a program."""

    def __init__(self, program: Stepped, drafts: bool) -> None:
        self.program, self._drafts = program, drafts
        self._tokens: list[Spent] = []
        self._draft_steps: list[Spent] = []
        self._graphs = Graphs(float("nan"), float("nan"))

    def warm_up(self) -> list[int]:
        """Count, compile and return some tokens."""
        ids = list(self.program.decode(PROMPT, _STEPS))
        self.program.read(PROMPT)
        self._graphs = graphs(self.program, self._drafts)
        if self._drafts:
            drafting(self.program)
        return ids

    def take(self) -> None:
        """One value of everything."""
        self._tokens.append(decoding(self.program))
        if self._drafts:
            self._draft_steps.append(drafting(self.program))

    def results(self, on_a_gpu: Graphs | None, same_ids: bool) -> Iterator[Result]:
        """One for each case."""
        here, (token, draft) = self._graphs, self.program.bytes_read()
        there = on_a_gpu or here
        yield from self._cases("decoded token", self._tokens, (here.token, there.token, token), {"same_ids": same_ids})
        if self._drafts:
            yield from self._cases("drafter step", self._draft_steps, (here.draft, there.draft, draft), {})

    def _cases(
        self, of: str, spent: Sequence[Spent], counts: tuple[float, float, int], more: Mapping[str, bool]
    ) -> Iterator[Result]:
        name, (nodes, on_a_gpu, read) = self.program.name, counts
        beside = {"load_average": round(os.getloadavg()[0], 2), "drafts": _DEPTH, "context": len(PROMPT), **more}

        def result(case: str, unit: str, values: Iterable[float]) -> Result:
            return Result(SUITE, case.format(of), name, unit, tuple(values), details=beside)

        yield result("nodes per {}", "nodes", [nodes])
        yield result("nodes per {} on a GPU", "nodes", [on_a_gpu])
        yield result("host time per {}", "ms", [each.host for each in spent])
        yield result("graph building per {}", "ms", [each.build for each in spent])
        yield result("time per {}", "ms", [each.passed for each in spent])
        yield result("bytes read per {}", "bytes", [read])


def graphs(program: Stepped, drafts: bool) -> Graphs:
    """Count a step of each kind; with drafts the program has read a prompt. Of a token's step the keys and values that
    the next one reads are a part, since its own attention reads them."""
    with dispatches(counted=True) as found:
        for _ in program.decode(PROMPT, _STEPS):
            pass
    drafted = kept_together(lambda: program.draft(_DEPTH)) / _DEPTH if drafts else float("nan")
    return Graphs(statistics.median_low(found.nodes), drafted)


def decoding(program: Stepped) -> Spent:
    """Tokens in the program's own loop, some after the first."""
    tokens = program.decode(PROMPT, _WARM + _STEPS + 2)
    for _ in range(_WARM):
        next(tokens)
    with dispatches() as found:
        passed, computed = time.perf_counter(), time.thread_time()
        for _ in range(_STEPS):
            next(tokens)
        passed, computed = time.perf_counter() - passed, time.thread_time() - computed
    for _ in tokens:  # to the end: nothing of it runs beside what is measured next
        pass
    return _spent(passed, computed, sum(found.ms), _STEPS)


def drafting(program: Stepped) -> Spent:
    """Blocks of drafts; host time is up to where all of a block is begun."""
    passed, computed, dispatched = 0.0, 0.0, 0.0
    for _ in range(_BLOCKS):
        with dispatches() as found:
            clock, began = time.perf_counter(), time.thread_time()
            ids = program.draft(_DEPTH)
            computed += time.thread_time() - began
            mx.eval(ids)
            passed += time.perf_counter() - clock
        dispatched += sum(found.ms)
    return _spent(passed, computed, dispatched, _BLOCKS * _DEPTH)


def _spent(passed: float, computed: float, dispatched_ms: float, steps: int) -> Spent:
    return Spent((1e3 * computed - dispatched_ms) / steps, dispatched_ms / steps, 1e3 * passed / steps)


def _graphs_on_a_gpu(make: Making, drafts: bool) -> Graphs | None:
    """None where this is a GPU: what is counted is what it gets."""
    if mx.default_device() == mx.gpu:
        return None
    with as_on_a_gpu():
        program = make()
        program.read(PROMPT)
        return graphs(program, drafts)


def fabricate(folder: Path, size: Size, bits: int | None = None) -> tuple[Path, Path]:
    """Write a target and its assistant of random weights, in float32 or packed. Returns their directories."""
    mx.random.seed(0)
    raw, assistant = target_config(size), assistant_config(size)
    model, drafter = GemmaModel(ModelConfig.from_dict(raw)), Drafter(DrafterConfig.from_dict(assistant))
    parts: tuple[nn.Module, nn.Module] = (model.language_model, drafter)
    if bits is not None:
        for part, config in zip(parts, (raw, assistant), strict=True):
            nn.quantize(part, _GROUP, bits)
            config["quantization"] = {"group_size": _GROUP, "bits": bits}
    _write(folder / "target", raw, {f"model.{name}": array for name, array in _arrays(model)})
    _write(folder / "assistant", assistant, dict(_arrays(drafter)))
    return folder / "target", folder / "assistant"


def _arrays(model: nn.Module) -> list[tuple[str, mx.array]]:
    return list(dict(tree_flatten(model.parameters())).items())


def _write(directory: Path, config: dict[str, object], weights: dict[str, mx.array]) -> None:
    directory.mkdir(parents=True)
    mx.save_safetensors(str(directory / "model.safetensors"), weights, {"format": "mlx"})
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Compare on made models, print ratios and append a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="alternations, 1 or more")
    parser.add_argument("--layers", type=int, default=NARROW.layers, help="of the model, in sixes")
    parser.add_argument("--wide", action="store_true", help="a model of 130 M parameters instead, in float32")
    parser.add_argument("--out", type=Path, required=True, help="append a run to this file of JSON lines")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.layers < 6 or given.layers % 6:
        parser.error(f"rounds are {given.rounds} and layers {given.layers}: give 1 or more, and a multiple of 6")
    narrow = replace(NARROW, layers=given.layers)
    models = [(MIDDLE, None)] if given.wide else [(narrow, None), (narrow, _BITS)]
    with tempfile.TemporaryDirectory() as folder:
        made = {bits: fabricate(Path(folder) / str(bits), size, bits) for size, bits in models}
        first, _ = next(iter(made.values()))
        writer = Writer(given.out, _run(given.rounds, first, arguments))
        finished = False
        try:
            for bits, (target, assistant) in made.items():
                with compiled():
                    results = compared(target, assistant, given.rounds)
                for result in results:
                    writer.add(replace(result, case=f"{result.case}, {'float32' if bits is None else f'{bits}-bit'}"))
            finished = True
        finally:
            writer.end(finished, {})


def _run(rounds: int, target: Path, arguments: Sequence[str]) -> Run:
    now, shown = datetime.now().isoformat(timespec="seconds"), command("gemma_mlx.benchmarks.profile_step", arguments)
    return Run(now, shown, machine_card(), model_card(target), versions(["gemma-mlx", "mlx", "mlx-vlm"]), rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
