"""Logits and hidden states of every position against the reference, whatever the prompt and wherever it is cut."""

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import torch

from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.loading import load_model
from gemma_mlx.model.cache import Caches
from tests.parity import ours
from tests.parity.cases import random_case, random_prompt, text
from tests.parity.checkpoints import save_again, save_published
from tests.parity.conftest import Close, Pair
from tests.parity.reference import Reference, build_target, reference_logits

CASES = 14  # of each shape: twice through all kinds of prompt


def check(close: Close, pair: Pair, hidden: mx.array, expected: Reference) -> None:
    logits = ours.array(pair.model.logits(hidden))
    close("hidden states", ours.array(hidden), expected.hidden)
    close("logits", logits, expected.logits)
    np.testing.assert_array_equal(logits.argmax(-1), expected.logits.argmax(-1))


@pytest.mark.parametrize("seed", range(CASES))
def test_every_position(pair: Pair, close: Close, seed: int) -> None:
    case = random_case(pair.shape, seed)
    expected = reference_logits(pair.target, case.prompt)
    for cuts in ((), case.cuts):
        caches = Caches(pair.model.config.text_config)
        check(close, pair, ours.read(pair.model, case.prompt, caches, cuts), expected)
        assert caches.offset == case.prompt.n_tokens


@pytest.mark.parametrize("kind", ["short", "wide_picture", "mixture"])
def test_token_by_token_for_three_windows(pair: Pair, close: Close, kind: str) -> None:
    rng = np.random.default_rng(20)
    prompt = random_prompt(pair.shape, kind, rng)
    following = text(pair.shape, 3 * pair.shape.window + 1, rng).ids.tolist()
    caches = Caches(pair.model.config.text_config)
    hidden = [ours.read(pair.model, prompt, caches)]
    hidden += [ours.step(pair.model, [token], caches) for token in following]
    check(close, pair, mx.concatenate(hidden, axis=1), reference_logits(pair.target, prompt, following))


def test_after_going_back(pair: Pair, close: Close) -> None:
    """Tokens read, taken back and replaced, past the window, leave no trace."""
    rng = np.random.default_rng(21)
    prompt = random_prompt(pair.shape, "mixture", rng)
    caches = Caches(pair.model.config.text_config)
    hidden, kept = [ours.read(pair.model, prompt, caches)], []
    for wrong in (1, 5, pair.shape.window + 1, caches.slack):
        ours.step(pair.model, text(pair.shape, wrong, rng).ids.tolist(), caches)
        caches.trim(wrong)
        right = text(pair.shape, 7, rng).ids.tolist()
        hidden.append(ours.step(pair.model, right, caches))
        kept += right
    check(close, pair, mx.concatenate(hidden, axis=1), reference_logits(pair.target, prompt, kept))


@pytest.mark.parametrize("layout", ["sharded", "saved_again"])
def test_other_layouts_are_the_same_model(pair: Pair, directory: Path, layout: str) -> None:
    if layout == "sharded":
        save_published(pair.target, pair.config, directory, shards=3)
    else:
        save_again(pair.target, directory)
    prompt = random_case(pair.shape, 6).prompt
    models = (pair.model, load_model(directory, dtype="float32"))
    first, second = (ours.read(model, prompt, Caches(model.config.text_config)) for model in models)
    assert mx.array_equal(first, second)


def test_embedding_scale_of_a_bfloat16_checkpoint(pair: Pair, close: Close, directory: Path) -> None:
    """Stored as bfloat16, √hidden is rounded to it too, in whatever precision the model then computes."""
    target = build_target(pair.config, seed=4)
    scale = target.get_input_embeddings().embed_scale
    for tensor in [*target.state_dict().values(), scale]:
        tensor.copy_(tensor.bfloat16())
    save_published(target, pair.config, directory, dtype=torch.bfloat16)
    model = load_model(directory, dtype="float32")
    prompt = Prompt((text(pair.shape, 20, np.random.default_rng(5)),))
    hidden = ours.read(model, prompt, Caches(model.config.text_config))
    close(
        "logits, weights stored as bfloat16", ours.array(model.logits(hidden)), reference_logits(target, prompt).logits
    )


def test_text_only_checkpoint(pair: Pair, close: Close, directory: Path) -> None:
    """Without a vision and an audio section there are no embedders, and the text is read alike."""
    config = pair.config | {"vision_config": None, "audio_config": None}
    target = build_target(config, seed=6)
    save_published(target, config, directory)
    assert json.loads((directory / "config.json").read_text())["vision_config"] is None
    model = load_model(directory, dtype="float32")
    prompt = Prompt((text(pair.shape, 2 * pair.shape.window, np.random.default_rng(7)),))
    hidden = ours.read(model, prompt, Caches(model.config.text_config))
    close("logits, text only", ours.array(model.logits(hidden)), reference_logits(target, prompt).logits)
