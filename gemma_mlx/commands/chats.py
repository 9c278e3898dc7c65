"""`gemma-mlx chats`: the saved conversations, listed, shown, exported and deleted. No model is loaded."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from gemma_mlx.commands.shared import guarded

if TYPE_CHECKING:
    from gemma_mlx.store.store import Summary

EXAMPLES = """Examples:

\b
  gemma-mlx chats
  gemma-mlx chats show 2026-11-21-0930-what-do-you-see
  gemma-mlx chats export holiday -o ~/notes/holiday
  gemma-mlx chats delete holiday"""
EMPTY = "no conversation is saved yet: gemma-mlx chat starts one"

app = typer.Typer(name="chats", rich_markup_mode=None)
_FIRST_WORDS, _NARROWEST = 60, 20  # characters
Name = Annotated[str, typer.Argument(metavar="NAME", help="A conversation, as the list calls it.", show_default=False)]


def chats(context: typer.Context) -> None:
    """List saved conversations, or show, export and delete one.

    `gemma-mlx chat --resume NAME` goes on with one.
    """
    if context.invoked_subcommand is None:
        list_them()


def list_them() -> None:
    """The saved conversations, the last used first."""
    from gemma_mlx.store.store import Store

    found = Store().summaries()
    if not found:
        typer.echo(EMPTY, err=True)
    for line in _table([summary for summary in found if summary.fault is None]):
        _print(line)
    for summary in found:
        if summary.fault is not None:
            typer.echo(f"{summary.name}: {summary.fault}", err=True)


def show(name: Name) -> None:
    """Print a conversation as Markdown, with links to its media."""
    from gemma_mlx.store.export import markdown
    from gemma_mlx.store.media import DIRECTORY
    from gemma_mlx.store.store import Store

    store = Store()
    path = store.path(name)
    _print(markdown(store.read(name), path.name, str(path / DIRECTORY)).rstrip("\n"))


def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Conversations to delete.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete conversations with their media. At a terminal, each is asked for."""
    from gemma_mlx.store.store import Store

    store = Store()
    for name in dict.fromkeys(names):
        store.path(name)  # all or none, as far as names go
    for name in dict.fromkeys(names):
        if yes or not _is_terminal(sys.stdin) or _agreed(f"delete {name} with its media? [y/N] "):
            store.delete(name)
            typer.echo(f"deleted {name}", err=True)
        else:
            typer.echo(f"kept {name}", err=True)


def export(
    name: Name,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Directory to write; without: ./NAME.", show_default=False),
    ] = None,
    form: Annotated[Literal["md", "json"], typer.Option("--format", help="Markdown, or JSON with everything.")] = "md",
    force: Annotated[bool, typer.Option("--force", help="Replace files of the same names in DIR.")] = False,
) -> None:
    """Write a conversation with its media into a directory, and print the file to open."""
    from gemma_mlx.store.export import export as write
    from gemma_mlx.store.store import Store

    store = Store()
    place = Path(output if output else name).expanduser()
    file, gone = write(store.path(name), store.read(name), place, as_json=form == "json", force=force)
    for medium in gone:
        typer.echo(f"{medium} is gone: the export refers to it, but does not hold it", err=True)
    typer.echo(str(file))


def _table(summaries: "list[Summary]") -> list[str]:
    """A head and a line for each; the first words as far as the terminal is wide."""
    if not summaries:
        return []
    rows = [("name", "last used", "turns", "model", "media", "caches", "begins with")]
    for each in summaries:
        used, media, caches = (
            f"{each.updated.astimezone():%Y-%m-%d %H:%M}",
            _size(each.media_bytes),
            _size(each.cache_bytes),
        )
        rows.append((each.name, used, str(each.turns), _short(each.model), media, caches, each.first_words))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for *cells, words in rows:
        start = "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(cells, "<<><>>", widths, strict=False))
        whole = len(start) + 2 + _FIRST_WORDS  # where there is no terminal
        room = max(_NARROWEST, shutil.get_terminal_size((whole, 0)).columns - len(start) - 2)
        lines.append(f"{start}  {words if len(words) <= room else words[: room - 1] + '…'}")
    return lines


def _size(nbytes: int) -> str:
    from gemma_mlx.memory.sizes import file_size

    return "-" if not nbytes else f"{nbytes / 1e3:.0f} kB" if nbytes < 1e5 else file_size(nbytes)


def _short(model: str) -> str:
    """A model's name, of a directory its last part."""
    return Path(model).name if Path(model).is_absolute() else model


def _print(text: str) -> None:
    """A terminal gets no control characters that a message could hold; a pipe gets the text as it is."""
    from gemma_mlx.terminal.words import visible

    print(visible(text) if _is_terminal(sys.stdout) else text)


def _agreed(question: str) -> bool:
    """The answer at a terminal; nothing, and Ctrl-D, is no."""
    typer.echo(question, nl=False, err=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


app.callback(invoke_without_command=True, epilog=EXAMPLES)(guarded(chats))
app.command("list")(guarded(list_them))
app.command()(guarded(show))
app.command()(guarded(delete))
app.command()(guarded(export))
