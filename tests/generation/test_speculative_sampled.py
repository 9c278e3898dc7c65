"""The whole loop, sampled: what follows each token is distributed as the plain loop's exact probabilities say."""

from dataclasses import replace
from itertools import pairwise

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from gemma_mlx.generation.depth import Depths, Fixed
from gemma_mlx.generation.loop import DecodeOptions, decode
from gemma_mlx.generation.sampling import Sampler, suppression
from gemma_mlx.generation.speculative import Drafting, decode_speculative
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.drafter import TargetMemory
from gemma_mlx.model.gemma import GemmaModel
from tests import tiny
from tests.generation.chi_square import p_value
from tests.generation.drafters import Changing

VOCAB, TOKENS, PROMPT = 6, 900, (3, 1, 4)
LAYERS = ["sliding_attention", "full_attention"]


def _table(seed: int) -> mx.array:
    return mx.array(np.random.default_rng(seed).normal(0, 1.2, (VOCAB, VOCAB)).astype(np.float32))


class Chain(GemmaModel):
    """A target for which only the token before counts: its embeddings and states are one-hot rows."""

    def __init__(self, table: mx.array) -> None:
        super().__init__(tiny.config(num_hidden_layers=len(LAYERS), layer_types=LAYERS, vocab_size=VOCAB))
        self._table = table

    def embed_text(self, ids: mx.array) -> mx.array:
        return mx.eye(VOCAB)[ids]

    def __call__(self, embeddings: mx.array, caches: Caches, blocks: object = (), *, last: bool = False) -> mx.array:
        nothing = mx.zeros((1, 1, embeddings.shape[1], 1))
        for layer in caches.layers:
            layer.append(nothing, nothing)
        return embeddings

    def logits(self, hidden: mx.array) -> mx.array:
        return hidden @ self._table


class ChainDrafter:
    """Its drafter: another table."""

    def __init__(self, table: mx.array) -> None:
        self._table = table

    def __call__(
        self, embedding: mx.array, hidden: mx.array, memory: dict[str, TargetMemory]
    ) -> tuple[mx.array, mx.array]:
        return embedding @ self._table, hidden


TARGET = Chain(_table(0))
DRAFTERS = {"another": _table(1), "the_target": _table(0), "opposite": -_table(0)}


def _read() -> tuple[mx.array, Caches]:
    caches = Caches(TARGET.config.text_config)
    return TARGET(TARGET.embed_text(mx.array([PROMPT])), caches)[:, -1:], caches


def _agreement(sampler: Sampler, ids: list[int]) -> float:
    """Each token's followers are draws from one row of the table."""
    bias = suppression(sampler.suppress_tokens, VOCAB)
    logits = _table(0)[None] if bias is None else _table(0)[None] + bias
    exact: NDArray[np.float64] = np.array(mx.softmax(sampler.filtered(logits), axis=-1)[0], np.float64)
    counts = np.zeros((VOCAB, VOCAB), np.int64)
    np.add.at(counts, ([PROMPT[-1], *ids[:-1]], ids), 1)
    assert counts.sum() == TOKENS
    return p_value(counts, exact / exact.sum(-1, keepdims=True))


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn without a seed, the same in every run of this test."""
    monkeypatch.setattr("gemma_mlx.generation.loop.secrets.randbits", lambda bits: 1)


@pytest.mark.usefixtures("chance")
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(
    ("sampler", "drafter", "depths"),
    [
        (Sampler(1.0), "another", Fixed(1)),
        (Sampler(1.0), "another", Fixed(3)),
        (Sampler(1.0), "the_target", Fixed(3)),
        (Sampler(2.0, top_k=3), "opposite", Fixed(2)),
        (Sampler(0.8, top_p=0.9, min_p=0.05, suppress_tokens=(2,)), "another", Changing(0)),
    ],
    ids=["depth 1", "depth 3", "drafter = target", "opposite", "changing"],
)
def test_followers_are_distributed_as_the_targets_own(
    sampler: Sampler, drafter: str, depths: Depths, seed: int | None
) -> None:
    sampler = replace(sampler, seed=seed)
    drafting = Drafting(ChainDrafter(DRAFTERS[drafter]), depths)
    tokens = decode_speculative(TARGET, *_read(), DecodeOptions(sampler, TOKENS), drafting)
    assert _agreement(sampler, [token.id for token in tokens]) > 0.001


def test_the_plain_loop_passes_the_same_test() -> None:
    sampler = Sampler(1.0, seed=6)
    ids = [token.id for token in decode(TARGET, *_read(), DecodeOptions(sampler, TOKENS))]
    assert _agreement(sampler, ids) > 0.001
    assert _agreement(Sampler(1.6), ids) < 0.001


@pytest.mark.parametrize("seed", [None, 7])
def test_a_drafter_like_the_target_is_never_rejected(seed: int | None) -> None:
    """p = q, bit for bit: all drafts stand, drawn as they are."""
    hidden, caches = _read()
    drafting = Drafting(ChainDrafter(_table(0)), Fixed(4))
    tokens = decode_speculative(TARGET, hidden, caches, DecodeOptions(Sampler(1.0, seed=seed), 101), drafting)
    ends = [caches.offset - len(PROMPT) for _ in tokens]
    assert ends[1:] == [5 * (1 + index // 5) for index in range(100)]


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("depths", [Fixed(1), Fixed(8), Changing(2)], ids=["1", "8", "changing"])
def test_a_seed_gives_the_tokens_of_the_plain_loop(drafter: str, depths: Depths) -> None:
    options = DecodeOptions(Sampler(1.5, top_k=4, seed=9), 200)
    expected = [token.id for token in decode(TARGET, *_read(), options)]
    found = decode_speculative(TARGET, *_read(), options, Drafting(ChainDrafter(DRAFTERS[drafter]), depths))
    assert [token.id for token in found] == expected
    assert len(set(pairwise(expected))) > 10


def test_seeds_beside_each_other_draw_differently() -> None:
    """Not the same draws one place later, as turns of a conversation would show."""
    one, two = (
        [token.id for token in decode(TARGET, *_read(), DecodeOptions(Sampler(5.0, seed=seed), 200))] for seed in (4, 5)
    )
    for shift in (-2, -1, 0, 1, 2):
        pairs = [(one[at], two[at + shift]) for at in range(2, 198)]
        assert sum(a == b for a, b in pairs) < 0.4 * len(pairs)


def test_logprobs_are_of_the_target_before_filters() -> None:
    sampler = Sampler(0.7, top_k=3, seed=8, suppress_tokens=(5,))
    drafting = Drafting(ChainDrafter(_table(1)), Changing(4))
    options = DecodeOptions(sampler, 60, logprobs=True)
    logits = np.array(_table(0), np.float64)
    logits[:, 5] = -np.inf
    expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    before = PROMPT[-1]
    for token in decode_speculative(TARGET, *_read(), options, drafting):
        assert token.logprob == pytest.approx(expected[before, token.id], abs=1e-5)
        before = token.id
