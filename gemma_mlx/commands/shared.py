"""What the commands of `gemma-mlx` have in common: faults as exit statuses, shared options, the console.

A `GemmaError` is one line on stderr and status 1, Ctrl-C is status 130. Knows typer and streams: not what a command
does.
"""

import dataclasses
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
    """The command, with the options of the dataclasses that it takes as well: in their order, after its own."""
    parameters = inspect.signature(body).parameters
    groups: dict[str, Any] = {
        name: each.annotation for name, each in parameters.items() if dataclasses.is_dataclass(each.annotation)
    }
    options = {name: inspect.signature(group).parameters for name, group in groups.items()}

    def run(**values: Any) -> None:
        made = {name: groups[name](**{each: values.pop(each) for each in of}) for name, of in options.items()}
        body(**made, **values)

    own = [parameter for name, parameter in parameters.items() if name not in groups]
    every = [*own, *(parameter for of in options.values() for parameter in of.values())]
    run.__name__, run.__doc__ = body.__name__, body.__doc__
    run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in every}
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
