"""`gemma-mlx convert`: the published weights into a directory that fits the machine."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemma_mlx.progress import Progress, byte_bar

if TYPE_CHECKING:
    from gemma_mlx.convert.recipes import Recipe
    from gemma_mlx.convert.run import Report
    from gemma_mlx.convert.source import Source

EXAMPLES = """Recipes:

\b
  4bit      4-bit in groups of 64, 6.8 GB for the 12B; pictures, sound and norms stay as they are
  4bit-g32  4-bit in groups of 32, 7.5 GB
  8bit      8-bit in groups of 64, 12.8 GB
  bf16      nothing packed, 23.9 GB
  mixed     8-bit where 4 lose most, within --target-size
  qat-q4_0  for checkpoints that were trained for Q4_0: its own rounding, 7.5 GB

Examples:

\b
  gemma-mlx convert ~/models/gemma-4-12B-it
  gemma-mlx convert google/gemma-4-12B-it -o ~/models/gemma-4-12B-it-8bit --recipe 8bit --check
  gemma-mlx convert ~/models/gemma-4-12B-it --recipe mixed --target-size 8GB

What was cut off goes on when the same command is run again."""


def convert(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="The 12B or its assistant: a directory, a pulled name or a Hub id.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Directory to write; without: SRC-RECIPE, beside a directory SRC, among the pulled models for a name.",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to pack, and how; see below.  [default: 4bit]")
    ] = None,
    target_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Most that `mixed` may take, such as 8GB.", show_default=False)
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read the output again and say what it lost against SRC.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that OUT holds.")] = False,
) -> None:
    """Quantize a checkpoint into a directory of its own."""
    from gemma_mlx.convert.layout import weight_bytes
    from gemma_mlx.convert.output import unfinished
    from gemma_mlx.convert.run import convert as run
    from gemma_mlx.convert.run import warnings
    from gemma_mlx.convert.source import Source
    from gemma_mlx.errors import ConfigError
    from gemma_mlx.memory.sizes import file_size
    from gemma_mlx.models import find_model

    if output == "":
        raise ConfigError("-o '' names no directory: give one, or leave -o out")
    origin = Source.read(find_model(source))
    chosen, reasons = _recipe(recipe, target_size, origin)
    place = _default_output(source, origin, chosen) if output is None else Path(os.path.expanduser(output)).resolve()
    size = file_size(weight_bytes(origin, chosen))
    lines = [*warnings(origin, chosen), *reasons, f"{origin.directory} to {place}: {size}, {chosen.what}"]
    try:
        with byte_bar("converting", sys.stderr) as progress:
            report = run(origin.directory, place, chosen, _announced(lines, progress), force=force)
    except KeyboardInterrupt:
        begun = f", with what is in {left}" if (left := unfinished(place)) else ""
        typer.echo(f"stopped; the same command goes on from here{begun}", err=True)
        raise
    typer.echo(_summary(report, origin))
    if check:
        try:
            _check(origin.directory, place)
        except KeyboardInterrupt:
            typer.echo(f"stopped; {place} is finished, only the comparison is not", err=True)
            raise


def _announced(lines: list[str], progress: Progress) -> Progress:
    """Progress that says the lines when the work begins: what prevents it is said alone."""
    left = iter(lines)

    def forward(done: int, total: int) -> None:
        for line in left:
            typer.echo(line, err=True)
        progress(done, total)

    return forward


def _recipe(name: str | None, target_size: str | None, source: "Source") -> tuple["Recipe", list[str]]:
    """The recipe of that name, and what a person should know of its choice; `mixed` is made for the size.

    Raises `GemmaError` for an unknown one.
    """
    from gemma_mlx.convert.recipes import find_recipe

    if name is None:
        name = "4bit" if target_size is None else "mixed"
    found = find_recipe(name, source.is_drafter)
    if name == "mixed" and target_size is None:
        raise typer.BadParameter("mixed needs --target-size SIZE", param_hint="--recipe")
    if name != "mixed" and target_size is not None:
        raise typer.BadParameter("--target-size is for mixed", param_hint="--recipe")
    if target_size is None:
        return found, []
    from gemma_mlx.convert.mixed import choose
    from gemma_mlx.memory.sizes import parse_size

    size = parse_size(target_size, base=1000)
    with byte_bar("measuring", sys.stderr) as progress:
        choice = choose(source, size, progress)
    return choice.recipe, choice.lines()


def _default_output(given: str, source: "Source", recipe: "Recipe") -> Path:
    """Beside a directory that the person named; among the pulled models for a name, whose place they never chose."""
    from gemma_mlx.convert.files import provenance
    from gemma_mlx.models import models_directory

    if os.path.isdir(os.path.expanduser(given)):
        return source.directory.with_name(f"{source.directory.name}-{recipe.name}")
    name = provenance(source)[0].rpartition("/")[2]
    return models_directory() / f"{name}-{recipe.name}"


def _summary(report: "Report", source: "Source") -> str:
    """One line: what was made, and how to use it."""
    from gemma_mlx.memory.sizes import file_size

    bits = ", ".join(f"{part} {bits:g} bits" for part, bits in report.bits.items())
    made = f"{report.output}: {file_size(report.nbytes)}, {bits}, {report.seconds:.0f} s"
    if source.is_drafter:
        return made
    return f"{made}; gemma-mlx chat --model {shlex.quote(str(report.output))}"


def _check(source: Path, output: Path) -> None:
    """What the weights lost, and then what the answers did."""
    from gemma_mlx.convert.agreement import SECONDS, agreement, obstacle
    from gemma_mlx.convert.check import check
    from gemma_mlx.convert.source import Source

    with byte_bar("checking", sys.stderr) as progress:
        report = check(source, output, progress)
    for line in report.lines():
        typer.echo(line)
    before, after = Source.read(source), Source.read(output)
    if (reason := obstacle(before, after)) is not None:
        typer.echo(f"logits     not compared: {reason}")
        return
    limit = f"up to {SECONDS / 60:.0f} minutes each beside loading"
    typer.echo(f"asking both models for their logits, {limit}; Ctrl-C leaves it out", err=True)
    typer.echo(f"logits     {agreement(before, after)}")
