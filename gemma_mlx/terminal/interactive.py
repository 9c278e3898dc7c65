"""The surface of `gemma-mlx chat` on a terminal: a prompt to write at, replies drawn as they come.

Knows the terminal of the process: not what is said on it.
"""

import shutil
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gemma_mlx.generation.events import Event, Finished, TextDelta
from gemma_mlx.terminal.commands import HELP, HELP_WIDTH, KEYS, NARROW_HELP
from gemma_mlx.terminal.markdown import lines_of
from gemma_mlx.terminal.prompt import Prompt
from gemma_mlx.terminal.region import Region
from gemma_mlx.terminal.reply import ReplyView
from gemma_mlx.terminal.words import visible


class Interactive:
    """A person at a terminal. `history` and `status` are those of `Prompt`, `tokens` counts those of a text."""

    def __init__(self, history: Path | None, status: Callable[[int], str], tokens: Callable[[str], int]) -> None:
        self._prompt = Prompt(history, status)
        self._console, self._region = Console(highlight=False), Region(sys.stdout, shutil.get_terminal_size)
        self._view = ReplyView(self._console, self._region, tokens)

    def ask(self) -> str:
        return self._prompt.ask()

    def correct(self, text: str) -> str | None:
        with _left_is_stopped():
            return self._prompt.ask(text)

    def choose(self, question: str, choices: Mapping[str, str]) -> str | None:
        words = ", ".join(f"{key}: {meaning}" for key, meaning in choices.items())
        self.say(question)
        with _left_is_stopped():
            return self._prompt.choose(f"{words}? ", choices) or list(choices)[-1]

    def say(self, line: str) -> None:
        text = visible(line)
        if sys.stderr.isatty():  # lines end between words
            text = "\n".join(lines_of(Text(text), self._console, self._region.width))
        print(f"{text}\n", end="", file=sys.stderr, flush=True)  # at once: Ctrl-C cannot leave the line open

    def explain(self) -> None:
        self.say(HELP if self._region.width >= HELP_WIDTH else NARROW_HELP)
        self.say(KEYS)

    def recall(self, question: str, answer: str) -> None:
        self.say(f"> {question}")
        self._view.show([TextDelta(answer)])

    def show(self, events: Iterator[Event]) -> Finished | None:
        return self._view.show(events)


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
