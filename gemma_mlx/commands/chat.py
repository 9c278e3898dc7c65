"""`gemma-mlx chat`: a conversation in the terminal."""

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

from gemma_mlx.commands import shared
from gemma_mlx.options import Settings

if TYPE_CHECKING:
    from gemma_mlx.generation.events import Event
    from gemma_mlx.loading import Gemma

EXAMPLES = """Examples:

\b
  gemma-mlx chat --model ~/models/gemma-4-12B-it-4bit
  gemma-mlx chat --system "Answer in one sentence." --temperature 0

In the chat: /attach FILE, /drop, /new, /help, /quit. Ctrl-C stops the answer, not the program."""


class _Talk:
    """The conversation of `chat`, under the options of its command line."""

    def __init__(self, settings: Settings, gemma: "Gemma") -> None:
        self.settings, self.gemma = settings, gemma
        self.new()

    def answer(self, text: str) -> Generator["Event", None, None]:
        return self.settings.reply(self.chat, text)

    def attach(self, file: str) -> str:
        from gemma_mlx.terminal import describe

        part = self.settings.attachment(file)
        self.chat.add(part)
        return describe(part, self.settings.fps)

    def drop(self) -> int:
        dropped, self.chat.pending = self.chat.pending, ()
        return len(dropped)

    def new(self) -> None:
        self.chat = self.settings.chat(self.gemma)


def chat(settings: Settings) -> None:
    """Talk, turn by turn, in the terminal."""
    from gemma_mlx.terminal import GREETING, Repl

    console = shared.console()
    talk = _Talk(settings, settings.load(console))
    if sys.stdin.isatty():
        console.say(GREETING)
    if not Repl(talk, console).run():
        raise KeyboardInterrupt
