"""`gemma-mlx` and a microphone: real PortAudio, a real process, and a voice that a sound server plays."""

import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

import numpy as np
import pytest

from gemma_mlx.commands.listening import LISTENING
from tests.capture.soundserver import VirtualMicrophone, virtual_microphone

SECONDS = 120.0  # until something that should come counts as missing, on a machine with other work
COMMON = (
    "--model",
    "demo",
    "--temperature",
    "0",
    "--max-tokens",
    "12",
    "--mic",
    "--device",
    "pulse",
    "--vad",
    "energy",
)


@pytest.fixture(scope="module")
def room() -> Iterator[VirtualMicrophone]:
    with virtual_microphone() as (room, _):
        yield room


def voice() -> np.ndarray:
    with wave.open(str(files("gemma_mlx") / "assets" / "samples" / "recording.wav"), "rb") as reader:
        return np.frombuffer(reader.readframes(reader.getnframes()), np.int16)


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


def test_a_question_is_spoken_and_answered(room: VirtualMicrophone) -> None:
    with running("ask", *COMMON) as program:
        program.shows(LISTENING)
        room.play(voice())
        program.shows("I hear speech.")
        assert program.process.wait(SECONDS) == 0


def test_a_conversation_is_spoken_and_typed(room: VirtualMicrophone) -> None:
    with running("chat", "--no-save", *COMMON) as program:
        program.shows(LISTENING)
        room.play(voice())
        program.shows("I hear speech.")
        program.type("hello")
        program.shows("Hello!")
        program.type("/mute on")
        program.shows("muted")
        room.play(voice())
        time.sleep(voice().size / 16000 + 1.5)
        program.type("/mute off")
        program.shows("listening", 2)
        room.play(voice())
        program.shows("I hear speech.", 2)
        program.shows("(spoken)", 2)
        assert sum("(spoken)" in line for line in program.lines) == 2
        assert program.process.stdin is not None
        program.process.stdin.close()
        program.shows("the input has ended")
        assert program.end() == 0


def test_a_microphone_that_is_not_there() -> None:
    with running("ask", "--model", "demo", "--mic", "--device", "nowhere") as program:
        assert program.process.wait(SECONDS) == 1
        program.shows("nowhere")
        assert not any("Traceback" in line for line in program.lines)


@pytest.mark.parametrize("option", [["--device", "0"], ["--push-to-talk"], ["--vad", "energy"], ["--transcript"]])
def test_options_of_the_microphone_need_it(option: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gemma_mlx", "chat", *option], input="", capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "belongs to --mic" in done.stderr
