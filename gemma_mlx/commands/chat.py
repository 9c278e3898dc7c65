"""`gemma-mlx chat`: a conversation in the terminal."""

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

from gemma_mlx.commands import shared
from gemma_mlx.options import Settings

if TYPE_CHECKING:
    from gemma_mlx.generation.events import Event
    from gemma_mlx.loading import Gemma, Prepared

EXAMPLES = """Examples:

\b
  gemma-mlx chat --model ~/models/gemma-4-12B-it-4bit
  gemma-mlx chat --system "Answer in one sentence." --temperature 0

In the chat: /attach FILE, /drop, /new, /help, /quit. Ctrl-C stops the answer, not the program."""


class _Talk:
    """The conversation of `chat`, under the options of its command line."""

    def __init__(self, settings: Settings, prepared: "Prepared", gemma: "Gemma") -> None:
        self.settings, self.prepared, self.gemma = settings, prepared, gemma
        self.new()

    def answer(self, text: str) -> Generator["Event", None, None]:
        return self.settings.reply(self.chat, text)

    def attach(self, file: str) -> str:
        from gemma_mlx.terminal import describe

        part = self.settings.attachment(file, self.prepared)
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
    prepared = settings.prepare()
    with settings.loaded(prepared, console) as gemma:
        if sys.stdin.isatty():
            console.say(GREETING)
        if not Repl(_Talk(settings, prepared, gemma), console).run():
            raise KeyboardInterrupt
