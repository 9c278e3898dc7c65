"""`gemma-mlx transcribe` as a person and a program see it, on half an hour of words and on what goes wrong."""

import io
import json
import re
import tracemalloc
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyte
import pytest

from gemma_mlx.commands import transcribe as command
from gemma_mlx.generation.events import Finished
from gemma_mlx.inputs.message import Audio
from gemma_mlx.options import Settings
from gemma_mlx.terminal.plain import Console
from gemma_mlx.transcription.passages import Passage, Writer
from gemma_mlx.transcription.task import Task
from tests.command import Run, gemma_mlx, write_wav
from tests.transcription import tones

MINUTES = 29
RED, STOP = tones.tone("red", 0.5), tones.tone("stop", 0.5)


def transcribe(*arguments: str | Path, stdin: bytes = b"") -> Run:
    return gemma_mlx("transcribe", *arguments, stdin=stdin)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Audio], Finished]], list[Task]]:
    """No model is loaded; what is given answers for it. The list takes the tasks."""
    tasks = list[Task]()

    @contextmanager
    def loaded(*_: object) -> Iterator[None]:
        yield None

    def install(recognise: Callable[[Audio], Finished]) -> list[Task]:
        def made(gemma: None, task: Task) -> Callable[[Audio], Finished]:
            tasks.append(task)
            return recognise

        monkeypatch.setattr("gemma_mlx.transcription.recogniser.Recogniser", made)
        return tasks

    monkeypatch.setattr(Settings, "prepare", lambda self: None)
    monkeypatch.setattr(Settings, "loaded", loaded)
    install(tones.recognise)
    return install


def words_and_pauses(path: Path, *words: str, pause: float = 1.5) -> Path:
    silence = np.zeros(round(pause * tones.RATE), np.float32)
    samples = np.concatenate([part for word in words for part in (tones.tone(word, 0.5), silence)])
    return write_wav(path, samples * 32767)


def test_half_an_hour_every_word_once_and_no_more_memory(tmp_path: Path, answers: Any) -> None:
    def run(minutes: int) -> tuple[list[str], Run, int]:
        said = tones.record(tmp_path / "talk.wav", 60 * minutes)
        tracemalloc.start()
        done = transcribe(tmp_path / "talk.wav", "--json")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return said, done, peak

    *_, few = run(2)
    said, done, peak = run(MINUTES)
    assert done.code == 0
    assert done.err == ""
    passages = [json.loads(line) for line in done.out.splitlines()]
    assert [word for passage in passages for word in passage["text"].split()] == said
    assert len(said) > 1500
    assert all(0 < passage["end"] - passage["start"] <= 30 for passage in passages)
    assert all(before["end"] <= after["start"] for before, after in pairwise(passages))
    assert passages[-1]["end"] == pytest.approx(60 * MINUTES, abs=6)
    assert sum(passage["end"] - passage["start"] for passage in passages) > 60 * MINUTES * 0.8
    assert peak < few + 2_000_000
    assert peak < 20_000_000  # the recording is 111 MB of samples


def test_lines_subtitles_and_tasks(tmp_path: Path, answers: Any) -> None:
    path = words_and_pauses(tmp_path / "a.wav", "red", "seven", "stop")
    tasks = answers(tones.recognise)
    assert transcribe(path).out == "red\nseven\nstop\n"
    assert transcribe(path, "--pause", "2").out == "red seven stop\n"
    assert transcribe(path, "--longest", "2.4", "--pause", "2").out.replace("\n", " ") == "red seven stop "
    subtitles = transcribe(path, "--srt", "--language", "English").out
    times = ("00:00:00,000 --> 00:00:00,840", "00:00:01,680 --> 00:00:02,840", "00:00:03,680 --> 00:00:04,840")
    expected = zip((1, 2, 3), times, ("red", "seven", "stop"), strict=True)
    assert subtitles == "".join(f"{number}\n{time}\n{word}\n\n" for number, time, word in expected)
    assert transcribe("-", stdin=path.read_bytes()).out == "red\nseven\nstop\n"
    assert tasks == [*[Task()] * 3, Task("English"), Task()]


def test_subtitles_are_shorter_than_lines(tmp_path: Path, answers: Any) -> None:
    said = tones.record(tmp_path / "talk.wav", 60)
    text = transcribe(tmp_path / "talk.wav", "--srt").out
    blocks = text.strip().split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == [str(number) for number in range(1, len(blocks) + 1)]
    assert " ".join(" ".join(block.split("\n")[2:]) for block in blocks).split() == said
    for block in blocks:
        start, end = (
            sum(float(part) * unit for part, unit in zip(time, (3600, 60, 1, 0.001), strict=True))
            for time in re.findall(r"(\d+):(\d\d):(\d\d),(\d\d\d)", block.split("\n")[1])
        )
        assert 0 < end - start <= 8.001


def test_a_translation_is_what_is_printed(tmp_path: Path, answers: Any) -> None:
    path = words_and_pauses(tmp_path / "a.wav", "red", "stop")
    said = iter(["rot\nEnglish: red", "halt"])
    tasks = answers(lambda audio: Finished("stop", next(said)))
    run = transcribe(path, "--language", "German", "--translate-to", "English")
    assert run.out == "red\nhalt\n"
    assert run.err == "[0:01 to 0:02 came without a translation into English]\n"
    assert tasks == [Task("German", "English")]


