"""Results of `gemma-mlx bench` as JSON lines, version 1: what is written, how it is read again, what counts as valid.

A file is one run or several, one after the other. A run is a line of kind `run` (machine, model, versions, command), a
line of kind `result` for each thing that was measured, written when it is known, and a line of kind `end`. A run
without an `end` that says `finished` was interrupted: what it has is valid, and is told as partial. Values are kept one
by one; no figure is told without its spread. Knows neither what is measured nor how it is shown.
"""

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from gemma_mlx.errors import GemmaError

VERSION = 1
OURS = "gemma-mlx"
Better = Literal["more", "less", ""]
"""Whether more or less of it is better; empty: neither."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles; of fewer than four values the least and the most."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """One thing measured, some times. `case` says what of the `suite`, for people; the i-th values of several programs
    with the same suite and case were taken in the same alternation. `x`: where it stands on the axis of a plot (tokens
    of context, drafts, seconds). `bound`: what this machine's memory allows at most, in the same unit. `details`: JSON
    that plots and checks need."""

    suite: str
    case: str
    program: str
    unit: str
    values: tuple[float, ...]
    better: Better = "less"
    x: float | None = None
    bound: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spread(self) -> Spread:
        return spread(self.values)

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.suite, self.case, self.program, self.unit


@dataclass(frozen=True)
class Run:
    """What was run where: `id` is its date and time to the second; the cards are those of `machine`."""

    id: str
    command: str
    machine: Mapping[str, Any]
    model: Mapping[str, Any]
    versions: Mapping[str, str]
    repetitions: int


@dataclass(frozen=True)
class Recorded:
    """A run as it is in a file. `skipped`: by suite or program, why nothing was measured; `end`: what was known at its
    end, like bytes of swap before and after."""

    run: Run
    results: tuple[Result, ...]
    skipped: Mapping[str, str]
    finished: bool
    end: Mapping[str, Any] = field(default_factory=dict)


def spread(values: Sequence[float]) -> Spread:
    """Of one value or more."""
    if len(values) < 4:
        return Spread(statistics.median(values), min(values), max(values))
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratios(ours: Result, theirs: Result) -> Spread:
    """How many times as good ours is, alternation by alternation: above 1 is better. Raises ValueError if they are not
    of the same thing."""
    if (ours.suite, ours.case, ours.unit, len(ours.values)) != (
        theirs.suite,
        theirs.case,
        theirs.unit,
        len(theirs.values),
    ):
        raise ValueError(f"{ours.key} and {theirs.key} cannot be compared")
    pairs = zip(ours.values, theirs.values, strict=True)
    return spread([a / b if ours.better == "more" else b / a for a, b in pairs])


class Writer:
    """Appends one run to a file, line by line, each safe on the disk before the next thing is measured. Raises
    `GemmaError` if the file holds something else, which is left as it is, or cannot be written."""

    def __init__(self, path: Path, run: Run) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _mend(path)
            self._file: IO[str] = path.open("a", encoding="utf-8")
        except OSError as fault:
            raise GemmaError(f"{path} cannot be written ({fault.strerror}): name another file with --out") from fault
        self._line({"kind": "run", "schema": VERSION, **asdict(run)})

    def add(self, result: Result) -> None:
        if not result.values:
            raise ValueError(f"{result.key} has no values")
        self._line({"kind": "result", **asdict(result)})

    def skip(self, what: str, why: str) -> None:
        self._line({"kind": "skipped", "what": what, "why": why})

    def end(self, finished: bool, facts: Mapping[str, Any]) -> None:
        """`facts`: what is only known at the end, like swap that was used."""
        self._line({"kind": "end", "finished": finished, "facts": dict(facts)})
        self._file.close()

    def _line(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _mend(path: Path) -> None:
    """Of results, without a last line that was cut off: what is appended would be part of it."""
    if not path.exists() or not path.stat().st_size:
        return
    if not read(path):
        raise GemmaError(f"{path} holds no results of `gemma-mlx bench`: name another file with --out")
    with path.open("r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def read(path: Path) -> tuple[Recorded, ...]:
    """The runs of a file, in order. A last line that was cut off is left out. Raises `GemmaError` naming the line
    that is not of this schema."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise GemmaError(f"{path} cannot be read as results: {fault}") from fault
    found, lines = list[_Reading](), content.splitlines()
    for number, text in enumerate(lines, 1):
        try:
            _take(found, json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            if number == len(lines) and not content.endswith("\n"):
                break
            raise GemmaError(
                f"{path}, line {number}: not a result of `gemma-mlx bench` (schema {VERSION}): {fault}"
            ) from fault
    return tuple(each.recorded() for each in found)


@dataclass
class _Reading:
    run: Run
    results: list[Result] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    finished: bool = False
    end: dict[str, Any] = field(default_factory=dict)

    def recorded(self) -> Recorded:
        return Recorded(self.run, tuple(self.results), self.skipped, self.finished, self.end)


def _take(found: list[_Reading], line: dict[str, Any]) -> None:
    kind = line.pop("kind")
    if kind == "run":
        if (version := line.pop("schema")) != VERSION:
            raise ValueError(f"schema {version}")
        found.append(_Reading(Run(**line)))
    elif not found:
        raise ValueError(f"{kind} before any run")
    elif kind == "result":
        found[-1].results.append(_result(line))
    elif kind == "skipped":
        found[-1].skipped[line["what"]] = line["why"]
    elif kind == "end":
        found[-1].finished, found[-1].end = line["finished"] is True, dict(line["facts"])
    else:
        raise ValueError(f"kind {kind!r}")


def _result(line: dict[str, Any]) -> Result:
    values = tuple(float(value) for value in line.pop("values"))
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError("values must be numbers, one or more")
    result = Result(values=values, **line)
    if result.better not in ("more", "less", ""):
        raise ValueError(f"better is {result.better!r}")
    return result
