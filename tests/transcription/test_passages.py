"""What becomes of answers: lines, subtitles, JSON, and notices of what may be wrong."""

import json
import re
from collections.abc import Iterator

import numpy as np
import pytest

from gemma_mlx.generation.events import Finished
from gemma_mlx.inputs.message import Audio
from gemma_mlx.transcription.clips import Clip
from gemma_mlx.transcription.passages import Form, Passage, Writer, clock, passages
from gemma_mlx.transcription.task import Task

ANY = Task()
GERMAN = Task("German", "English")


def clip(start: float, samples: int = 16000) -> Clip:
    return Clip(start, Audio("a.wav", np.zeros(samples, np.float32)))


def only(finished: Finished, task: Task = ANY) -> Passage:
    (found,) = passages([clip(2.0)], lambda audio: finished, task)
    return found


def written(form: Form, *said: Passage) -> str:
    writer = Writer(form)
    return "".join(writer.write(one) for one in said)


def test_each_clip_is_recognised_when_it_is_its_turn() -> None:
    log: list[str] = []

    def source() -> Iterator[Clip]:
        for start in (0.0, 1.5):
            log.append(f"read {start}")
            yield clip(start, 20000)

    def recognise(audio: Audio) -> Finished:
        log.append("heard")
        return Finished("stop", "red 7")

    for passage in passages(source(), recognise, Task()):
        log.append(f"said {passage.start}")
        assert passage == Passage(passage.start, passage.start + 1.25, "red 7")
    assert log == ["read 0.0", "heard", "said 0.0", "read 1.5", "heard", "said 1.5"]


def test_what_may_be_wrong_is_said() -> None:
    assert only(Finished("stop", "red\n7")) == Passage(2, 3, "red 7")
    assert "cut off after 3 tokens" in str(only(Finished("length", "red", tokens=(1, 2, 3))).notice)
    assert only(Finished("loop", "red red", notice="the same token 256 times in a row")).notice == (
        "stopped: the same token 256 times in a row"
    )
    assert only(Finished("memory", "red", notice="no memory")).notice == "stopped: no memory"


def test_translations() -> None:
    assert only(Finished("stop", "rot\nEnglish: red"), GERMAN) == Passage(2, 3, "rot", "red")
    missing = only(Finished("stop", "rot"), GERMAN)
    assert (missing.wanted, missing.notice) == ("rot", "came without a translation into English")
    assert only(Finished("stop", ""), GERMAN) == Passage(2, 3, "")


def test_lines() -> None:
    said = Passage(0, 1, "red 7"), Passage(1, 2, ""), Passage(2, 3, "rot", "red"), Passage(3, 4, "stop", "")
    assert written("text", *said) == "red 7\nred\n"


def test_subtitles() -> None:
    long = "a line of subtitles is as long as a person reads at once"
    said = (
        Passage(0, 1.25, "red 7"),
        Passage(1.25, 2, ""),
        Passage(59.96, 61.0000625, "rot", "red --> blue"),
        Passage(3599.52, 3600.04, long),
        Passage(360000, 360000.04, "x" * 50),
    )
    assert written("srt", *said) == (
        "1\n00:00:00,000 --> 00:00:01,250\nred 7\n\n"
        "2\n00:00:59,960 --> 00:01:01,001\nred → blue\n\n"
        "3\n00:59:59,520 --> 01:00:00,040\na line of subtitles is as long as a person\nreads at once\n\n"
        f"4\n100:00:00,000 --> 100:00:00,040\n{'x' * 50}\n\n"
    )


@pytest.mark.parametrize("frames", [1, 7, 749, 43_499])
def test_subtitles_that_touch_do_not_overlap(frames: int) -> None:
    text = written("srt", Passage(0, frames * 640 / 16000, "a"), Passage(frames * 640 / 16000, 9999, "b"))
    times = re.findall(r"\d+:\d\d:\d\d,\d\d\d", text)
    assert times[1] == times[2]


def test_json_says_everything_a_line_each() -> None:
    said = Passage(0, 1.0000625, "grün", "green", "why"), Passage(1, 2, "")
    lines = written("json", *said).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"start": 0, "end": 1.0, "text": "grün", "translation": "green", "notice": "why"},
        {"start": 1, "end": 2, "text": "", "translation": None, "notice": None},
    ]
    assert "ü" in lines[0]
    assert Writer("json", ascii_only=True).write(said[0]).isascii()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.99, "0:59"), (61, "1:01"), (36061.2, "10:01:01")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
