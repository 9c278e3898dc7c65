"""`gemma-mlx demo` as a person and a program see it, whatever the model answers; its files have nothing in them."""

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from gemma_mlx import demo as tour
from gemma_mlx.commands import demo as command
from gemma_mlx.demo import STEPS, Scene, Turn
from gemma_mlx.generation.events import Event, Finished
from gemma_mlx.inputs.message import ToolCall
from tests.command import gemma_mlx, hum, png, write_wav
from tests.terminal.terminal import Terminal

FIGURES = re.compile(
    r"^[✓ ] read [\d,]+ tokens, [\d,]+ ahead · first word \d+\.\d\d s · \d+ tokens/s · drafts \d+ of \d+$"
)
QUESTIONS = [said for step in STEPS for turn in step.turns for said in turn.said if isinstance(said, str)]
TURNS = sum(len(step.turns) for step in STEPS)
MOST_PAUSES = 20  # seconds in all


@pytest.fixture(autouse=True)
def samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Files of the names of the bundled ones."""
    (tmp_path / "picture.png").write_bytes(png(480, 336))
    write_wav(tmp_path / "recording.wav", hum(1.0))
    write_wav(tmp_path / "question.wav", hum(0.6))
    monkeypatch.setattr(tour, "samples_directory", lambda: tmp_path)
    return tmp_path


def judged(monkeypatch: pytest.MonkeyPatch, right: bool) -> None:
    """Every answer is taken for right, or for wrong."""

    def verdict(scene: Scene, turn: Turn, ends: Sequence[Finished]) -> bool:
        return right

    monkeypatch.setattr(Scene, "is_right", verdict)


def test_all_steps_can_be_named() -> None:
    hint = get_type_hints(command.demo)["step"]
    assert get_args(get_args(hint)[0]) == tuple(step.name for step in STEPS)


def test_the_tour(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, True)
    run = gemma_mlx("demo")
    assert (run.code, run.err) == (0, "")
    at = 0
    for number, step in enumerate(STEPS, 1):
        at = run.out.index(f"{number}/{len(STEPS)} {step.name}: {step.happens}", at)
        for line in step.typed(samples).splitlines():
            assert f"  {line}".rstrip() in run.out[at:].splitlines()
    lines = run.out.splitlines()
    assert [line[2:] for line in lines if line.startswith("> ")] == QUESTIONS
    assert sum(bool(FIGURES.match(line)) and line.startswith("✓") for line in lines) == TURNS
    assert sum(line.startswith("picture.png: picture, read at") for line in lines) == 2
    assert sum(line.startswith(("recording.wav: ", "question.wav: ")) for line in lines) == 2
    assert f"{TURNS} of {TURNS} answers are as expected. What next:" in lines
    assert "\x1b" not in run.out


def test_wrong_answers_are_said_and_are_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, False)
    run = gemma_mlx("demo")
    assert (run.code, run.err) == (1, "")
    assert run.out.count("✗ expected: ") == TURNS
    assert "✓" not in run.out.partition("1/6")[2]
    assert f"0 of {TURNS} answers are as expected" in run.out
    assert "gemma-mlx doctor    find out what is wrong" in run.out
    assert gemma_mlx("demo", "--json", "--step", "talk").code == 1


def test_one_step() -> None:
    run = gemma_mlx("demo", "--step", "think")
    assert run.out.strip().startswith("think: ")
    assert "[thinks: " in run.out
    assert "What next" not in run.out
    wrong = gemma_mlx("demo", "--step", "walk")
    assert wrong.code == 2
    assert "'walk'" in wrong.err


def test_an_object_for_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    run = gemma_mlx("demo", "--json")
    objects = [json.loads(line) for line in run.out.splitlines()]
    assert run.err == ""
    assert [each["step"] for each in objects] == [step.name for step in STEPS]
    assert run.code == (0 if all(each["right"] for each in objects) else 1)
    for step, each in zip(STEPS, objects, strict=True):
        assert each.keys() == {"step", "right", "turns"}
        assert each["right"] is all(turn["right"] for turn in each["turns"])
        for turn, told in zip(step.turns, each["turns"], strict=True):
            assert told.keys() == {"prompt", "files", "expected", "right", "replies"}
            assert (told["prompt"] in turn.said) is bool(told["prompt"])
            assert told["expected"] == turn.expect
            *_, last = told["replies"]
            assert last["draft"]["rounds"] > 0
            assert last["timing"]["load_s"] > 0
            assert last["usage"]["cached_tokens"] >= 10 * len(told["files"])
            assert not told["right"] or last["text"] == turn.expect
    assert [each["turns"][0]["files"] for each in objects[1:4]] == [
        ["picture.png"],
        ["recording.wav"],
        ["picture.png", "question.wav"],
    ]
    judged(monkeypatch, True)
    assert gemma_mlx("demo", "--json", "--step", "look").code == 0


def test_a_call_is_shown_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that calls is followed by another one, each with its figures."""
    reply, call = Scene.reply, ToolCall("get_weather", {"city": "Paris"}, "call-1")

    def calling(scene: Scene) -> Iterator[Event]:
        yield call
        yield Finished("tool_calls", "", calls=(call,))
        yield from reply(scene)

    monkeypatch.setattr(Scene, "reply", calling)
    run = gemma_mlx("demo", "--step", "act")
    assert '[calls get_weather(city="Paris")]' in run.out
    figures = [line for line in run.out.splitlines() if " tokens/s · " in line]
    assert figures[0] == "  read 0 tokens, 0 ahead · first word 0.00 s · 0 tokens/s · no drafts"
    assert len(figures) > 1
    (told,) = json.loads(gemma_mlx("demo", "--step", "act", "--json").out)["turns"]
    assert told["replies"][0]["calls"] == [{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "call-1"}]
    assert len(told["replies"]) > 1


