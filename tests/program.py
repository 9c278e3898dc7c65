"""`gemma-mlx` as a running process, and the lines that it writes meanwhile."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 120.0  # until something that should come counts as missing, on a machine with other work


class Program:
    """A running `gemma-mlx`, and the lines that it has written until now."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=(s,)) for s in (process.stdout, process.stderr)]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Iterator[str]) -> None:
        for line in stream:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify()

    def shows(self, text: str, times: int = 1) -> None:
        """Fails unless that stands in so many lines before long."""

        def found() -> bool:
            return sum(text in line for line in self.lines) >= times

        with self._changed:
            assert self._changed.wait_for(found, SECONDS), f"never {text!r}: {self.lines}"

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Ctrl-C, and the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(SECONDS)


@contextmanager
def running(*arguments: str) -> Iterator[Program]:
    command = [sys.executable, "-m", "gemma_mlx", *arguments]
    streams = subprocess.PIPE
    with subprocess.Popen(command, stdin=streams, stdout=streams, stderr=streams, text=True) as process:
        try:
            yield Program(process)
        finally:
            process.kill()
