"""Replaying recordings, against forward passes that read everything again; and what is made of the result."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from gemma_mlx.doctor import golden
from gemma_mlx.doctor.golden import Case, Golden, Replayed
from gemma_mlx.errors import ConfigError
from gemma_mlx.inputs.message import Message
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.loading import Gemma, load, prepare
from gemma_mlx.models import find_model
from tests.doctor import recordings


@pytest.fixture(scope="module")
def gemma() -> Gemma:
    return load("demo")


@pytest.fixture(scope="module")
def recorded(gemma: Gemma, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    cases = [recordings.case(gemma, question) for question in recordings.QUESTIONS]
    return golden.read_golden(recordings.write(tmp_path_factory.mktemp("golden") / "golden.json", gemma, cases))


def test_the_model_agrees_with_its_own_recordings(gemma: Gemma, recorded: Golden) -> None:
    for case in recorded.cases:
        replayed = golden.replay(gemma, case)
        assert replayed.chosen == case.output
        assert replayed.same_prompt
        assert replayed.first_difference is None
        assert (
            golden.of_case(replayed, gemma.tokenizer.decode).text
            == f"{recordings.LENGTH} of {recordings.LENGTH} tokens"
        )


@pytest.mark.parametrize("seed", range(8))
def test_every_choice_is_made_after_the_recorded_tokens(gemma: Gemma, recorded: Golden, seed: int) -> None:
    """Recordings of other tokens, at random places and at both ends: one difference costs one token."""
    rng = random.Random(seed)
    case = rng.choice(recorded.cases)
    output = list(case.output)
    places = {0, len(output) - 1} if seed == 0 else set(rng.sample(range(len(output)), rng.randrange(len(output) + 1)))
    for place in places:
        output[place] = rng.randrange(300, 900)
    replayed = golden.replay(gemma, replace(case, output=tuple(output)))
    assert list(replayed.chosen) == recordings.choices(gemma, list(case.prompt), output)
    assert replayed.agreeing == sum(a == b for a, b in zip(replayed.chosen, output, strict=True))


def test_a_recording_of_one_token(gemma: Gemma, recorded: Golden) -> None:
    case = recorded.cases[0]
    assert golden.replay(gemma, replace(case, output=case.output[:1])).chosen == case.output[:1]


def test_suppressed_tokens_are_not_chosen(gemma: Gemma, recorded: Golden) -> None:
    case = recorded.cases[0]
    muted = replace(gemma, sampler=replace(gemma.sampler, suppress_tokens=(case.output[0],)))
    replayed = golden.replay(muted, case)
    assert replayed.first_difference == 0
    assert list(replayed.chosen) == recordings.choices(muted, list(case.prompt), list(case.output))


def test_another_template_is_found(gemma: Gemma, recorded: Golden) -> None:
    case = recorded.cases[0]
    replayed = golden.replay(gemma, replace(case, messages=(Message.of("user", "hullo"),)))
    assert replayed.agreeing == len(case.output)
    found = golden.of_case(replayed, gemma.tokenizer.decode)
    assert found.state == "fix"
    assert "template" in found.advice
    assert not golden.replay(gemma, replace(case, enable_thinking=True)).same_prompt


def a_case(count: int) -> Case:
    return Case("some_case", (), False, (2,), tuple(range(count)))


def replayed(agreeing: int, count: int = 100) -> Replayed:
    case = a_case(count)
    return Replayed(case, case.output[:agreeing] + (-1,) * (count - agreeing), True)


@pytest.mark.parametrize(
    ("agreeing", "state"),
    [(100, "ok"), (85, "ok"), (84, "warning"), (50, "warning"), (49, "fix"), (0, "fix")],
)
def test_verdict(agreeing: int, state: str) -> None:
    found = golden.verdict(Golden("that checkpoint", 1, ()), [replayed(agreeing)])
    assert found.state == state
    assert f"{agreeing} of 100" in found.text
    assert "that checkpoint" in found.text


def test_the_verdict_counts_tokens_of_all_cases() -> None:
    found = golden.verdict(Golden("x", 1, ()), [replayed(2, 2), replayed(0, 2), replayed(4, 4)])
    assert "6 of 8 tokens agree (75%), 2 of 3 answers wholly" in found.text


def test_the_first_difference_is_named() -> None:
    found = golden.of_case(replayed(3, 5), lambda ids: f"\n{ids[0]}")
    assert found.state == "ok"
    assert found.text == "3 of 5 tokens, token 4 is '\\n-1' (-1) instead of '\\n3' (3)"


def test_another_vocabulary_is_refused_before_loading() -> None:
    with pytest.raises(ConfigError, match="vocabulary of 2048 tokens, the golden prompts one of 262144"):
        golden.refuse_other_vocabulary(golden.read_golden(), prepare("demo"))


def test_the_shipped_recordings_are_whole() -> None:
    shipped = golden.read_golden()
    raw = json.loads(golden.GOLDEN.read_text(encoding="utf-8"))
    assert (len(shipped.cases), sum(len(case.output) for case in shipped.cases)) == (12, 131)
    assert "Apache-2.0" in raw["source"]
    assert "NVFP4" in shipped.checkpoint
    for case, entry in zip(shipped.cases, raw["cases"], strict=True):
        assert case.prompt[:2] == (2, 105)  # <bos><|turn>
        assert (case.output[-1] == 106) == (entry["finish_reason"] == "stop")  # <turn|>
        assert max(*case.prompt, *case.output) < shipped.vocab_size
        assert case.messages[-1].role == "user"
    assert Path(golden.GOLDEN).is_relative_to(Path(golden.__file__).parents[1] / "assets")


def test_the_template_renders_the_recorded_prompts() -> None:
    """The demo's template is the published one's shape; ids follow from text only with the 12B's own tokenizer."""
    template = ChatTemplate.load(find_model("demo"))
    for entry in json.loads(golden.GOLDEN.read_text(encoding="utf-8"))["cases"]:
        rendered = template.render(entry["messages"], enable_thinking=entry["enable_thinking"])
        assert rendered == entry["rendered_prompt"], entry["id"]
