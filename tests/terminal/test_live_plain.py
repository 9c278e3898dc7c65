"""Plain streams beside a microphone: a line or a spoken turn, whichever comes first."""

import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from gemma_mlx.generation.events import Event, Finished, TextDelta
from gemma_mlx.terminal.plain import INPUT_ENDED, LiveConsole
from gemma_mlx.terminal.repl import BREAK_HINT, SPOKEN_LINE
from gemma_mlx.terminal.spoken import SPOKEN
from tests.terminal.terminal import ROOT, Terminal
from tests.terminal.threads import beside

SECONDS = 60  # until something that should have come is missed
PROGRAM = ("-m", "tests.terminal.live_stage")


class Pipe:
    """A console whose input is written here."""

    def __init__(self, encoding: str) -> None:
        reading, self.writing = os.pipe()
        self.stdin = open(reading, encoding=encoding)  # noqa: SIM115 - closed by `opened`
        self.out, self.err = io.StringIO(), io.StringIO()
        self.console = LiveConsole(self.stdin, self.out, self.err)

    def write(self, text: bytes) -> None:
        os.write(self.writing, text)

    def close(self) -> None:
        """The end of the input."""
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    @property
    def said(self) -> list[str]:
        return self.err.getvalue().splitlines()


@contextmanager
def opened(encoding: str = "utf-8") -> Iterator[Pipe]:
    """A pipe; if something is missed, Ctrl-C ends the wait."""
    pipe = Pipe(encoding)
    late = Timer(SECONDS, interrupt)
    late.start()
    try:
        yield pipe
    finally:
        late.cancel()
        pipe.close()
        pipe.console._typed._reader.join(SECONDS)
        pipe.stdin.close()


def soon(work: Callable[[], object]) -> Callable[[], None]:
    """The work, a moment later: the other thread waits by then."""

    def late() -> None:
        time.sleep(0.05)
        work()

    return late


