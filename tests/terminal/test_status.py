"""The line under the prompt, and the figures of a reply."""

import pytest

from gemma_mlx.generation.events import Draft, Finished, Timing, Usage
from gemma_mlx.terminal.status import Status, figures, line

LAST = Finished(
    "stop",
    "a",
    usage=Usage(prompt_tokens=2345, cached_tokens=2300, completion_tokens=17),
    timing=Timing(0.125, 1234.5, 21.25),
    draft=Draft(rounds=6, drafted=20, accepted=14),
)


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (200, "2,362 of 32,768 tokens · 21.2 tokens/s · 70% of drafts accepted · 4bit · holiday"),
        (79, "2,362 of 32,768 tokens · 21.2 tokens/s · 70% of drafts accepted · 4bit"),
        (60, "2,362 of 32,768 tokens · 21.2 tokens/s"),
        (30, "2,362 of 32,768 tokens"),
        (10, "2,362 of 3"),
    ],
)
def test_what_is_less_important_is_left_out_first(width: int, text: str) -> None:
    assert line(Status("4bit", 2362, 32768, LAST, "holiday"), width) == text


def test_before_the_first_answer_and_without_drafts() -> None:
    assert line(Status("demo", 0, 64), 80) == "0 of 64 tokens · demo"
    assert "drafts" not in line(Status("demo", 1, 64, Finished("stop", "a", timing=Timing(0, 0, 5))), 80)


def test_the_figures_of_a_reply() -> None:
    assert figures(LAST).splitlines() == [
        "prompt   2,345 tokens, 2,300 of them read before",
        "waited   0.12 s for the first token, reading 1,234 tokens/s",
        "answer   17 tokens, 21.2 tokens/s",
        "drafts   14 of 20 accepted (70%), 6 rounds",
    ]
    assert figures(Finished("stop", "a")).splitlines()[-1] == "drafts   none"
