"""`gemma-mlx doctor`: a line for each thing that was looked at, and what to do about it."""

import functools
import json
import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from gemma_mlx.errors import GemmaError
from gemma_mlx.options import DtypeOption, ModelOption

if TYPE_CHECKING:
    from gemma_mlx.doctor.finding import Finding
    from gemma_mlx.loading import Prepared

EXAMPLES = """Examples:

\b
  gemma-mlx doctor
  gemma-mlx doctor --json
  gemma-mlx doctor --golden --model ~/models/gemma-4-12B-it-4bit
  gemma-mlx doctor --measure

Exit status: 1 if a line says fix, 0 otherwise."""

_COLOURS = {"ok": "32", "warning": "33", "fix": "1;31"}


def doctor(
    model: ModelOption = None,
    dtype: DtypeOption = "auto",
    golden: Annotated[
        bool, typer.Option("--golden", help="Load the 12B and compare its answers with twelve recorded ones.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Load the model and compare predicted with measured memory.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Check this machine, the packages and the model files."""
    report = Report(None if as_json else sys.stdout)
    report.section("checks", _checks(model, dtype))
    if (golden or measure) and report.count("fix"):
        typer.echo("no model is loaded before that is fixed", err=True)
    elif golden or measure:
        if golden:
            report.section("golden", _golden(model, dtype, report))
        if measure:
            report.section("measure", _measure(model, dtype, report))
    if as_json:
        print(json.dumps(report.as_json()), flush=True)
    else:
        print(report.summary(), flush=True)
    if report.count("fix"):
        raise typer.Exit(1)


class Report:
    """Findings by section, printed as they come if there is a stream."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.sections: dict[str, list[Finding]] = {}
        self.numbers: dict[str, Any] = {}

    def section(self, name: str, findings: Iterable["Finding"]) -> None:
        """A fault that ends a section is its last finding: what was found before is kept, here and as JSON."""
        from gemma_mlx.doctor.finding import Finding

        self.sections[name] = []
        try:
            for finding in findings:
                self._add(name, finding)
        except GemmaError as fault:
            self._add(name, Finding(name, "fix", str(fault)))

    def _add(self, section: str, finding: "Finding") -> None:
        self.sections[section].append(finding)
        if self.stream is not None:
            print(render(finding, self.stream), file=self.stream, flush=True)

    def count(self, state: str) -> int:
        return sum(finding.state == state for found in self.sections.values() for finding in found)

    def summary(self) -> str:
        ok, warnings, fixes = map(self.count, _COLOURS)
        said = f"{ok} ok, {warnings} warning{'s' * (warnings != 1)}"
        return f"{said}, {fixes} to fix" if fixes else f"{said}, nothing to fix"

    def as_json(self) -> dict[str, Any]:
        states = {state: self.count(state) for state in _COLOURS}
        sections = {name: [asdict(finding) for finding in found] for name, found in self.sections.items()}
        return {**states, **sections, **self.numbers}


def render(finding: "Finding", stream: TextIO) -> str:
    """One finding. A pipe gets one line. A terminal gets colour, and lines of its width: what to do begins one of its
    own, and no word is broken, so that commands can be copied."""
    head = f"{finding.state:<8} {finding.name:<13} "
    advice = [f"→ {finding.advice}"] if finding.advice else []
    if not stream.isatty():
        return head + " ".join([finding.text, *advice])
    width, indent = max(50, shutil.get_terminal_size().columns - 1), " " * 23
    wrap = functools.partial(textwrap.wrap, width=width, break_long_words=False, break_on_hyphens=False)
    lines = wrap(finding.text, initial_indent=head, subsequent_indent=indent)
    for line in advice:
        lines += wrap(line, initial_indent=indent, subsequent_indent=f"{indent}  ")
    return "\n".join(lines).replace(finding.state, _coloured(finding.state), 1)


def _coloured(state: str) -> str:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return state
    return f"\x1b[{_COLOURS[state]}m{state}\x1b[0m"


def _checks(model: str | None, dtype: str) -> Iterator["Finding"]:
    """Everything that needs no weights. Without a working MLX, that alone is the finding."""
    try:
        import mlx.core  # noqa: F401
    except ImportError as fault:
        from gemma_mlx.doctor import macos, system

        yield system.broken_mlx(str(fault), platform.system() == "Darwin" and macos.translated())
        return
    from gemma_mlx.doctor.checks import check

    yield from check(model, dtype)


def _prepare(model: str | None, dtype: str, draft: str = "auto") -> "Prepared":
    from gemma_mlx.loading import LoadOptions, prepare
    from gemma_mlx.models import DEMO, default_model

    return prepare(model or default_model() or DEMO, LoadOptions(dtype=dtype, draft=draft))


def _golden(model: str | None, dtype: str, report: Report) -> Iterator["Finding"]:
    from gemma_mlx.device import memory_limits
    from gemma_mlx.doctor import golden
    from gemma_mlx.loading import load
    from gemma_mlx.progress import byte_bar

    recorded, prepared = golden.read_golden(), _prepare(model, dtype, draft="off")
    golden.refuse_other_vocabulary(recorded, prepared)
    with memory_limits(prepared.plan, prepared.weights_bytes):
        with byte_bar("loading", sys.stderr) as progress:
            gemma = load(prepared, progress=progress)
        replayed = []
        for case in recorded.cases:
            replayed.append(golden.replay(gemma, case))
            yield golden.of_case(replayed[-1], gemma.tokenizer.decode)
    report.numbers["replayed"] = [each.as_json() for each in replayed]
    yield golden.verdict(recorded, replayed)


def _measure(model: str | None, dtype: str, report: Report) -> Iterator["Finding"]:
    from gemma_mlx.doctor import measure
    from gemma_mlx.progress import byte_bar

    with byte_bar("loading", sys.stderr) as progress:
        measured = measure.measure(_prepare(model, dtype), progress)
    report.numbers["measured"] = measured.as_json()
    yield from measure.findings(measured)
