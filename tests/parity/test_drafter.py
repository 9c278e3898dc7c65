"""Drafts against the reference's assistant, at every distance from the window and after rollbacks."""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import pytest
import torch

from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.model import cache
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.drafter import target_memory
from tests.parity import ours
from tests.parity.cases import random_prompt, text
from tests.parity.conftest import Close, Pair
from tests.parity.reference import Reference, assistant_step, cut, reference_logits, scaled_embedding

DEPTH = 4


def check_round(close: Close, pair: Pair, caches: Caches, hidden: mx.array, expected: Reference) -> None:
    """Draft from the caches' end; `hidden` (1, 1, hidden): the state of its last position."""
    position = caches.offset
    memory, shared = target_memory(caches), cut(expected.shared, position)
    state = torch.from_numpy(expected.hidden[None, position - 1 : position])
    token = int(expected.logits[position - 1].argmax())
    for _ in range(DEPTH):
        logits, hidden = pair.drafter(pair.model.embed_text(mx.array([[token]])), hidden, memory)
        embedding = scaled_embedding(pair.target, token)
        expected_logits, state = assistant_step(pair.assistant, embedding, state, shared, position)
        close("drafter logits", ours.array(logits)[0], expected_logits.numpy())
        close("drafter hidden states", ours.array(hidden), state[0].numpy())
        token = int(expected_logits.argmax())
        assert int(logits.argmax()) == token


@pytest.mark.parametrize("beyond", [-2, -1, 0, 1, 2, 3, 40])
def test_around_the_window(pair: Pair, close: Close, beyond: int) -> None:
    prompt = Prompt((text(pair.shape, pair.shape.window + beyond, np.random.default_rng(40)),))
    caches = Caches(pair.model.config.text_config)
    hidden = ours.read(pair.model, prompt, caches)
    check_round(close, pair, caches, hidden[:, -1:], reference_logits(pair.target, prompt))


@pytest.mark.parametrize("kind", ["short", "wide_picture", "sound", "mixture"])
def test_after_media_and_decoding(pair: Pair, close: Close, kind: str) -> None:
    rng = np.random.default_rng(41)
    prompt = random_prompt(pair.shape, kind, rng)
    following = text(pair.shape, pair.shape.window + 4, rng).ids.tolist()
    expected = reference_logits(pair.target, prompt, following)
    caches = Caches(pair.model.config.text_config)
    hidden = ours.read(pair.model, prompt, caches)
    for token in following:
        check_round(close, pair, caches, hidden[:, -1:], expected)
        hidden = ours.step(pair.model, [token], caches)


@pytest.mark.parametrize("blocks", [(2, 3, 4, 5), (5, 1, 17, 2), (64,), (30, 34)], ids=str)
def test_after_rollbacks(pair: Pair, close: Close, blocks: Sequence[int]) -> None:
    """Blocks of drafts are read and all but their first token is taken back; nothing of the rest may be visible."""
    rng = np.random.default_rng(42)
    prompt = random_prompt(pair.shape, "mixture", rng)
    kept: list[int] = text(pair.shape, len(blocks), rng).ids.tolist()
    expected = reference_logits(pair.target, prompt, kept)
    caches = Caches(pair.model.config.text_config)
    ours.read(pair.model, prompt, caches)
    for first, length in zip(kept, blocks, strict=True):
        rejected = text(pair.shape, length, rng).ids.tolist()
        hidden = ours.step(pair.model, [first, *rejected], caches)
        caches.trim(length)
        check_round(close, pair, caches, hidden[:, :1], expected)


@pytest.mark.parametrize("slack", [0, 1, 5])
def test_after_the_longest_way_back(pair: Pair, close: Close, slack: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far back as the caches allow; the drafter then still sees every row that it would have seen."""
    monkeypatch.setattr(cache, "STEP", 1)  # room for one token: the second makes the caches drop rows
    rng = np.random.default_rng(43)
    prompt = Prompt((text(pair.shape, 4 * pair.shape.window, rng),))
    following = text(pair.shape, 2, rng).ids.tolist()
    expected = reference_logits(pair.target, prompt, following)
    caches = Caches(pair.model.config.text_config, slack)
    hidden = ours.read(pair.model, prompt, caches)
    hidden = mx.concatenate([hidden, *(ours.step(pair.model, [token], caches) for token in following)], axis=1)
    assert slack <= caches.trimmable <= slack + len(following)
    caches.trim(caches.trimmable)
    check_round(close, pair, caches, hidden[:, caches.offset - 1 : caches.offset], expected)
