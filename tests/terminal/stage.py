"""A chat on the terminal with a conversation that only pretends: `python -m tests.terminal.stage [HISTORY]`.

What is asked decides what is answered; see `_answer`.
"""

import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from gemma_mlx.errors import ContextError
from gemma_mlx.generation.events import BadCall, Draft, Event, Finished, Notice, TextDelta, Timing
from gemma_mlx.inputs.message import ToolCall
from gemma_mlx.terminal.interactive import Interactive, silent_keys
from gemma_mlx.terminal.repl import Repl
from gemma_mlx.terminal.status import Status, line
from tests.terminal.pretender import Pretender

MARKDOWN = (
    "# Title\n\nSome *words* and `code`.\n\n- one\n- two\n\n```py\nx = 1\n```\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\nThe end."
)
LONG = "```\n" + "".join(f"row {number}\n" for number in range(40)) + "```\n\nafter"
WIDE = "It was a dark and stormy night, and 夜は暗く嵐だった, the rain fell in torrents."


class Stage(Pretender):
    """The conversation."""

    last: Finished | None = None

    def answer(self, text: str) -> Generator[Event, None, None]:
        if text == "too much" and not self.dropping:
            raise ContextError("the conversation is 99 tokens long, the context holds 64: start a new one")
        self.asked.append(text)
        yield from _answer(text)
        self.last = Finished("stop", text, timing=Timing(0.1, 10.0, 21.25), draft=Draft(3, 10, 7))
        yield self.last


def _answer(text: str) -> Iterator[Event]:
    match text:
        case "markdown":
            yield from _typed(MARKDOWN)
        case "long":
            yield from _typed(LONG)
        case "wide":
            yield from _typed(WIDE)
        case "think":
            yield from _typed("First I think.\nThen I know.", "thought")
            yield from _typed("I know.")
        case "tools":
            yield Notice("12 tokens are read again")
            yield TextDelta("Let me look.")
            yield ToolCall("look", {"where": "up"})
            yield BadCall("call:look{", "it has no end")
        case "attack":
            yield TextDelta("\x1b]0;owned\x07a\x1b[2Jb &#27;[2J `\x9b2J`\x1b")
            yield TextDelta("[1A [text](http://a.b) <b>")
        case "hang":
            yield TextDelta("It goes on ")
            time.sleep(60)
        case "slow":
            yield TextDelta("It takes ")
            time.sleep(0.6)
            yield TextDelta("a while.")
        case "hang in thought":
            yield TextDelta("I wonder ", "thought")
            time.sleep(60)
        case _:
            yield from _typed(f"You said: {text}")


def _typed(text: str, channel: str = "answer") -> Iterator[Event]:
    for start in range(0, len(text), 3):
        yield TextDelta(text[start : start + 3], "thought" if channel == "thought" else "answer")
        time.sleep(0.0005)


def main(history: str | None = None) -> None:
    stage = Stage()

    def status(width: int) -> str:
        return line(Status("demo", 12, 64, stage.last), width)

    tokens: Callable[[str], int] = lambda text: len(text.split())  # noqa: E731
    with silent_keys():
        Repl(stage, Interactive(Path(history) if history else None, status, tokens), drops=True).run()
    print("bye")


if __name__ == "__main__":
    main(*sys.argv[1:])
