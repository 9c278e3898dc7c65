"""A program in another process, seen from here: started, told what to do, ended.

The worker has a process group of its own: Ctrl-C in the terminal reaches this process only, which ends the worker with
all that it started; if this process is gone, the end of its stdin does. Knows the worker's lines (`serve`), no program.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from gemma_mlx.benchmarks.peers.program import Settings

_PATIENCE_S = 10.0  # for a worker that was told to quit
_LAST_LINES = 20


@dataclass(frozen=True)
class Generated:
    """Ids as they came, `times` in seconds from the call to each. `peak_mlx_bytes`: of this call, weights included;
    `peak_resident_bytes`: of the process so far; `accepted`: as `Program.drafted`."""

    ids: tuple[int, ...]
    times: tuple[float, ...]
    prompt_tokens: int
    peak_mlx_bytes: int
    peak_resident_bytes: int
    accepted: tuple[int, ...] = ()

    @property
    def first(self) -> float:
        """Seconds to the first id."""
        return self.times[0]

    @property
    def decode(self) -> float:
        """Tokens per second from the second id on, when programs are a step ahead; 0.0 where none came later. Ids that
        came at the same time as the second, in one round of drafts, do not count: their round began before."""
        later = sum(time > self.times[1] for time in self.times[2:])
        return later / (self.times[-1] - self.times[1]) if later else 0.0


class Unavailable(Exception):
    """One line why a program cannot do what it was asked for."""


class Linked:
    """A program of the catalogue, or ours, with one model. What it prints goes to `log`. As a context manager: loaded
    on entering, ended on leaving. `load_seconds`: without imports; `weights_bytes`: active memory of MLX after loading,
    0 where the program does not use it. A worker that dies is a RuntimeError with the last lines of its log."""

    def __init__(self, name: str, directory: Path, settings: Settings, log: Path) -> None:
        self.name, self.directory, self.settings, self.log = name, directory, settings, log
        self.load_seconds, self.weights_bytes = 0.0, 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Linked":
        """Raises `Unavailable` if the program is not installed or cannot load the model."""
        try:
            self._start()
            fields = {**asdict(self.settings), "drafter": self.settings.drafter and str(self.settings.drafter)}
            answer = self._obey({"do": "load", "directory": str(self.directory), "settings": fields})
        except BaseException:
            self._kill()
            raise
        self.load_seconds, self.weights_bytes = answer["seconds"], answer["weights_bytes"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._kill()  # it may be computing still

    def generate(self, ids: list[int], tokens: int) -> Generated:
        """`tokens` greedy ids after `ids`."""
        return _generated(self._obey({"do": "generate", "ids": ids, "tokens": tokens}))

    def set_depth(self, depth: int | None) -> None:
        """As `Program.set_depth`. Raises `Unavailable` if the program cannot."""
        self._obey({"do": "depth", "depth": depth})

    def ask(self, question: str, files: list[Path], tokens: int) -> Generated:
        """At most `tokens` ids of an answer. Raises `Unavailable` if the program cannot read the files."""
        names = [str(file.resolve()) for file in files]
        return _generated(self._obey({"do": "ask", "question": question, "files": names, "tokens": tokens}))

    def close(self) -> None:
        """End the worker; again is fine."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write('{"do": "quit"}\n')
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE_S)
        self._kill()

    def _start(self) -> None:
        words = [sys.executable, "-m", "gemma_mlx.benchmarks.peers.serve", self.name]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w") as err:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                bufsize=1,
                start_new_session=True,
            )

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running: enter it first")
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        try:
            pipe_in.write(json.dumps(order) + "\n")
            row = pipe_out.readline()
        except BrokenPipeError:
            row = ""
        if not row.endswith("\n"):
            code = self._process.wait()  # its last words may still be on their way
            raise RuntimeError(f"{self.name} ended with {code}:\n{self._last_words()}")
        answer: dict[str, Any] = json.loads(row)
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        return answer

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:])

    def _kill(self) -> None:
        """End the worker and what it started, at once."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # macOS says so of a group that has ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._process = None


def _generated(answer: dict[str, Any]) -> Generated:
    ids, times, accepted = (tuple(answer.pop(field)) for field in ("ids", "times", "accepted"))
    return Generated(ids, times, accepted=accepted, **answer)
