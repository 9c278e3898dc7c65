"""Greedy generation far past the window, token for token.

Every generated id must be the most probable one after those before it. A full pass of the reference over prompt and
ids says so for all of them at once, which is the same as a full pass for each: text is causal (see `test_reference`).
"""

import numpy as np
import pytest

from gemma_mlx.generation.loop import DecodeOptions, decode
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.model.cache import Caches
from tests.parity import ours
from tests.parity.cases import random_prompt
from tests.parity.conftest import Pair
from tests.parity.reference import reference_logits

NEW_TOKENS = 200


@pytest.mark.parametrize("kind", ["short", "mixture"])
def test_greedy_ids(pair: Pair, kind: str) -> None:
    prompt = random_prompt(pair.shape, kind, np.random.default_rng(30))
    caches = Caches(pair.model.config.text_config)
    hidden = ours.read(pair.model, prompt, caches)[:, -1:]
    tokens = decode(pair.model, hidden, caches, DecodeOptions(Sampler(temperature=0), NEW_TOKENS))
    ids = [token.id for token in tokens]
    assert len(ids) == NEW_TOKENS > 10 * pair.shape.window
    expected = reference_logits(pair.target, prompt, ids).logits[prompt.n_tokens - 1 : -1].argmax(-1)
    assert ids == expected.tolist()
