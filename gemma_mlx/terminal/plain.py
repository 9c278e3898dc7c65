"""Replies on plain streams: the answer goes to `out`, everything else to `err`; or one JSON object.

For pipes, files and terminals that can only print. Knows events and streams.
"""

import codecs
import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Any, TextIO

from gemma_mlx.generation.events import BadCall, Event, Finished, Notice, TextDelta
from gemma_mlx.inputs.message import ToolCall
from gemma_mlx.terminal.commands import explained, listed
from gemma_mlx.terminal.spoken import SPOKEN, Calls, Spoken
from gemma_mlx.terminal.words import called, ending, unreadable, visible, wrapped

INPUT_ENDED = "the input has ended: the conversation goes on by voice, Ctrl-C ends it"
_TICK = 0.1  # seconds after which a wait looks for signals
_PIECE = 65536  # bytes that are read at once


@dataclass(frozen=True)
class Console:
    """Where lines come from and where text goes. `read` raises EOFError at the end of the input."""

    read: Callable[[], str | Spoken]
    out: TextIO
    err: TextIO

    def ask(self) -> str | Spoken:
        """The next line of the person. Raises EOFError and KeyboardInterrupt."""
        return self.read()

    def wake(self) -> None:
        """Nobody can: `LiveConsole` is for microphones."""
        raise AssertionError("a console without a microphone is not woken")

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

    def explain(self, live: bool) -> None:
        """What the commands are, `live` those with a microphone."""
        self.say(explained(listed(live)))

    def recall(self, question: str, answer: str) -> None:
        """What was said before, on `err`: it is no answer to what is asked now."""
        self.say(f"> {question}")
        if answer:
            self.say(answer)

    def show(self, events: Iterator[Event]) -> Finished | None:
        """Print a reply as it comes; return how it ended, None if it never did."""
        return show(events, self)


class LiveConsole:
    """Plain streams beside a microphone: what comes first counts, a line or a spoken turn.

    Where a pipe or file has ended, the conversation goes on by voice until Ctrl-C. Lines of other threads are printed
    between replies.
    """

    def __init__(self, stdin: TextIO, out: TextIO, err: TextIO) -> None:
        self._rung = threading.Event()
        self._calls, self._typed = Calls(self._rung.set), _Typed(stdin, self._rung.set)
        self._console = Console(stdin.readline, out, err)
        self._thread, self._at_terminal = threading.get_ident(), stdin.isatty()
        self._prompt = "> " if self._at_terminal and out.isatty() else ""
        self._told_end = False
        self.wake, self.correct, self.choose = self._calls.wake, self._console.correct, self._console.choose
        self.explain, self.recall = self._console.explain, self._console.recall

    def ask(self) -> str | Spoken:
        """The next line, or SPOKEN after a wake. Raises EOFError and KeyboardInterrupt."""
        self._say_waiting()
        if self._calls.take_wake():
            return SPOKEN
        try:
            self._write(self._prompt)  # a Ctrl-C as soon as it is there ends its line too
            return self._wait()
        except KeyboardInterrupt:
            self._write("\n" if self._prompt else "")
            if self._typed.ended:
                raise EOFError from None
            raise

    def say(self, line: str) -> None:
        """A line that is not part of an answer; of another thread, as soon as none is being printed."""
        if threading.get_ident() == self._thread:
            self._console.say(line)
        else:
            self._calls.say(line)

    def show(self, events: Iterator[Event]) -> Finished | None:
        """Print a reply as it comes; return how it ended, None if it never did."""
        try:
            return show(events, self._console)
        finally:
            self._say_waiting()

    def _wait(self) -> str | Spoken:
        while True:
            self._rung.clear()
            if self._calls.talking:
                self._write("\n" if self._prompt else "")
                self._say_waiting()
                self._write(self._prompt)
            if self._calls.take_wake():
                self._write("\n" if self._prompt else "")
                return SPOKEN
            if (line := self._typed.next()) is not None:
                return line
            if self._typed.ended and self._at_terminal:
                self._write("\n" if self._prompt else "")
                raise EOFError
            if self._typed.ended and not self._told_end:
                self._told_end = True
                self.say(INPUT_ENDED)
            self._rung.wait(_TICK)  # a Ctrl-C that comes just before a wait does not end it

    def _say_waiting(self) -> None:
        for line in self._calls.take_lines():
            self._console.say(line)

    def _write(self, text: str) -> None:
        if text:
            print(text, end="", file=self._console.out, flush=True)


class _Typed:
    """The lines of a stream, read by a thread of its own, which is at most a piece ahead; `ring` is called for each
    piece. The thread reads the file itself: the interpreter cannot end while another thread waits in `sys.stdin`."""

    def __init__(self, stream: TextIO, ring: Callable[[], None]) -> None:
        self.ended = False
        self._pieces, self._text = Queue[bytes](maxsize=1), ""
        decoder = codecs.getincrementaldecoder(stream.encoding or "utf-8")(errors="replace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._reader = threading.Thread(target=self._read, args=(stream.fileno(), ring), name="input", daemon=True)
        self._reader.start()

    def next(self) -> str | None:
        """The next line, None if it has not come; `ended` after the last."""
        while "\n" not in self._text and not self.ended:
            try:
                piece = self._pieces.get_nowait()
            except Empty:
                return None
            self.ended = not piece
            self._text += self._decoder.decode(piece, final=self.ended)
        line, end, self._text = self._text.partition("\n")
        return line if line or end else None

    def _read(self, file: int, ring: Callable[[], None]) -> None:
        piece = b"-"
        while piece:
            try:
                piece = os.read(file, _PIECE)
            except OSError:  # such as a terminal that is gone
                piece = b""
            self._pieces.put(piece)
            ring()


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
