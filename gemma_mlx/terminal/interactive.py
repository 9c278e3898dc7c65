"""The surface of `gemma-mlx chat` on a terminal: a prompt to write at, replies drawn as they come.

Knows the terminal of the process: not what is said on it.
"""

import shutil
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gemma_mlx.generation.events import Event, Finished, TextDelta
from gemma_mlx.terminal.commands import KEYS, PUSH_KEYS, explained, listed
from gemma_mlx.terminal.markdown import lines_of
from gemma_mlx.terminal.meter import waiting
from gemma_mlx.terminal.prompt import Prompt
from gemma_mlx.terminal.region import Region
from gemma_mlx.terminal.reply import READING, ReplyView
from gemma_mlx.terminal.spoken import Live, Spoken
from gemma_mlx.terminal.words import visible


class Interactive:
    """A person at a terminal. `history` and `status` are those of `Prompt`, `tokens` counts those of a text, `live` is
    the microphone, if there is one."""

    def __init__(
        self,
        history: Path | None,
        status: Callable[[int], str],
        tokens: Callable[[str], int],
        live: Live | None = None,
    ) -> None:
        self._thread, self._live = threading.get_ident(), live
        self._prompt = Prompt(history, status, self._print, live)
        self._console, self._region = Console(highlight=False), Region(sys.stdout, shutil.get_terminal_size)
        self._view = ReplyView(
            self._console, self._region, tokens, waiting=self._waiting, asides=self._prompt.calls.take_lines
        )

    def ask(self) -> str | Spoken:
        return self._prompt.ask()

    def wake(self) -> None:
        self._prompt.calls.wake()

    def correct(self, text: str) -> str | None:
        with _left_is_stopped():
            return self._prompt.edit(text)

    def choose(self, question: str, choices: Mapping[str, str]) -> str | None:
        words = ", ".join(f"{key}: {meaning}" for key, meaning in choices.items())
        self.say(question)
        with _left_is_stopped():
            return self._prompt.choose(f"{words}? ", choices) or list(choices)[-1]

    def say(self, line: str) -> None:
        if self._prompt.shown or threading.get_ident() != self._thread:
            self._prompt.calls.say(line)
        else:
            self._print(line)

    def _print(self, line: str) -> None:
        text = visible(line)
        if sys.stderr.isatty():  # lines end between words
            text = "\n".join(lines_of(Text(text), self._console, self._region.width))
        print(f"{text}\n", end="", file=sys.stderr, flush=True)  # at once: Ctrl-C cannot leave the line open

    def explain(self, live: bool) -> None:
        self.say(explained(listed(live), self._region.width))
        self.say(KEYS)
        if self._live is not None and self._live.push is not None:
            self.say(PUSH_KEYS)

    def recall(self, question: str, answer: str) -> None:
        self.say(f"> {question}")
        self._view.show([TextDelta(answer)])

    def show(self, events: Iterator[Event]) -> Finished | None:
        try:
            return self._view.show(self._heeding_keys(events))
        finally:
            self._prompt.say_waiting()

    def _heeding_keys(self, events: Iterator[Event]) -> Iterator[Event]:
        """The events; who pushes to talk meanwhile need not wait for the end of them."""
        for event in events:
            self._prompt.take_pushes()
            yield event

    def _waiting(self) -> str:
        return waiting(self._live.meter()) if self._live is not None and self._live.echo else READING


@contextmanager
def _left_is_stopped() -> Iterator[None]:
    """Ctrl-D in the middle of a command ends the command, not the chat."""
    try:
        yield
    except EOFError:
        raise KeyboardInterrupt from None


@contextmanager
def silent_keys() -> Iterator[None]:
    """What is typed between prompts is kept for the next one, not echoed into a reply; Ctrl-C works."""
    terminal = sys.stdin.fileno()
    usual = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, usual)
