"""`gemma-mlx bench`: measure this machine, alone or beside other programs, and tell what is known of it."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemma_mlx.benchmarks.suites.names import SUITES
from gemma_mlx.commands.shared import ended_by_signals
from gemma_mlx.errors import GemmaError
from gemma_mlx.options import (
    ContextOption,
    DraftOption,
    DtypeOption,
    ImageTokensOption,
    MemoryOption,
    ModelOption,
    demo_notice,
)

if TYPE_CHECKING:
    from gemma_mlx.benchmarks.runner import Wanted
    from gemma_mlx.benchmarks.schema import Recorded, Result

_HELP = """Suites:

\b
{suites}

Examples:

\b
  gemma-mlx bench --quick
  gemma-mlx bench --quick --submit
  gemma-mlx bench decode drafter --report
  gemma-mlx bench prefill decode --compare mlx-vlm
  gemma-mlx bench decode --lengths 4096,16384
  gemma-mlx bench --quick --out now.jsonl --against before.jsonl
  gemma-mlx bench --results now.jsonl --report

Results are JSON lines, appended to --out, or to a file of the day among your data. Ctrl-C keeps what was measured.
Exit status: 1 if something is slower than in --against by more than --threshold, 130 after Ctrl-C."""
EXAMPLES = _HELP.format(suites="\n".join(f"  {name:<10}  {about.briefly}" for name, about in SUITES.items()))


def bench(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="What to measure; see below. Without: all.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few and short cases: some minutes.")] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Programs to take turns with, by commas: mlx-vlm, mlx-lm, transformers, llama.cpp=FILE.gguf.",
            show_default=False,
        ),
    ] = None,
    repetitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Times that everything is measured.  [default: 5; quick 3, with --compare 9]",
            show_default=False,
        ),
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(
            metavar="N,N…", help="Tokens that prefill and decode read, instead of their own.", show_default=False
        ),
    ] = None,
    model: ModelOption = None,
    draft: DraftOption = "auto",
    context: ContextOption = "auto",
    image_tokens: ImageTokensOption = "auto",
    memory: MemoryOption = None,
    dtype: DtypeOption = "auto",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append results to this file.", show_default=False)
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Measure nothing: the newest run of this file.", show_default=False),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Write a page with plots beside the results.")] = False,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Say what became slower or faster since.", show_default=False)
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, metavar="SHARE", help="By how much anything may be slower than in --against.")
    ] = 0.1,
    profile: Annotated[
        bool, typer.Option("--profile", help="The suite profile as well, or alone if none is named.")
    ] = False,
    submit: Annotated[bool, typer.Option("--submit", help="Print a block to paste into an issue.")] = False,
) -> None:
    """Measure this machine, alone or beside other programs."""
    if results is not None and (suites or quick or compare or lengths or profile or out):
        raise GemmaError(
            "--results measures nothing: leave out suites, --quick, --compare, --lengths, --profile and --out"
        )
    before = newest(against) if against else None
    if report:
        from gemma_mlx.benchmarks.plots import require

        require()
    if results is not None:
        recorded, file = newest(results), results
    else:
        file = out or kept()
        load = _Load(model, draft, context, image_tokens, memory, dtype)
        asked = wanted(_names(suites, quick, profile), compare, quick, repetitions, load)
        recorded = measured(replace(asked, lengths=_lengths(lengths, asked)), file)
    if report:
        page, text = _report(recorded, file)
        typer.echo(f"the page is {page}, its text {text}", err=True)
    if submit:
        from gemma_mlx.benchmarks.report import submission

        typer.echo(submission(recorded))
    if before is not None and not told_against(before, recorded, threshold):
        raise typer.Exit(1)


def _lengths(typed: str | None, asked: "Wanted") -> tuple[int, ...]:
    """Each once. Raises `GemmaError` for what is no list of lengths, or is of no use to what is asked for."""
    if typed is None:
        return ()
    try:
        found = tuple(dict.fromkeys(map(int, typed.split(","))))
    except ValueError:
        found = (0,)
    if any(length < 1 for length in found):
        raise GemmaError(f"--lengths is {typed}, expected numbers of tokens, like 128,2048")
    if not any({"prefill", "decode"} & names for _, names in asked.suites):
        raise GemmaError("--lengths is for the suites prefill and decode: name one of them")
    return found


def _names(suites: list[str] | None, quick: bool, profile: bool) -> tuple[str, ...]:
    """Suites by name; none: all, or the quick ones."""
    from gemma_mlx.benchmarks.suites.catalogue import QUICK

    named = tuple(suites or ())
    return (*(named or (QUICK if quick else ())), "profile") if profile else named


@dataclass(frozen=True)
class _Load:
    """The options that say which model is loaded, and how."""

    model: str | None
    draft: str
    context: str
    image_tokens: str
    memory: str | None
    dtype: str


def wanted(names: tuple[str, ...], compare: str | None, quick: bool, repetitions: int | None, load: _Load) -> "Wanted":
    """What was asked for. Raises `GemmaError` for suites and programs that are not known."""
    from gemma_mlx.benchmarks.peers.catalogue import known
    from gemma_mlx.benchmarks.runner import Wanted
    from gemma_mlx.benchmarks.suites.catalogue import chosen
    from gemma_mlx.loading import LoadOptions
    from gemma_mlx.memory.sizes import parse_size
    from gemma_mlx.models import DEMO, default_model

    options = LoadOptions(
        load.dtype,
        None if load.context == "auto" else int(load.context),
        None if load.image_tokens == "auto" else int(load.image_tokens),
        load.draft,
        None if load.memory is None else parse_size(load.memory),
    )
    return Wanted(
        chosen(names, quick),
        load.model or default_model() or DEMO,
        options,
        known(compare) if compare else {},
        quick,
        repetitions,
        shlex.join(["gemma-mlx", *_shown(sys.argv[1:])]),
    )


def _shown(arguments: list[str]) -> list[str]:
    """What was typed, without the places of this machine; Hub ids stay."""
    shown = []
    for word in arguments:
        head, sign, place = word.rpartition("=")
        hub = place.count("/") == 1 and not place.startswith(("/", ".", "~")) and not Path(place).exists()
        shown.append(f"{head}{sign}{place if hub else Path(place).name if '/' in place else place}")
    return shown


def kept() -> Path:
    """A file of the day among the user's data."""
    from datetime import date

    from gemma_mlx.models import home_directory

    return home_directory() / "benchmarks" / f"{date.today().isoformat()}.jsonl"


