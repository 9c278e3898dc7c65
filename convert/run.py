"""A conversion from beginning to end: rows are read, packed and written by two threads, never more than a few at once.

The layout is complete before the first weight is read, so slices may be written in any order; what counts as done is
the longest row of finished slices, noted in the output's journal every few hundred MB. Knows the order of the work:
not how rows are packed (`packing.py`), nor how a directory appears (`output.py`).
"""

import functools
import hashlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

import gemma_mlx
from gemma_mlx.convert.files import missing_files, other_files
from gemma_mlx.convert.layout import Layout, Slice, plan_layout
from gemma_mlx.convert.output import Job, Partial, check_place, is_finished, open_partial, tidy
from gemma_mlx.convert.recipes import Recipe, packing_of, undivided
from gemma_mlx.convert.slices import DamageError, Reader, convert_slice, open_reader
from gemma_mlx.convert.source import Source
from gemma_mlx.errors import GemmaError
from gemma_mlx.progress import Progress

_WORKERS = 2  # while one reads or writes, the other packs; on a CPU both pack
_BUFFERS = 64_000_000  # bytes of freed arrays that MLX may keep for the next slice


@dataclass(frozen=True)
class Sizes:
    """How the work is divided. shard, commit: bytes of the output and of the source. slice: values."""

    shard: int = 5_000_000_000
    slice: int = 1 << 22
    commit: int = 512_000_000


@dataclass(frozen=True)
class Report:
    """What a conversion made: bytes of weights, mean bits of each part, and how long it took.

    resumed: bytes of the source that an earlier run had done already.
    """

    output: Path
    nbytes: int
    bits: Mapping[str, float]
    seconds: float
    resumed: int


def convert(
    source: Path,
    output: Path,
    recipe: Recipe,
    progress: Progress | None = None,
    *,
    force: bool = False,
    sizes: Sizes = Sizes(),
) -> Report:
    """Write the checkpoint of `source` to the directory `output` as the recipe says; it appears finished or not at all.

    Continues the same conversion if an earlier one was cut off. `force` replaces a model at `output`. Progress counts
    bytes of the source. Raises a `GemmaError` for a source that is damaged or no Gemma 4 12B, a place that cannot take
    the output, or a full disk.
    """
    started = time.perf_counter()
    origin, output = Source.read(source), output.resolve()
    if recipe.parts and not any(packing_of(recipe, name, shape) for name, shape in origin.shapes.items()):
        raise GemmaError(f"{recipe.name} packs nothing of {source}: choose another recipe")
    layout = plan_layout(origin, recipe, sizes.shard)
    slices = layout.slices(sizes.slice)
    job = Job(_identity(origin, recipe, layout, sizes), len(slices), layout.headers, layout.file_sizes())
    resumed = 0
    if is_finished(output, job):
        tidy(output)
    else:
        check_place(output, origin.directory, force)
        files = other_files(origin, recipe, layout)
        with open_partial(output, job) as partial, open_reader(origin.files) as reader, _few_buffers():
            resumed = sum(part.source_bytes for part in slices[: partial.done])
            try:
                _write(slices, reader, partial, sizes.commit, progress)
            except DamageError:  # a sound source is another job
                partial.discard()
                raise
            partial.finish(files)
    written = Source.read(output).weights
    return Report(output, written.nbytes, written.bits(), time.perf_counter() - started, resumed)


def warnings(source: Source, recipe: Recipe) -> tuple[str, ...]:
    """What a person should know before the conversion starts, a line each."""
    lines = []
    if source.is_packed:
        lines.append(
            f"{source.directory} is quantized already: what that lost stays lost, convert the original weights instead"
        )
    if missing := missing_files(source):
        lines.append(f"{source.directory} has no {' and no '.join(missing)}: without, the output cannot answer")
    kept = [name for name, shape in source.shapes.items() if undivided(recipe, name, shape)]
    if kept:
        lines.append(f"{len(kept)} tensors stay as stored, their width is no multiple of the group: {kept[0]} is one")
    return tuple(lines)


def _write(slices: list[Slice], reader: Reader, partial: Partial, commit_bytes: int, progress: Progress | None) -> None:
    """Do the slices that are not done yet, in threads, and note what is safe after every `commit_bytes` read."""
    total = sum(part.source_bytes for part in slices)
    read = safe = sum(part.source_bytes for part in slices[: partial.done])
    if progress is not None:
        progress(read, total)
    pool = ThreadPoolExecutor(_WORKERS)
    try:
        work = functools.partial(_convert_one, reader, partial)
        for done, size in enumerate(pool.map(work, slices[partial.done :]), partial.done + 1):
            read += size
            if progress is not None:
                progress(read, total)
            if read - safe >= commit_bytes or done == len(slices):
                partial.commit(done)
                safe = read
    finally:
        pool.shutdown(cancel_futures=True)  # after a fault or Ctrl-C: what has begun is finished, nothing more begins


def _convert_one(reader: Reader, partial: Partial, part: Slice) -> int:
    """Bytes of the source that were converted and written."""
    for tensor, start, values in convert_slice(part, reader):
        partial.write(tensor.file.name, tensor.start + start, values)
    return part.source_bytes


def _identity(source: Source, recipe: Recipe, layout: Layout, sizes: Sizes) -> str:
    """A digest of all that decides the output's bytes; another one means that nothing can be continued."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in source.files]
    what = (gemma_mlx.__version__, recipe.name, dict(source.raw), layout.tasks, sizes, stats)
    return hashlib.sha256(repr(what).encode()).hexdigest()


@contextmanager
def _few_buffers() -> Iterator[None]:
    """MLX keeps little of the memory that it frees, so that slices of many shapes do not add up."""
    before = mx.set_cache_limit(_BUFFERS)
    try:
        yield
    finally:
        mx.set_cache_limit(before)
        mx.clear_cache()
