"""A program under a pseudo-terminal, and the screen that a person would see."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import pexpect
import pyte

ROOT = Path(__file__).parents[2]
SECONDS = 60  # until something that should be on the screen is missed


class Screen(pyte.HistoryScreen):
    """A screen that answers where its cursor is, as terminals do."""

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__(columns, lines, history=10_000)
        self.answer: Callable[[str], object] = lambda text: None

    def write_process_input(self, data: str) -> None:
        self.answer(data)

    @property
    def text(self) -> list[str]:
        """The scrollback and the screen, a string a row, without blank ends."""
        rows = [[row[column].data for column in range(self.columns)] for row in self.history.top]
        lines = ["".join(row).rstrip() for row in rows] + [line.rstrip() for line in self.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines


class Terminal:
    """`python …` at a terminal; a context manager that ends it."""

    def __init__(self, *arguments: str | Path, columns: int = 80, lines: int = 24, home: Path) -> None:
        self.screen = Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        environment = {name: os.environ[name] for name in os.environ if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        environment |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "GEMMA_MLX_HOME": str(home)}
        words = [str(argument) for argument in arguments]
        self.child = pexpect.spawn(sys.executable, words, dimensions=(lines, columns), env=environment, cwd=str(ROOT))
        self.child.delaybeforesend = None
        self.child.delayafterterminate = self.child.ptyproc.delayafterterminate = 5.0  # on a busy machine
        self.screen.answer = self.child.send

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.close(force=True)

    def type(self, keys: str) -> None:
        """As if these keys were pressed."""
        self.child.send(keys)

    def resize(self, columns: int, lines: int) -> None:
        """As if the window were made another size."""
        self.screen.resize(lines, columns)
        self.child.setwinsize(lines, columns)

    def until(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """Wait until the lines of scrollback and screen satisfy `seen`; the lines."""
        end = time.monotonic() + SECONDS
        while not seen(lines := self.screen.text):
            assert time.monotonic() < end, "\n".join(["this is on the screen instead:", *lines])
            self._read()
        return lines

    def until_line(self, line: str) -> list[str]:
        """Wait until a line is exactly this one."""
        return self.until(lambda lines: line in lines)

    def after(self, seconds: float) -> list[str]:
        """What stands there after so long, whatever comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read()
        return self.screen.text

    def end(self) -> int:
        """Wait until the program ends; its exit status."""
        while self._read():
            pass
        self.child.close()
        assert self.child.exitstatus is not None
        return int(self.child.exitstatus)

    def _read(self) -> bool:
        try:
            self._stream.feed(self.child.read_nonblocking(65536, timeout=0.1))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True
