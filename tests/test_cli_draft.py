"""`--draft` and `--draft-depth` as a person types them: the answer is the same, what drafting came to is told."""

import json
from typing import Any

import pytest

from gemma_mlx.models import find_model
from tests.command import gemma_mlx

ASSISTANT = find_model("demo").with_name("demo-assistant")


def ask(*options: str) -> dict[str, Any]:
    run = gemma_mlx("ask", "hello", "--temperature", "0", "--dtype", "float32", "--json", *options)
    assert run.code == 0, run
    found: dict[str, Any] = json.loads(run.out)
    return found


def test_every_depth_gives_the_answer_without_drafter() -> None:
    plain = ask("--draft", "off")
    assert plain["draft"] == {"rounds": 0, "drafted": 0, "accepted": 0}
    auto, none, four, named = (
        ask(),
        ask("--draft-depth", "0"),
        ask("--draft-depth", "4"),
        ask("--draft", str(ASSISTANT), "--draft-depth", "8"),
    )
    for other in (auto, none, four, named):
        assert other["tokens"] == plain["tokens"]
        assert other["text"] == plain["text"]
        assert other["memory"]["weights_bytes"] > plain["memory"]["weights_bytes"]
    assert none["draft"] == plain["draft"]
    for drafted in (four["draft"], named["draft"]):
        assert 0 < drafted["accepted"] <= drafted["drafted"]
        assert 0 < drafted["rounds"] < len(plain["tokens"])
    assert four["draft"]["drafted"] <= 4 * four["draft"]["rounds"]


@pytest.mark.parametrize("depth", ["9", "-1", "many", ""])
def test_a_depth_that_is_none(depth: str) -> None:
    run = gemma_mlx("ask", "hello", "--draft-depth", depth)
    assert run.code == 2
    assert "'--draft-depth': expected auto or a whole number from 0 to 8" in run.err


def test_a_drafter_that_is_none() -> None:
    assert "nowhere is no directory" in gemma_mlx("ask", "hello", "--draft", "nowhere").fault
    assert "demo" in gemma_mlx("ask", "hello", "--draft", "demo").fault