def measured(asked: "Wanted", file: Path) -> "Recorded":
    """Run it, telling each result as it comes."""
    from rich.console import Console
    from rich.status import Status

    from gemma_mlx.benchmarks.runner import Told, run
    from gemma_mlx.models import DEMO, find_model

    status = Status("", console=Console(stderr=True))

    def now(text: str) -> None:
        status.update(text)
        if status.console.is_terminal:
            status.start()

    def result(each: "Result") -> None:
        status.stop()
        typer.echo(line(each))

    def skipped(what: str, why: str) -> None:
        status.stop()
        typer.echo(f"{what}: left out, {why}", err=True)

    if find_model(asked.model) == find_model(DEMO):
        typer.echo(demo_notice(), err=True)
    try:
        with ended_by_signals():
            recorded = run(asked, file, Told(now, result, skipped))
    except KeyboardInterrupt:
        status.stop()
        typer.echo(f"interrupted: what was measured is in {file}", err=True)
        raise
    finally:
        status.stop()
    typer.echo(f"results are in {file}", err=True)
    if not recorded.results:
        raise GemmaError("nothing was measured: the lines above say why")
    return recorded


def newest(file: Path) -> "Recorded":
    """The last run of a file. Raises `GemmaError` if there is none."""
    from gemma_mlx.benchmarks.schema import read

    runs = read(file)
    if not runs:
        raise GemmaError(f"{file} holds no run: gemma-mlx bench --out FILE makes one")
    return runs[-1]


def _report(recorded: "Recorded", file: Path) -> tuple[Path, Path]:
    from gemma_mlx.benchmarks.report import write

    return write([recorded], file.with_suffix(".html"))


def told_against(before: "Recorded", after: "Recorded", threshold: float) -> bool:
    """Say what changed. Whether nothing of ours became slower by more than the threshold, or failed that once ran."""
    from gemma_mlx.benchmarks.against import changes, words, worse
    from gemma_mlx.benchmarks.schema import OURS

    found = changes(before, after)
    for change in found:
        typer.echo(words(change))
    ours = [change for change in found if change.after and change.after.program == OURS]
    failed = {suite for what in after.skipped for suite in what.split(", ")}
    gone = [each for each in before.results if each.program == OURS and each.suite in failed]
    return not worse(ours, threshold) and not gone


def line(result: "Result") -> str:
    """A result for people: what, which program, how much, and how much of what memory can deliver."""
    from gemma_mlx.benchmarks import ceiling
    from gemma_mlx.benchmarks.units import told

    share = f", {ceiling.words(result.spread.median, result.bound).partition(', ')[2]}" if result.bound else ""
    return f"{result.suite:<10}  {result.case:<38}  {result.program:<24}  {told(result)}{share}"
