"""Replies on plain streams: the answer goes to `out`, everything else to `err`; or one JSON object.

For pipes, files and terminals that can only print. Knows events and streams.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from gemma_mlx.generation.events import BadCall, Event, Finished, Notice, TextDelta
from gemma_mlx.inputs.message import ToolCall
from gemma_mlx.terminal.commands import HELP
from gemma_mlx.terminal.words import called, ending, unreadable, visible, wrapped


@dataclass(frozen=True)
class Console:
    """Where lines come from and where text goes. `read` raises EOFError at the end of the input."""

    read: Callable[[], str]
    out: TextIO
    err: TextIO

    def ask(self) -> str:
        """The next line of the person. Raises EOFError and KeyboardInterrupt."""
        return self.read()

    def correct(self, text: str) -> str | None:
        """The person's correction of `text`: None, since plain streams cannot offer a text for editing."""
        return None

    def choose(self, question: str, choices: Mapping[str, str]) -> str | None:
        """What the person chooses: None, since the next line may be meant otherwise."""
        return None

    def say(self, line: str) -> None:
        """One line that is not part of an answer; on a terminal it is broken between words."""
        text = wrapped(visible(line)) if self.err.isatty() else line
        print(f"{text}\n", end="", file=self.err, flush=True)  # at once: Ctrl-C cannot leave the line open

    def explain(self) -> None:
        """What the commands are."""
        self.say(HELP)

    def recall(self, question: str, answer: str) -> None:
        """What was said before, on `err`: it is no answer to what is asked now."""
        self.say(f"> {question}")
        if answer:
            self.say(answer)

    def show(self, events: Iterator[Event]) -> Finished | None:
        """Print a reply as it comes; return how it ended, None if it never did."""
        return show(events, self)


def show(events: Iterator[Event], console: Console) -> Finished | None:
    """Print a reply as it comes, thoughts apart from the answer; return how it ended, None if it never did.

    Ends with a line break wherever something was printed, after an exception as well. A terminal gets no control
    character but line breaks and tabs, the others as "�": what a picture makes the model say
    cannot move the cursor or set a title. A pipe or file gets the text as it is, like `ask --json`.
    """
    finished = None
    streams = {"answer": _Channel(console.out), "thought": _Channel(console.err)}
    try:
        for event in events:
            match event:
                case TextDelta():
                    if event.channel == "answer":
                        streams["thought"].end_line()
                    streams[event.channel].write(event.text)
                case Finished():
                    finished = event
                    break
                case _:
                    for channel in streams.values():
                        channel.end_line()
                    console.say(_line(event))
    finally:
        for channel in streams.values():
            channel.end_line()
    for line in ending(finished) if finished else ():
        console.say(line)
    return finished


class _Channel:
    """A stream that knows whether a line is open on it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.terminal = stream, stream.isatty()
        self.open = False

    def write(self, text: str) -> None:
        self.stream.write(visible(text) if self.terminal else text)
        self.stream.flush()
        if text:
            self.open = not text.endswith("\n")

    def end_line(self) -> None:
        if self.open:
            print(file=self.stream, flush=True)
        self.open = False


def _line(event: ToolCall | BadCall | Notice) -> str:
    match event:
        case ToolCall():
            return called(event)
        case BadCall():
            return unreadable(event)
        case Notice():
            return f"[{event.text}]"


def collect(events: Iterator[Event]) -> Finished:
    """The end of a reply, with its whole text; nothing is printed."""
    for event in events:
        if isinstance(event, Finished):
            return event
    raise AssertionError("a reply ends with Finished")


def result(finished: Finished, load_s: float, surroundings: dict[str, Any]) -> dict[str, Any]:
    """The object that `ask --json` prints; `surroundings` are its `memory` and `model`."""
    return {
        "text": finished.text,
        "thinking": finished.thinking,
        "tokens": list(finished.tokens),
        "finish_reason": finished.reason,
        "usage": vars(finished.usage),
        "timing": {name: round(value, 4) for name, value in {"load_s": load_s, **vars(finished.timing)}.items()},
        "draft": vars(finished.draft),
        **surroundings,
    }
