"""`gemma-mlx pull`: models from the Hub into directories that load."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from gemma_mlx.options import MemoryOption

EXAMPLES = """Examples:

\b
  gemma-mlx pull                  the 12B in 4 bits and its drafter, 7.7 GB
  gemma-mlx pull 4bit             the 12B alone, 6.8 GB
  gemma-mlx pull --list           what there is, and what is here
  gemma-mlx pull reference        the 12B as published, to convert
  gemma-mlx pull owner/repo@revision
  HF_HUB_OFFLINE=1 gemma-mlx pull assistant

It goes on where it was cut. HF_TOKEN, HF_HOME, HF_ENDPOINT and proxies count as for other programs of the Hub;
GEMMA_MLX_HOME says where the models' directories are. From the assistant, in 16 bits, assistant-4bit is packed here,
which drafts in less than a third of the memory."""


def pull(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A name of --list, or owner/repo[@revision]; without: 4bit and assistant."),
    ] = None,
    memory: MemoryOption = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Fetch it even if it does not fit into memory.")] = False,
    as_list: Annotated[
        bool, typer.Option("--list", help="List the models that have names, and which are here.")
    ] = False,
) -> None:
    """Fetch Gemma 4 12B, or another checkpoint of it, from the Hub."""
    if as_list:
        if name is not None:
            raise typer.BadParameter("--list takes no name", param_hint="NAME")
        return _list()
    from gemma_mlx.device import this_machine
    from gemma_mlx.hub.faults import quiet
    from gemma_mlx.hub.pull import pull as fetch
    from gemma_mlx.memory.sizes import parse_size
    from gemma_mlx.models import ASSISTANT, DEFAULT
    from gemma_mlx.progress import byte_bar

    names = [DEFAULT, ASSISTANT] if name is None else [name]
    _check_recipe(names[0])
    quiet()
    machine = None if anyway else this_machine(None if memory is None else parse_size(memory))
    try:
        with byte_bar("pulling", sys.stderr) as progress:
            directories = fetch(names, machine, lambda line: typer.echo(line, err=True), progress)
        if ASSISTANT in names:
            _pack_assistant(directories[names.index(ASSISTANT)])
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from here", err=True)
        raise
    for directory in directories:
        typer.echo(str(directory))
    return None


def _pack_assistant(assistant: Path) -> None:
    """Pack the drafter unless that is done; with a fault, which is said, it stays as it was fetched."""
    from gemma_mlx.convert.output import tidy
    from gemma_mlx.convert.recipes import find_recipe
    from gemma_mlx.convert.run import convert
    from gemma_mlx.errors import GemmaError
    from gemma_mlx.memory.published import DRAFTER
    from gemma_mlx.memory.sizes import file_size
    from gemma_mlx.models import PACKED_ASSISTANT, models_directory
    from gemma_mlx.progress import byte_bar

    packed = models_directory() / PACKED_ASSISTANT
    if _is_made_of(assistant, packed):
        return tidy(packed)  # after a cut between its appearing and the end
    try:
        with byte_bar("packing the drafter", sys.stderr) as progress:
            report = convert(assistant, packed, find_recipe(DRAFTER, drafter=True), progress, force=True)
    except GemmaError as fault:
        command = f"gemma-mlx convert {assistant.name} -o {shlex.quote(str(packed))}"
        typer.echo(f"the drafter stays in 16 bits, {command}: {fault}", err=True)
    else:
        typer.echo(f"{packed.name}: the drafter packed to 4 bits, {file_size(report.nbytes)}", err=True)
    return None


def _is_made_of(assistant: Path, packed: Path) -> bool:
    """Whether the packed assistant is whole, and of the commit that is here."""
    from gemma_mlx.convert.files import provenance
    from gemma_mlx.convert.source import Source
    from gemma_mlx.errors import GemmaError

    try:
        return provenance(Source.read(packed)) == provenance(Source.read(assistant))
    except GemmaError:
        return False


def _check_recipe(name: str) -> None:
    """Raise `HubError`, with the way to get there, for what `convert` makes."""
    from gemma_mlx.convert.recipes import RECIPES
    from gemma_mlx.errors import HubError
    from gemma_mlx.models import NAMES

    if name in RECIPES and name not in NAMES:
        raise HubError(
            f"{name} is made here: gemma-mlx pull reference, then gemma-mlx convert reference --recipe {name}"
        )


def _list() -> None:
    from gemma_mlx.hub.catalogue import CATALOGUE
    from gemma_mlx.hub.place import whole_directory
    from gemma_mlx.memory.sizes import file_size
    from gemma_mlx.models import models_directory

    for entry in CATALOGUE.values():
        here = "here" if whole_directory(entry.name, entry.revision) else "not here"
        typer.echo(f"{entry.name:<10} {file_size(entry.nbytes):>8}  {here:<10}  {entry.summary}")
    others = {
        _short(path.name): path for path in sorted(models_directory().glob("[!.]*/")) if path.name not in CATALOGUE
    }
    width = max(map(len, others), default=0)
    for name, directory in others.items():
        here = "here" if all(path.exists() for path in directory.iterdir()) else "incomplete"
        typer.echo(f"{name:<{width}} {file_size(_weights(directory)):>8}  {here}")


def _short(directory: str) -> str:
    """What a person types for a directory: `owner/repo@` and the beginning of the revision, or its name."""
    name, at, revision = directory.partition("@")
    return name.replace("--", "/", 1) + at + revision[:8] if at else directory


def _weights(directory: Path) -> int:
    """Bytes of the files with weights that are there."""
    return sum(path.stat().st_size for path in directory.glob("*.safetensors") if path.exists())
