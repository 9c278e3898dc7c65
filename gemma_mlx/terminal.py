"""Events and attachments as a person or a script sees them: streamed answers, one JSON object, the `chat` loop.

The answer goes to `out`, everything else to `err`. Knows events and conversations: not options, weights or arrays, so
tests drive it with a conversation of their own.
"""

import os
import re
import shlex
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO, assert_never

from gemma_mlx.errors import ContextError, GemmaError, InputError
from gemma_mlx.generation.events import Event, Finished, TextDelta

if TYPE_CHECKING:
    from gemma_mlx.inputs.message import Part

BREAK_HINT = "press Ctrl-C again, or Ctrl-D, to leave"
GREETING = "/help lists the commands, Ctrl-D leaves"
HELP = """\
/attach FILE   read a picture, recording or video; it belongs to the next message
/drop          forget what is attached to the next message
/new           start a new conversation, with the same options
/help          show this
/quit          leave (so do Ctrl-D, and Ctrl-C twice)
Ctrl-C stops an answer; what was shown of it stays in the conversation."""
WAY_OUT = "; /drop forgets what is attached, /new starts a new conversation"

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Console:
    """Where lines come from and where text goes. `ask` raises EOFError at the end of the input."""

    ask: Callable[[], str]
    out: TextIO
    err: TextIO

    def say(self, line: str) -> None:
        """One line that is not part of an answer."""
        print(line, file=self.err, flush=True)


def show(events: Iterator[Event], console: Console) -> Finished | None:
    """Print a reply as it comes, thoughts apart from the answer; return how it ended, None if it never did.

    Ends with a line break wherever something was printed, after an exception as well. A terminal gets no control
    character but line breaks and tabs, the others as "�": what a picture makes the model say
    cannot move the cursor or set a title. A pipe or file gets the text as it is, like `ask --json`.
    """
    finished = None
    column = {"answer": 0, "thought": 0}  # characters since the last line break
    streams = {"answer": console.out, "thought": console.err}
    terminals = {channel for channel, stream in streams.items() if stream.isatty()}
    try:
        for event in events:
            if isinstance(event, Finished):
                finished = event
                break
            if event.channel == "answer" and column["thought"]:
                console.say("")
                column["thought"] = 0
            streams[event.channel].write(_CONTROLS.sub("�", event.text) if event.channel in terminals else event.text)
            streams[event.channel].flush()
            column[event.channel] = _column(column[event.channel], event)
    finally:
        for channel, stream in streams.items():
            if column[channel]:
                print(file=stream, flush=True)
    if finished is not None and finished.notice:
        console.say(f"[stopped: {finished.notice}]")
    if finished is not None and finished.reason == "length":
        tokens = _count(len(finished.tokens), "token")
        console.say(f"[cut off after {tokens}: raise --max-tokens, or --context if the conversation is long]")
    return finished


def _column(before: int, event: TextDelta) -> int:
    newline = event.text.rfind("\n")
    return before + len(event.text) if newline < 0 else len(event.text) - newline - 1


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def describe(part: "Part", fps: float | None = None) -> str:
    """An attachment in a line: its name, what it is, what it costs in tokens.

    `fps`: frames a second that were asked for of a video, named beside what was taken where that is less.
    """
    from gemma_mlx.inputs.message import Audio, Image, Text, Video
    from gemma_mlx.inputs.video import sampled_fps, token_cost

    match part:
        case Text():
            return part.text
        case Image():
            height, width, _ = part.pixels.shape
            return (
                f"{part.name}: picture, read at {width} × {height} pixels, {_count(token_cost([part.pixels]), 'token')}"
            )
        case Audio():
            tokens = _count(sum(len(block) for block in part.blocks()), "token")
            return f"{part.name}: recording of {len(part.samples) / 16000:.1f} s, {tokens}"
        case Video():
            frames, tokens = _count(len(part.frames), "frame"), _count(token_cost(part.frames), "token")
            taken = sampled_fps(part.timestamps)
            if fps and taken and taken < 0.99 * fps:  # 29.97 are 30
                frames += f" ({taken:.2g} a second, not {fps:g}: see --max-frames)"
            return f"{part.name}: video, {frames}, {tokens}, sound not read"
        case _:
            assert_never(part)


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
        "draft": {"rounds": 0, "drafted": 0, "accepted": 0},
        **surroundings,
    }


class Talk(Protocol):
    """What the loop of `gemma-mlx chat` needs of a conversation."""

    def answer(self, text: str) -> Generator[Event, None, None]:
        """Close the open turn with `text` and answer it."""

    def attach(self, file: str) -> str:
        """Read a file into the open turn and say what it was."""

    def drop(self) -> int:
        """Forget what is attached to the open turn; how much that was."""

    def new(self) -> None:
        """Begin anew, with the same options."""


class Repl:
    """The loop of `gemma-mlx chat`: reads lines, runs `/commands`, prints replies until the person leaves."""

    def __init__(self, talk: Talk, console: Console) -> None:
        self.talk, self.console = talk, console

    def run(self) -> bool:
        """Until `/quit` or the end of the input (True), or Ctrl-C twice at the prompt (False)."""
        broken = False
        while True:
            try:
                line = self.console.ask().strip()
            except EOFError:
                return True
            except KeyboardInterrupt:
                if broken:
                    return False
                broken = True
                self.console.say(f"\n{BREAK_HINT}")
                continue
            broken = False
            if line == "/quit":
                return True
            try:
                self.turn(line)
            except ContextError as fault:
                self.console.say(f"{fault}{WAY_OUT}")
            except GemmaError as fault:
                self.console.say(str(fault))
            except KeyboardInterrupt:
                self.console.say("[stopped]")

    def turn(self, line: str) -> None:
        """One line of the person: a command or a message. Raises `GemmaError` for what cannot be done."""
        command, _, rest = line.partition(" ")
        if command == "/help":
            self.console.say(HELP)
        elif command == "/attach":
            self.console.say(self.talk.attach(_path(rest)))
        elif command == "/drop":
            self.console.say(f"{_count(self.talk.drop(), 'attachment')} dropped")
        elif command == "/new":
            self.talk.new()
            self.console.say("new conversation")
        elif line.startswith("/"):
            raise InputError(f"{command} is no command: /help lists them")
        elif line:
            with closing(self.talk.answer(line)) as events:
                show(events, self.console)
                next(events, None)  # lets the conversation settle while the person reads


def _path(text: str) -> str:
    """The file that is meant: as written, or with the quotes and backslashes that a terminal adds to a dropped file."""
    text = text.strip()
    if not text:
        raise InputError("/attach needs a file: /attach picture.png")
    if text == "-":
        raise InputError("- is standard input, from which the chat reads your lines: give a file")
    if not os.path.exists(os.path.expanduser(text)):
        try:
            words = shlex.split(text)
        except ValueError:
            words = []
        if len(words) == 1:
            text = words[0]
    return os.path.expanduser(text)