@pytest.mark.parametrize("fits", [True, False])
@pytest.mark.parametrize("pulled", [True, False])
def test_what_next_depends_on_the_machine(
    fits: bool, pulled: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path))
    monkeypatch.setattr(command, "large_model_fits", lambda: fits)
    if pulled:
        (tmp_path / "models" / "4bit").mkdir(parents=True)
    names = [line.split()[1] for line in command._next(True)]
    assert names == (["chat"] if pulled else ["pull", "plan"] if fits else ["plan"]) + ["doctor"]


def test_files_below_the_current_directory_are_named_from_there(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"-a {samples}/picture.png" in gemma_mlx("demo", "--step", "look").out
    monkeypatch.chdir(samples)
    assert "-a picture.png" in gemma_mlx("demo", "--step", "look").out


def test_the_pauses_are_short_and_there_are_none_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command._wait(False) is not time.sleep  # as the tests have no terminal
    waited: list[float] = []
    asked: list[bool] = []

    def wait(fast: bool) -> object:
        asked.append(fast)
        return waited.append

    monkeypatch.setattr(command, "_wait", wait)
    gemma_mlx("demo", "--fast")
    assert asked == [True]
    assert MOST_PAUSES / 2 < sum(waited) <= MOST_PAUSES


def test_at_a_terminal_nobody_waits_who_is_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert command._wait(False) is time.sleep
    assert command._wait(True) is not time.sleep


def script(samples: Path, *arguments: str) -> tuple[str, str]:
    """`python -c …` with the files of the test."""
    lines = (
        "import sys, pathlib, gemma_mlx.demo as tour",
        f"tour.samples_directory = lambda: pathlib.Path({str(samples)!r})",
        "from gemma_mlx.cli import main",
        f"sys.argv = ['gemma-mlx', 'demo', *{arguments!r}]",
        "main()",
    )
    return "-c", "\n".join(lines)


def test_80_columns_are_enough(samples: Path, tmp_path: Path) -> None:
    with Terminal(*script(samples, "--fast"), home=tmp_path) as terminal:
        status = terminal.end()
        lines = terminal.screen.text
    assert status in (0, 1)
    calls = sum(line.startswith("[calls ") for line in lines)  # each is a reply of its own
    assert len([line for line in lines if FIGURES.match(line)]) == TURNS + calls
    assert [line[2:] for line in lines if line.startswith("> ")] == QUESTIONS
    assert lines[-1].startswith("  gemma-mlx doctor ")


def test_ctrl_c_leaves(samples: Path, tmp_path: Path) -> None:
    with Terminal(*script(samples), home=tmp_path) as terminal:
        terminal.until(lambda lines: any(line.startswith("> d") for line in lines))
        terminal.type("\x03")
        assert terminal.end() == 130
        assert not any(word in "\n".join(terminal.screen.text) for word in ("Traceback", "2/6"))


def test_a_missing_file_is_one_line(samples: Path) -> None:
    (samples / "recording.wav").unlink()
    run = gemma_mlx("demo", "--step", "listen", "--json")
    assert "recording.wav" in run.fault
