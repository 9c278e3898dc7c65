"""What the commands of `gemma-mlx` have in common: faults as exit statuses, shared options, the console.

A `GemmaError` is one line on stderr and status 1, Ctrl-C is status 130. Knows typer and streams: not what a command
does.
"""

import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from gemma_mlx.errors import GemmaError
from gemma_mlx.options import Settings

if TYPE_CHECKING:
    from gemma_mlx.terminal.plain import Console


def guarded(body: Callable[..., None]) -> Callable[..., None]:
    """The command, its faults and interrupts as exit statuses."""

    @functools.wraps(body)
    def run(*arguments: Any, **values: Any) -> None:
        try:
            body(*arguments, **values)
        except GemmaError as fault:
            typer.echo(str(fault), err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run


def with_settings(body: Callable[..., None]) -> Callable[..., None]:
    """The command, which takes `Settings` first, with their options after its own."""
    shared = inspect.signature(Settings).parameters
    _, *own = inspect.signature(body).parameters.values()

    def run(**values: Any) -> None:
        body(Settings(**{name: values.pop(name) for name in shared}), **values)

    run.__name__, run.__doc__ = body.__name__, body.__doc__
    run.__signature__ = inspect.Signature([*own, *shared.values()])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*own, *shared.values())}
    return run


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """A closed window (SIGHUP) and SIGTERM leave the block as SystemExit, so that what was shown of an answer is kept
    and the terminal is as it was; the second one ends the program at once. Ignored signals stay ignored."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise SystemExit(128 + number)

    usual = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    for number, handler in usual.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def is_capable_terminal() -> bool:
    """Whether standard input and output are a terminal that can move its cursor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def console() -> "Console":
    """The terminal with line editing, or plain streams."""
    from gemma_mlx.terminal.plain import Console

    if sys.stdin.isatty() and sys.stdout.isatty():
        import readline  # noqa: F401  # gives `input` its line editing and history

        return Console(_prompted, sys.stdout, sys.stderr)
    return Console(input, sys.stdout, sys.stderr)


def _prompted() -> str:
    """A line typed at a terminal. Raises EOFError after Ctrl-D, KeyboardInterrupt after Ctrl-C: on a new line."""
    try:
        return input("> ")
    except (EOFError, KeyboardInterrupt):
        print()
        raise
