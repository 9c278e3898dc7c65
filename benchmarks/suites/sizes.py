"""Memory as planned and as it is, and how long it takes to make a model smaller."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import mlx.core as mx

from gemma_mlx.benchmarks import conversion
from gemma_mlx.benchmarks.full_size import write_target
from gemma_mlx.benchmarks.layout import TINY, Size
from gemma_mlx.benchmarks.schema import OURS, Result
from gemma_mlx.benchmarks.suites.bench import VLM, Bench
from gemma_mlx.doctor.measure import Measured, measure

PLANNED = "gemma-mlx, planned"
_SAMPLE = 0.02  # seconds between two looks at memory
_LAYERS = 6  # of the published 48, that are converted: 4.84 GB, which take as much again
_POINTS = 400  # of a timeline, at most


def memory(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `memory`: MLX's peak while a model is loaded and answers a fixed prompt, beside the plan's."""
    measured: list[Measured] = []
    timeline: list[list[float]] = []
    for _ in range(bench.repetitions + 1):
        bench.tell("memory: loading, then answering")
        timeline.clear()
        with _watched(timeline):
            measured.append(measure(bench.prepared))
        mx.clear_cache()
    step = -(-len(timeline) // _POINTS)
    details = {"timeline": timeline[::step], "limit": bench.prepared.plan.limit}
    peaks = tuple(float(each.measured_peak) for each in measured[1:])
    plans = tuple(float(each.predicted_peak) for each in measured[1:])
    yield Result("memory", "answering", OURS, "bytes", peaks, details=details)
    yield Result("memory", "answering", PLANNED, "bytes", plans, "")


def converting(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `conversion`: a slice of the published shapes, random weights, to 4 bits; start to exit of the command."""
    size = TINY if bench.quick else Size(layers=_LAYERS)
    source = bench.folder / "source"
    needed = 3 * 4_840_000_000 if size is not TINY else 50_000_000
    if shutil.disk_usage(bench.folder).free < needed:
        bench.skip("conversion", f"needs {needed / 1e9:.0f} GB on the disk")
        return
    nbytes = write_target(source, size)
    commands = conversion.programs() if bench.has_vlm("conversion") else {"ours": conversion.OURS}
    amount = f"{nbytes / 1e9:.2f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.1f} MB"
    case = f"{amount} of bfloat16 to 4 bits"
    bench.tell(f"conversion: {case}")
    try:
        found = conversion.alternate(commands, source, bench.repetitions + 1)
    finally:
        for folder in (source, *(conversion.converted(source, name) for name in commands)):
            shutil.rmtree(folder, ignore_errors=True)
    names = {"ours": OURS, "peer": VLM}
    for name, (_, *runs) in found.items():  # the first one warms up
        peaks = tuple(float(run.peak_resident_bytes) for run in runs)
        yield Result("conversion", case, names[name], "s", tuple(run.seconds for run in runs))
        yield Result("conversion", f"most memory, {case}", names[name], "bytes", peaks)


@contextmanager
def _watched(timeline: list[list[float]]) -> Iterator[None]:
    """MLX's memory in use, looked at now and then: seconds and bytes."""
    over, began = threading.Event(), time.monotonic()

    def look() -> None:
        while not over.wait(_SAMPLE):
            timeline.append([round(time.monotonic() - began, 3), float(mx.get_active_memory())])

    thread = threading.Thread(target=look, name="memory")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
