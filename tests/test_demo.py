"""The steps of the tour: what is read ahead, what a person is told to type, what counts as right.

All but the last test hold whatever the model answers; their files are a picture, and hums, without anything in them.
"""

import io
import shlex
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.demo import STEPS, Sample, Scene, Step, Turn, get_weather, samples_directory
from gemma_mlx.generation.events import Event, Finished, Notice, TextDelta
from gemma_mlx.inputs.message import Audio, Image, Text, ToolCall
from gemma_mlx.tools.declaration import Tool
from tests.chats import demo, notices, saying
from tests.command import gemma_mlx, hum, png, write_wav

BY_NAME = {step.name: step for step in STEPS}
CALL = ToolCall("get_weather", {"city": "Paris"}, "call-1")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the names of the bundled ones, in a place whose name has a space."""
    directory = tmp_path_factory.mktemp("some samples")
    (directory / "picture.png").write_bytes(png(480, 336))
    write_wav(directory / "recording.wav", hum(1.0))
    write_wav(directory / "question.wav", hum(0.6))
    return directory


def play(step: Step, samples: Path) -> list[tuple[Turn, list[Finished], Scene]]:
    """All turns of a step in one scene, each with the ends of its replies."""
    scene = Scene(demo(), step, samples)
    return [(turn, ends(scene, turn), scene) for turn in step.turns]


def ends(scene: Scene, turn: Turn) -> list[Finished]:
    for said in turn.said:
        scene.say(said)
    return [event for event in scene.reply() if isinstance(event, Finished)]


def test_pictures_go_before_what_is_typed_and_sound_after_it(samples: Path) -> None:
    kinds = {"picture.png": 0, "recording.wav": 2, "question.wav": 2}
    for step in STEPS:
        for turn in step.turns:
            order = [kinds[said.name] if isinstance(said, Sample) else 1 for said in turn.said]
            assert order == sorted(order)
    scene = Scene(demo(), BY_NAME["both"], samples)
    parts = [scene.say(Sample("picture.png")), scene.say("what?"), scene.say(Sample("question.wav"))]
    assert [type(part) for part in parts] == [Image, Text, Audio]
    assert scene.chat.pending == tuple(parts)


@pytest.mark.parametrize("name", ["look", "listen", "both"])
def test_files_are_read_before_the_reply_is_asked_for(name: str, samples: Path) -> None:
    ((turn, (end,), _),) = play(BY_NAME[name], samples)
    media = end.usage.image_tokens + end.usage.audio_tokens
    assert media > 10
    assert (end.usage.image_tokens > 0) == (Sample("picture.png") in turn.said)
    assert end.usage.cached_tokens > media
    assert end.usage.prompt_tokens - end.usage.cached_tokens < 30


def test_an_answer_is_settled_before_the_next_question(samples: Path) -> None:
    (_, (first,), _), (_, (second,), _) = play(BY_NAME["talk"], samples)
    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens >= first.usage.prompt_tokens - 5 + first.usage.completion_tokens


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_drafts_are_made_in_each_round(step: Step, samples: Path) -> None:
    assert all(end.draft.rounds > 0 for _, found, _ in play(step, samples) for end in found)


def test_a_thought_is_a_notice_and_comes_first(samples: Path) -> None:
    scene = Scene(demo(), BY_NAME["think"], samples)
    assert scene.chat.enable_thinking
    assert not Scene(demo(), BY_NAME["talk"], samples).chat.enable_thinking
    scene.say("what is a drafter?")
    with saying(scene.chat, "<|channel>thought\nHm, so.\n<channel|>A small model.<turn|>"):
        first, *events, end = scene.reply()
    assert first == Notice("thinks: Hm, so.")
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "A small model."
    assert isinstance(end, Finished)
    assert end.thinking == "Hm, so."


def test_a_function_is_run_and_what_it_returned_is_a_notice(samples: Path) -> None:
    step = BY_NAME["act"]
    (turn,) = step.turns
    scene, events = Scene(demo(), step, samples), list[Event]()
    scene.say("what is the weather in Paris?")
    replies = scene.reply()
    with saying(scene.chat, '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|><|tool_response>'):
        events += [next(replies), next(replies)]
    with saying(scene.chat, f"{turn.expect}<turn|>"):
        events += replies
    assert events[0] == CALL
    assert notices(events) == ['returns {"degrees": 21, "sky": "sunny"}']
    assert scene.is_right(turn, [event for event in events if isinstance(event, Finished)])


def test_what_a_function_cannot_do_is_told(samples: Path) -> None:
    scene = Scene(demo(), BY_NAME["act"], samples)
    scene.say("what is the weather in Paris?")
    replies = scene.reply()
    with saying(scene.chat, "<|tool_call>call:get_weather{}<tool_call|><|tool_response>"):
        events = [next(replies), next(replies)]
    with saying(scene.chat, "No.<turn|>"):
        events += replies
    assert notices(events) == ["returns get_weather was not run: city is missing"]


@pytest.mark.parametrize(
    ("name", "found", "right"),
    [
        ("look", [Finished("stop", 'It says "E404".')], True),
        ("look", [Finished("stop", 'It says "E405".')], False),
        ("look", [Finished("stop", 'It says "E404".', "Hm.")], False),
        ("look", [], False),
        ("think", [Finished("stop", BY_NAME["think"].turns[0].expect, "Hm.")], True),
        ("think", [Finished("stop", BY_NAME["think"].turns[0].expect)], False),
        ("act", [Finished("stop", BY_NAME["act"].turns[0].expect)], False),
        ("act", [Finished("tool_calls", "", calls=(CALL,)), Finished("stop", BY_NAME["act"].turns[0].expect)], True),
        ("act", [Finished("tool_calls", "", calls=(CALL,)), Finished("stop", "It is hot.")], False),
        (
            "act",
            [
                Finished("tool_calls", "", calls=(replace(CALL, name="get_time"),)),
                Finished("stop", BY_NAME["act"].turns[0].expect),
            ],
            False,
        ),
    ],
)
def test_what_is_right(name: str, found: Sequence[Finished], right: bool, samples: Path) -> None:
    scene = Scene(demo(), BY_NAME[name], samples)
    assert scene.is_right(scene.step.turns[0], found) is right


def typed_answers(typed: str) -> list[str]:
    """What is answered to somebody who types this, a line each."""
    if not typed.startswith("gemma-mlx"):
        with redirect_stdout(io.StringIO()) as out:
            exec(typed, {})  # what the tour tells people to type
        return out.getvalue().splitlines()
    command, *lines = typed.splitlines()
    assert all(line.startswith("> ") for line in lines)
    run = gemma_mlx(*shlex.split(command)[1:], stdin="".join(f"{line[2:]}\n" for line in lines).encode())
    assert run.code == 0, run
    return run.out.splitlines()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_what_a_person_is_told_to_type_gives_the_answers_of_the_tour(step: Step, samples: Path) -> None:
    typed = step.typed(samples)
    assert "SAMPLES" not in typed
    for turn in step.turns:
        for said in turn.said:
            assert (str(samples / said.name) if isinstance(said, Sample) else said) in typed
    assert typed_answers(typed) == [found[-1].text for _, found, _ in play(step, samples)]


def test_the_function_to_type_is_the_one_that_is_run(samples: Path) -> None:
    names: dict[str, Any] = {}
    definition = BY_NAME["act"].typed(samples).partition("\nchat =")[0]
    exec(definition, names)
    written = names["get_weather"]
    assert isinstance(written, Tool)
    assert written.declaration == get_weather.declaration
    assert written(city="Paris") == get_weather(city="Paris")


# --- The answers themselves: what follows fails with any other model or other bundled files than the demo's own. ---


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_the_demo_model_answers_what_the_tour_expects(step: Step) -> None:
    for turn, found, scene in play(step, samples_directory()):
        assert found[-1].text == turn.expect
        assert scene.is_right(turn, found)
