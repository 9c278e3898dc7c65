"""A conversation under a budget: what does not fit is not begun, and nothing is lost."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.chat import Chat
from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.generation.events import Finished, TextDelta
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Image
from gemma_mlx.loading import Gemma, LoadOptions, load
from gemma_mlx.memory.guard import Guard

GREEDY = Sampler(temperature=0)


@pytest.fixture(scope="module")
def gemma() -> Gemma:
    return load("demo", LoadOptions(dtype="float32"))


@pytest.fixture(autouse=True)
def _no_reuse() -> Iterator[None]:
    limit = mx.set_cache_limit(0)
    yield
    mx.set_cache_limit(limit)


def _needed(gemma: Gemma, positions: int, piece: int) -> int:
    """The limit of a plan that just admits the pass, with nothing else in the process."""
    low, high = 0, 2**40
    while low < high:
        middle = (low + high) // 2
        try:
            Guard(gemma.sizes, replace(gemma.plan, limit=middle), lambda: 0).admit(positions, piece)
            high = middle
        except MemoryPlanError:
            low = middle + 1
    return low


def _limited(gemma: Gemma, limit: int) -> Gemma:
    """The model under a plan of so many bytes, beside what this process holds for other tests."""
    foreign = max(0, mx.get_active_memory() - gemma.weights_bytes)
    return replace(gemma, plan=replace(gemma.plan, limit=limit + foreign))


def test_needs_grow_with_positions_and_pieces(gemma: Gemma) -> None:
    assert _needed(gemma, 100, 10) < _needed(gemma, 10_000, 10) < _needed(gemma, 10_000, 500)


def test_what_others_hold_counts(gemma: Gemma) -> None:
    limit = _needed(gemma, 1000, 100)
    guard = Guard(gemma.sizes, replace(gemma.plan, limit=limit), lambda: 0)
    guard.admit(1000, 100)
    with pytest.raises(MemoryPlanError, match=r"1,000 tokens need .* are allowed: start a new conversation"):
        replace(guard, foreign=lambda: 1).admit(1000, 100)


def test_a_prompt_that_does_not_fit_is_not_read(gemma: Gemma) -> None:
    chat = Chat(_limited(gemma, _needed(gemma, 250, 250)))
    chat.pending = (Image("large.png", np.zeros((672, 912, 3), np.uint8)),)
    with pytest.raises(MemoryPlanError):
        list(chat.reply("what do you see?", GREEDY))
    assert chat.history == []
    assert len(chat.pending) == 1
    assert chat.context.keys == []


def _until(most: int) -> Callable[[int, int], None]:
    """Admits so many positions."""

    def admit(positions: int, piece: int) -> None:
        if positions > most:
            raise MemoryPlanError("full")

    return admit


def test_an_answer_is_kept_as_far_as_memory_went(gemma: Gemma, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemma_mlx.context.STEP", 4)
    whole = list(Chat(gemma).reply("hello", GREEDY))[-1]
    assert isinstance(whole, Finished)
    chat = Chat(gemma)
    chat.context.admit = _until(whole.usage.prompt_tokens + 9)
    *deltas, finished = chat.reply("hello", GREEDY)
    assert isinstance(finished, Finished)
    assert finished.reason == "memory"
    assert finished.tokens == whole.tokens[:8]
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == finished.text
    assert whole.text.startswith(finished.text)
    assert chat.history[-1].text == finished.text
