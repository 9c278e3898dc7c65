"""The `gemma-mlx` program: its commands, its own options, its streams.

Everything heavy is imported inside the commands, so that `--help` answers at once. The answer goes to stdout, all
else to stderr. Exit status: 0, 1 for a `GemmaError` (one line, no traceback), 2 for wrong usage, 130 after Ctrl-C.
"""

import errno
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Annotated

import typer

import gemma_mlx
from gemma_mlx.commands import ask, bench, chat, chats, convert, demo, doctor, plan, pull, transcribe
from gemma_mlx.commands.shared import guarded, with_settings

app = typer.Typer(
    name="gemma-mlx",
    help="Gemma 4 12B on your own machine, with MLX: text, pictures, recordings and video in, text out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_OUTPUT_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})

app.command(epilog=demo.EXAMPLES)(guarded(demo.demo))
app.command(epilog=ask.EXAMPLES)(guarded(with_settings(ask.ask)))
app.command(epilog=chat.EXAMPLES)(guarded(with_settings(chat.chat)))
app.command(epilog=transcribe.EXAMPLES)(guarded(with_settings(transcribe.transcribe)))
app.add_typer(chats.app)
app.command(epilog=pull.EXAMPLES)(guarded(pull.pull))
app.command(epilog=convert.EXAMPLES)(guarded(convert.convert))
app.command(epilog=plan.EXAMPLES)(guarded(plan.plan))
app.command(epilog=doctor.EXAMPLES)(guarded(doctor.doctor))
app.command(epilog=bench.EXAMPLES)(guarded(bench.bench))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(gemma_mlx.__version__)
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself act by themselves."""


def main() -> None:
    """Entry point of `gemma-mlx`. A full disk or a closed output is one line, a reader that left is none."""
    _open_streams()
    try:
        app(prog_name="gemma-mlx")
    except OSError as fault:
        if fault.errno not in _OUTPUT_FAULTS:
            raise
        with suppress(OSError):
            typer.echo(f"the output cannot be written ({fault.strerror}): send it elsewhere", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # takes what is left in the buffer
        sys.exit(1)


def _open_streams() -> None:
    """A closed input (`<&-`, a service) is an empty one, a closed output a fault; no character is one."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - for as long as the program runs
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        typer.echo("standard output is closed: send it somewhere", err=True)
        sys.exit(1)
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # stderr escapes them by itself