def test_what_is_cut_off_is_said(tmp_path: Path, answers: Any) -> None:
    answers(lambda audio: Finished("length", "red " * 66, tokens=(1,) * 66))
    run = transcribe(words_and_pauses(tmp_path / "a.wav", "red"))
    assert run.code == 0
    assert run.err.startswith("[0:00 to 0:00 cut off after 66 tokens")


def test_ctrl_c_leaves_what_is_done(tmp_path: Path, answers: Any) -> None:
    heard = iter(["red", "seven"])

    def interrupted(audio: Audio) -> Finished:
        for word in heard:
            return Finished("stop", word)
        raise KeyboardInterrupt

    answers(interrupted)
    run = transcribe(words_and_pauses(tmp_path / "a.wav", "red", "seven", "stop"))
    assert (run.code, run.out, run.err) == (130, "red\nseven\n", "")


def test_silence_asks_no_model(tmp_path: Path, answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "loaded", None)
    path = write_wav(tmp_path / "a.wav", np.zeros(900_000))
    run = transcribe(path)
    assert (run.code, run.out, run.err) == (0, "", f"{path} is silent: nothing is said in it\n")


def test_faults_of_the_beginning_come_before_the_model(
    tmp_path: Path, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "loaded", None)
    (tmp_path / "notes.txt").write_text("Dear diary,\n")
    (tmp_path / "empty.wav").touch()
    none = write_wav(tmp_path / "none.wav", np.zeros(0))
    for path, fault in {
        tmp_path / "nowhere.wav": "does not exist: check the path",
        tmp_path: "is a directory: give one of its files",
        tmp_path / "notes.txt": "is damaged or no known audio or video format",
        tmp_path / "empty.wav": "is empty (0 bytes)",
        none: "holds no sound samples",
    }.items():
        assert transcribe(path).fault.startswith(f"{path} {fault}")
    assert transcribe("").fault == "the recording has no name: give a file"
    assert transcribe("-").fault.startswith("standard input is empty")


def test_a_fault_in_the_middle_comes_after_what_was_before(tmp_path: Path, answers: Any) -> None:
    from tests.test_bad_input import write_float_wav

    silence = np.zeros(tones.RATE * 40, np.float32)
    path = write_float_wav(tmp_path / "a.wav", np.concatenate([RED, silence, STOP, silence, [np.nan]]))
    run = transcribe(path)
    assert (run.code, run.out) == (1, "red\nstop\n")
    assert re.fullmatch(rf"{re.escape(str(path))} holds samples that are NaN .* after 8[01]\.\d s: .*\n", run.err)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--srt", "--json"], 2),
        (["--longest", "31"], 2),
        (["--longest", "0.9"], 2),
        (["--pause", "0.1"], 2),
        (["--translate-to", "English"], 1),
        (["--language", "de"], 1),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, answers: Any, arguments: list[str], code: int) -> None:
    run = transcribe(words_and_pauses(tmp_path / "a.wav", "red"), *arguments)
    assert (run.code, run.out) == (code, "")
    assert "Traceback" not in run.err
    assert code == 2 or len(run.err.splitlines()) == 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO) -> list[str]:
    """What is on a screen that got all of this."""
    screen = pyte.Screen(80, 10)
    pyte.Stream(screen).feed(stream.getvalue().replace("\n", "\r\n"))
    return [line.rstrip() for line in screen.display if line.strip()]


def test_a_terminal_has_a_bar_below_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = _Terminal()
    with command._screen("a.wav", 1740.0, Console(input, stream, stream)) as screen:
        from gemma_mlx.transcription.clips import Clip

        found = screen.followed(iter([Clip(0, Audio("a.wav", np.zeros(3_200_000, np.float32)))] * 2))
        next(found)
        screen.print(Passage(0, 200, "red \x1b]0;title\x07", notice="stopped: no memory"), Writer("text"))
        next(found)
        assert screen.bars is not None
        screen.bars.refresh()
        lines = shown(stream)
        assert lines[:2] == ["red �]0;title�", "[0:00 to 3:20 stopped: no memory]"]
        assert lines[2].startswith("a.wav ")
        assert "3:20 of 29:00" in lines[2]
    assert shown(stream) == lines[:2]


def test_lines_to_a_file_leave_the_bar_alone() -> None:
    err, out = _Terminal(), io.StringIO()
    with command._screen("a.wav", None, Console(input, out, err)) as screen:
        screen.print(Passage(0, 1, "\x1b"), Writer("text"))
    assert out.getvalue() == "\x1b\n"
    assert "0:00" in err.getvalue()
    quiet = io.StringIO()
    with command._screen("a.wav", 3.0, Console(input, out, quiet)) as screen:
        screen.print(Passage(0, 1, "b"), Writer("text"))
    assert (out.getvalue(), quiet.getvalue()) == ("\x1b\nb\n", "")


def test_with_the_demo_model() -> None:
    """What it answers is its own affair; that all parts fit together is not."""
    from gemma_mlx.demo import samples_directory

    file = samples_directory() / "recording.wav"
    with wave.open(str(file)) as recording:
        seconds = recording.getnframes() / recording.getframerate()
    run = transcribe(file, "--language", "English", "--model", "demo", "--json")
    assert run.code == 0
    (line,) = run.out.splitlines()
    assert json.loads(line)["text"]
    assert json.loads(line)["end"] <= seconds + 0.04
