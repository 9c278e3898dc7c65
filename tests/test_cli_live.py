"""`gemma-mlx` and a microphone: real PortAudio, a real process, and a voice that a sound server plays."""

import json
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from importlib.resources import files

import numpy as np
import pytest

from gemma_mlx.commands.listening import LISTENING
from tests.capture.soundserver import VirtualMicrophone, virtual_microphone
from tests.program import SECONDS, running

SAID = 'I hear "red 7 stop".'
COMMON = (
    "--model",
    "demo",
    "--temperature",
    "0",
    "--max-tokens",
    "24",
    "--mic",
    "--device",
    "pulse",
    "--vad",
    "energy",
)

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def room() -> Iterator[VirtualMicrophone]:
    with virtual_microphone() as (room, _):
        yield room


def voice() -> np.ndarray:
    with wave.open(str(files("gemma_mlx") / "assets" / "samples" / "recording.wav"), "rb") as reader:
        return np.frombuffer(reader.readframes(reader.getnframes()), np.int16)


def without_end(samples: np.ndarray) -> np.ndarray:
    """Without the silence around it, which would end a turn."""
    (loud,) = np.nonzero(np.abs(samples.astype(np.int32)) > 300)
    return samples[loud[0] : loud[-1] + 1]


def test_a_question_is_spoken_and_answered(room: VirtualMicrophone) -> None:
    with running("ask", *COMMON) as program:
        program.shows(LISTENING)
        room.play(voice())
        program.shows(SAID)
        assert program.process.wait(SECONDS) == 0


def test_a_conversation_is_spoken_and_typed(room: VirtualMicrophone) -> None:
    with running("chat", "--no-save", *COMMON) as program:
        program.shows(LISTENING)
        room.play(voice())
        program.shows(SAID)
        program.type("hello")
        program.shows("Hello!")
        program.type("/mute on")
        program.shows("muted")
        room.play(voice())
        time.sleep(voice().size / 16000 + 1.5)
        program.type("/mute off")
        program.shows("listening", 2)
        room.play(voice())
        program.shows(SAID, 2)
        program.shows("(spoken)", 2)
        assert sum("(spoken)" in line for line in program.lines) == 2
        assert program.process.stdin is not None
        program.process.stdin.close()
        program.shows("the input has ended")
        assert program.end() == 0


def test_what_is_being_said_at_ctrl_c_is_written_down(room: VirtualMicrophone) -> None:
    options = ("--model", "demo", "--device", "pulse", "--vad", "energy", "--json")
    with running("transcribe", "--mic", *options) as program:
        program.shows(LISTENING)
        room.play(voice())
        program.shows('"start"')
        room.play(np.tile(without_end(voice()), 5))
        time.sleep(voice().size / 16000 + 1)
        assert program.end() == 0
        passages = [json.loads(line) for line in program.lines if line.startswith("{")]
        first, second = passages
        assert 0 <= first["start"] < first["end"] < second["start"] < second["end"]


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
