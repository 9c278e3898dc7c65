"""Drafts of whole rounds against the reference's assistant, greedy, from the same state: equal ids.

The drafts are those that speculative decoding reads, in the states that it leaves behind; the reference starts each
round from one full pass over the prompt and all tokens before.
"""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import pytest
import torch

from gemma_mlx.generation import speculative
from gemma_mlx.generation.depth import Fixed
from gemma_mlx.generation.loop import DecodeOptions, Step, Steps, decode
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting, Drafts, DraftStep, decode_speculative, propose
from gemma_mlx.model.cache import Caches
from tests.parity import ours
from tests.parity.cases import random_prompt
from tests.parity.conftest import Pair
from tests.parity.reference import Reference, assistant_step, cut, reference_logits, scaled_embedding
from tests.parity.shapes import AUDIO, IMAGE, VIDEO

NEW_TOKENS, ALL_COUNTS = 12, 20  # as many as it takes to accept each number of drafts
PLACEHOLDERS = (IMAGE, AUDIO, VIDEO)  # the reference counts them as media wherever they stand


def reference_drafts(
    pair: Pair, whole: Reference, position: int, newest: int, depth: int, suppressed: Sequence[int]
) -> list[int]:
    """What the assistant proposes after `newest`, the token at `position`, which the target has not read."""
    shared, drafts = cut(whole.shared, position), [newest]
    state = torch.from_numpy(whole.hidden[None, position - 1 : position])
    for _ in range(depth):
        logits, state = assistant_step(
            pair.assistant, scaled_embedding(pair.target, drafts[-1]), state, shared, position
        )
        logits[list(suppressed)] = -torch.inf
        drafts.append(int(logits.argmax()))
    return drafts[1:]


@pytest.mark.parametrize(
    ("kind", "depth", "suppress"), [("short", 1, True), ("text", 3, False), ("mixture", 8, False), ("mixture", 2, True)]
)
def test_drafts_of_every_round(
    pair: Pair, kind: str, depth: int, suppress: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[tuple[int, Drafts]] = []

    def noted(steps: Steps, drafter: DraftStep, newest: Step, depth: int) -> Drafts:
        drafts = propose(steps, drafter, newest, depth)
        rounds.append((steps.caches.offset, drafts))
        return drafts

    monkeypatch.setattr(speculative, "propose", noted)
    suppressed = (*PLACEHOLDERS, *(range(0, pair.shape.vocab, 3) if suppress else ()))
    prompt = random_prompt(pair.shape, kind, np.random.default_rng([50, depth]))
    caches = Caches(pair.model.config.text_config)
    hidden = ours.read(pair.model, prompt, caches)[:, -1:]
    options = DecodeOptions(Sampler(temperature=0, suppress_tokens=suppressed), NEW_TOKENS)
    tokens = decode_speculative(pair.model, hidden, caches, options, Drafting(pair.drafter, Fixed(depth)))
    ids = [token.id for token in tokens]
    whole = reference_logits(pair.target, prompt, ids)
    assert len(rounds) > 2
    for position, drafts in rounds:
        found = np.array(drafts.ids)[0].tolist()
        newest = ids[position - prompt.n_tokens]
        assert found == reference_drafts(pair, whole, position, newest, len(found), suppressed), position


@pytest.mark.parametrize("kind", ["short", "mixture"])
def test_drafts_after_accepted_ones(pair: Pair, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is partly right, so that a state comes from each slot of a block; the drafts stay the network's."""
    prompt = random_prompt(pair.shape, kind, np.random.default_rng(51))
    options, depth = DecodeOptions(Sampler(temperature=0, suppress_tokens=PLACEHOLDERS), ALL_COUNTS), 4
    caches = Caches(pair.model.config.text_config)
    ids = [token.id for token in decode(pair.model, ours.read(pair.model, prompt, caches)[:, -1:], caches, options)]
    rounds: list[tuple[int, Drafts]] = []
    accepted: set[int] = set()

    def mended(steps: Steps, drafter: DraftStep, newest: Step, depth: int) -> Drafts:
        position = steps.caches.offset
        rounds.append((position, propose(steps, drafter, newest, depth)))
        right, at = len(rounds) % (depth + 1), position - prompt.n_tokens + 1
        accepted.add(right)
        return Drafts(mx.array([ids[at : at + right] + [0] * (depth - right)], mx.uint32), None)

    monkeypatch.setattr(speculative, "propose", mended)
    caches = Caches(pair.model.config.text_config)
    hidden = ours.read(pair.model, prompt, caches)[:, -1:]
    tokens = decode_speculative(pair.model, hidden, caches, options, Drafting(pair.drafter, Fixed(depth)))
    assert [token.id for token in tokens] == ids
    assert accepted == set(range(depth + 1))
    whole = reference_logits(pair.target, prompt, ids)
    for position, drafts in rounds:
        found = np.array(drafts.ids)[0].tolist()
        newest = ids[position - prompt.n_tokens]
        assert found == reference_drafts(pair, whole, position, newest, len(found), PLACEHOLDERS), position
