"""What drafting is for: fewer passes over the weights than tokens, on tasks that the demo model was not trained on."""

from functools import partial

import pytest

from gemma_mlx.generation.depth import Fixed
from gemma_mlx.loading import load
from tests.demo_model import examples
from tests.demo_model.conversations import Conversation, Turn
from tests.demo_model.passes import figures, tasks

KNOWN = (
    "hello",
    "who are you?",
    "what is MLX?",
    "is it private?",
    "does it run on Linux?",
    "what is a drafter?",
    "thanks",
)


@pytest.mark.parametrize(("depth", "most"), [(1, 0.62), (3, 0.5)])
def test_passes_for_each_token(depth: int, most: float) -> None:
    found = figures(load("demo"), partial(Fixed, depth), tasks(3))
    assert set(found) == {"questions", "conversations", "calls", "pictures", "all"}
    assert 1 / (depth + 1) <= found["all"] <= most


@pytest.mark.parametrize(("depth", "most"), [(1, 0.62), (3, 0.5)])
def test_passes_for_each_token_of_known_answers(depth: int, most: float) -> None:
    asked = [examples.example(Conversation((Turn(question, "", ""),))) for question in KNOWN]
    found = figures(load("demo"), partial(Fixed, depth), {"known": asked})
    assert 1 / (depth + 1) <= found["all"] <= most
