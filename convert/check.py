"""What a conversion lost: `gemma-mlx convert --check`.

Reads the source and the output again, some rows at a time, and compares them tensor by tensor: packed ones by their
error, kept ones bit by bit. Knows values: not how they came about, nor what a model makes of them (`agreement.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path

import mlx.core as mx

from gemma_mlx.convert.recipes import kind_of
from gemma_mlx.convert.source import Source
from gemma_mlx.convert.values import Values, open_values, squares
from gemma_mlx.errors import CheckpointError
from gemma_mlx.progress import Progress

Sums = tuple[float, float]  # squares of what was lost, and of what there was

_SLICE = 1 << 22  # values that are compared at a time
_WORDS = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32}


@dataclass(frozen=True)
class Row:
    """One kind of tensor. `error`: root mean square of what it lost, relative; `worst_error` and `worst` are those of
    one tensor. None: nothing is packed, and the values are the source's."""

    kind: str
    tensors: int
    error: float | None = None
    worst_error: float | None = None
    worst: str | None = None


@dataclass(frozen=True)
class CheckReport:
    """What each kind of tensor lost, most first.

    `cast`: the type, as safetensors spells it, to which what is not packed was rounded; None if that is as it was.
    """

    rows: tuple[Row, ...]
    cast: str | None

    def lines(self) -> list[str]:
        """The report for a person."""
        kept = f"the source's values, rounded to {self.cast}" if self.cast else "the source's bits"
        return [f"{row.kind:<10} {row.tensors:>4} {_tensors(row.tensors):<8} {_loss(row) or kept}" for row in self.rows]


def check(source: Path, output: Path, progress: Progress | None = None) -> CheckReport:
    """Compare a conversion with what it was made from.

    Progress counts bytes of the source. Raises `CheckpointError` if the two are not of one model, and one that names
    the first tensor that should be the source's and is not.
    """
    before, after = Source.read(source), Source.read(output)
    if before.shapes != after.shapes:
        raise CheckpointError(f"{output} is no conversion of {source}: it has other tensors, convert again")
    sums: dict[str, Sums | None] = {}
    done = 0
    with open_values(before) as wanted, open_values(after) as got:
        total = sum(wanted.nbytes(name) for name in before.shapes)
        for name in before.shapes:
            sums[name] = _compared(wanted, got, name)
            done += wanted.nbytes(name)
            if progress is not None:
                progress(done, total)
    kept = [(before.weights.tensors[name], after.weights.tensors[name]) for name in sums if sums[name] is None]
    cast = next((new.dtype for old, new in kept if new.dtype != old.dtype), None)
    return CheckReport(_rows(sums, before), cast)


def _compared(wanted: Values, got: Values, name: str) -> Sums | None:
    """What a packed tensor lost; None for one that is not packed and has the source's values."""
    if wanted.source.packed(name) is None and got.source.packed(name) is None:
        _check_same(wanted, got, name)
        return None
    lost = size = 0.0
    for first, last in _slices(wanted, name):
        difference, values = squares(got.rows(name, first, last), wanted.rows(name, first, last))
        lost, size = lost + difference, size + values
    return lost, size


def _check_same(wanted: Values, got: Values, name: str) -> None:
    for first, last in _slices(wanted, name):
        values = got.rows(name, first, last)
        words = _WORDS[values.itemsize]
        expected = wanted.rows(name, first, last).astype(values.dtype)
        if not mx.array_equal(values.view(words), expected.view(words)):
            tensor = got.source.weights.tensors[name]
            raise CheckpointError(f"{tensor.file}: {tensor.name} is not the source's: convert again")


def _slices(values: Values, name: str) -> Iterator[tuple[int, int]]:
    height = values.height(name)
    step = max(1, _SLICE * height // max(1, prod(values.source.shapes[name])))
    for first in range(0, height, step):
        yield first, min(first + step, height)


def _rows(sums: dict[str, Sums | None], source: Source) -> tuple[Row, ...]:
    groups: dict[tuple[bool, str], list[str]] = {}
    for name, found in sums.items():
        groups.setdefault((found is None, kind_of(name, source.shapes[name])), []).append(name)
    rows = [_row(kind, {name: sums[name] for name in names}) for (_, kind), names in groups.items()]
    return tuple(sorted(rows, key=lambda row: -1 if row.error is None else row.error, reverse=True))


def _row(kind: str, sums: dict[str, Sums | None]) -> Row:
    lost = {name: found for name, found in sums.items() if found is not None}
    if not lost:
        return Row(kind, len(sums))
    errors = {name: _relative(*found) for name, found in lost.items()}
    worst = max(errors, key=lambda name: errors[name])
    total = _relative(*(sum(column) for column in zip(*lost.values(), strict=True)))
    return Row(kind, len(sums), total, errors[worst], worst)


def _relative(lost: float, size: float) -> float:
    return sqrt(lost / size) if size else float(lost > 0)


def _loss(row: Row) -> str | None:
    if row.error is None:
        return None
    most = f", at most {100 * row.worst_error:.2f} % in {row.worst}" if row.worst_error and row.tensors > 1 else ""
    return f"error {100 * row.error:.2f} %{most}"


def _tensors(count: int) -> str:
    return "tensor" if count == 1 else "tensors"