def interrupt() -> None:
    """Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def test_lines_are_those_of_the_pipe() -> None:
    with opened() as pipe:
        pipe.write(b"one\n\n  two \r\nthr")
        assert [pipe.console.ask() for _ in range(3)] == ["one", "", "  two "]
        half = "ée\n".encode()
        pipe.write(half[:1])
        with beside(soon(lambda: pipe.write(half[1:]))):
            assert pipe.console.ask() == "thrée"


def test_what_cannot_be_read_is_no_fault() -> None:
    with opened("ascii") as pipe:
        pipe.write(b"caf\xe9\n")
        assert pipe.console.ask() == "caf�"


def test_a_wake_comes_before_lines_that_wait_and_once() -> None:
    with opened() as pipe:
        pipe.write(b"one\ntwo\n")
        pipe.console.wake()
        assert [pipe.console.ask(), pipe.console.ask()] == [SPOKEN, "one"]
        pipe.console.wake()
        pipe.console.wake()
        assert [pipe.console.ask(), pipe.console.ask()] == [SPOKEN, "two"]  # two are one


def test_a_wake_ends_the_wait_for_a_line_and_half_a_line_stays() -> None:
    with opened() as pipe:
        pipe.write(b"half ")
        with beside(soon(pipe.console.wake)):
            assert pipe.console.ask() is SPOKEN
        pipe.write(b"a line\n")
        assert pipe.console.ask() == "half a line"


def test_after_the_end_of_the_input_it_goes_on_by_voice_until_ctrl_c() -> None:
    with opened() as pipe:
        pipe.write(b"one\ntwo")
        pipe.close()
        assert [pipe.console.ask(), pipe.console.ask()] == ["one", "two"]
        for _ in range(2):
            with beside(soon(pipe.console.wake)):
                assert pipe.console.ask() is SPOKEN
        with beside(soon(interrupt)), pytest.raises(EOFError):
            pipe.console.ask()
        assert pipe.said == [INPUT_ENDED]


def test_ctrl_c_before_the_end_of_the_input_is_one() -> None:
    with opened() as pipe:
        with beside(soon(interrupt)), pytest.raises(KeyboardInterrupt):
            pipe.console.ask()
        pipe.write(b"one\n")
        assert pipe.console.ask() == "one"


def test_a_line_of_another_thread_is_printed_at_once_while_nothing_is_asked_or_answered() -> None:
    def notice() -> None:
        pipe.console.say("a notice")
        while not pipe.said:
            time.sleep(0.001)
        pipe.write(b"one\n")

    with opened() as pipe, beside(notice):
        assert pipe.console.ask() == "one"
        assert pipe.said == ["a notice"]


def test_a_line_of_another_thread_waits_for_the_end_of_the_answer() -> None:
    def events() -> Iterator[Event]:
        yield TextDelta("so ")
        with beside(lambda: pipe.console.say("a notice")):
            pass
        yield TextDelta("on")
        yield Finished("stop", "so on")

    with opened() as pipe:
        pipe.console = LiveConsole(pipe.stdin, pipe.out, pipe.out)
        pipe.console.say("before")
        assert pipe.console.show(events()) is not None
        assert pipe.out.getvalue() == "before\nso on\na notice\n"


def test_wakes_and_lines_of_many_threads() -> None:
    wakes, lines, speaking = 400, 400, threading.Lock()
    seed = random.Random(7)
    pauses = [seed.choice((0.0, 0.0, 0.0005)) for _ in range(wakes + lines)]

    def speak() -> None:
        for number in range(wakes):
            time.sleep(pauses[number])
            with speaking:  # each is taken before the next one
                pipe.console.wake()
                while pipe.console._calls.woken:
                    time.sleep(0)

    def write() -> None:
        for number in range(lines):
            time.sleep(pauses[-number])
            pipe.write(b"line ")
            pipe.write(b"%d\n" % number)

    with opened() as pipe, beside(speak, speak, write):
        got = [pipe.console.ask() for _ in range(2 * wakes + lines)]
        assert got.count(SPOKEN) == 2 * wakes
        assert [line for line in got if line is not SPOKEN] == [f"line {number}" for number in range(lines)]
        pipe.write(b"end\n")
        assert pipe.console.ask() == "end"


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "orders")
    return tmp_path / "orders"


def test_a_program_over_pipes(orders: Path) -> None:
    """Its input ends, it goes on by voice, Ctrl-C ends it."""
    pipe = subprocess.PIPE
    words = [sys.executable, *PROGRAM, str(orders), "plain", "push"]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        with orders.open("w") as order:
            program.stdin.write("\none\n\n\n")
            program.stdin.close()
            assert program.stdout.readline() == "You said: one\n"
            # What the third push says, and then the end of the input: only after both may speech wake it.
            assert program.stderr.readline() == "the microphone is gone: plug it in\n"
            assert program.stderr.readline() == f"{INPUT_ENDED}\n"
            order.write("wake\n")
            order.flush()
            assert program.stdout.readline() == "It takes a while.\n"
            time.sleep(0.3)  # until it waits again
            program.send_signal(signal.SIGINT)
            assert program.stdout.read() == "bye\n"
        assert program.stderr.read() == f"{SPOKEN_LINE}\n"
        assert program.wait(timeout=SECONDS) == 0


def test_a_program_ends_while_its_input_is_open(orders: Path) -> None:
    pipe = subprocess.PIPE
    words = [sys.executable, *PROGRAM, str(orders), "plain"]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, text=True) as program:
        assert program.stdin is not None
        program.stdin.write("/quit\n")
        program.stdin.flush()
        assert program.wait(timeout=SECONDS) == 0
        assert program.stderr is not None
        assert program.stderr.read() == ""


class Shown(io.StringIO):
    """A terminal at which Ctrl-C is pressed in the very moment at which the prompt is there."""

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        if self.getvalue() == "> ":
            raise KeyboardInterrupt


def test_ctrl_c_in_the_moment_of_the_prompt_ends_its_line() -> None:
    keys, line = os.openpty()
    with open(line) as stdin:
        out = Shown()
        console = LiveConsole(stdin, out, io.StringIO())
        with pytest.raises(KeyboardInterrupt):
            console.ask()
        assert out.getvalue() == "> \n"
        os.write(keys, b"\x04")
        console._typed._reader.join(SECONDS)
    os.close(keys)


def test_a_terminal_that_can_only_print(orders: Path, tmp_path: Path) -> None:
    with Terminal(*PROGRAM, orders, "plain", home=tmp_path) as terminal:
        terminal.until_line(">")
        with orders.open("w") as order:
            order.write("say a notice\n")
            order.flush()
            terminal.until(lambda lines: lines == [">", "a notice", ">"])
            order.write("wake\n")
        answered = [">", "a notice", ">", SPOKEN_LINE, "It takes a while.", ">"]
        terminal.until(lambda lines: lines == answered)
        terminal.type("\x03")
        terminal.until(lambda lines: lines == [*answered[:-1], "> ^C", BREAK_HINT, ">"])
        terminal.type("\x04")
        assert terminal.end() == 0
        assert terminal.screen.text[-1] == "bye"
