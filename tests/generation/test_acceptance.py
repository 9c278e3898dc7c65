"""Acceptance against its definition, draft by draft, and against the target's own distribution of token sequences."""

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from gemma_mlx.generation.acceptance import accept_drawn, accept_greedy
from gemma_mlx.generation.sampling import Sampler, suppression
from tests.generation.chi_square import p_value

VOCAB, LENGTH, DRAWS = 5, 3, 100_000
START = 0


def test_greedy_keeps_the_leading_drafts_that_are_likeliest() -> None:
    rng = np.random.default_rng(0)
    for k in range(1, 9):
        logits = rng.normal(size=(200, k + 1, VOCAB)).astype(np.float32)
        likeliest = logits.argmax(-1)
        drafts = np.where(rng.random((200, k)) < 0.7, likeliest[:, :-1], rng.integers(0, VOCAB, (200, k)))
        kept, tokens = (np.array(each) for each in accept_greedy(mx.array(drafts), mx.array(logits)))
        for row in range(200):
            agreed = 0
            while agreed < k and drafts[row, agreed] == likeliest[row, agreed]:
                agreed += 1
            assert kept[row] == agreed
            assert tokens[row, : agreed + 1].tolist() == [*drafts[row, :agreed], likeliest[row, agreed]]


def _distributions(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    powers = rng.exponential(size=shape) * (rng.random(shape) < 0.7) + 1e-6
    return (powers / powers.sum(-1, keepdims=True)).astype(np.float32)


def test_drawn_drafts_stand_as_the_definition_says() -> None:
    rng = np.random.default_rng(1)
    for k in range(1, 9):
        q, p = _distributions(rng, 100, k, VOCAB), _distributions(rng, 100, k + 1, VOCAB)
        drafts, uniforms = rng.integers(0, VOCAB, (100, k)), rng.random((100, k)).astype(np.float32)
        accepted = accept_drawn(mx.array(drafts), mx.array(q), mx.array(p), mx.array(uniforms), mx.random.key(k))
        kept, tokens = (np.array(each) for each in accepted)
        for row in range(100):
            stood = 0
            while stood < k:
                x = drafts[row, stood]
                if not uniforms[row, stood] * q[row, stood, x] < p[row, stood, x]:
                    break
                stood += 1
            assert kept[row] == stood
            assert tokens[row, :stood].tolist() == drafts[row, :stood].tolist()
            if stood < k:
                last = tokens[row, stood]
                assert p[row, stood, last] > q[row, stood, last]


def _one(values: list[float]) -> mx.array:
    return mx.array(values)[None, None]


def test_edges_of_a_single_draft() -> None:
    certain, other, even = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]
    key = mx.random.key(0)

    def accept(q: list[float], p: list[float], uniform: float) -> list[int]:
        rows = mx.concatenate([_one(p), _one([0.0, 0.0, 1.0])], axis=1)
        kept, tokens = accept_drawn(mx.array([[0]]), _one(q), rows, mx.array([[uniform]]), key)
        return np.array(tokens)[0, : int(np.array(kept)[0]) + 1].tolist()

    below_one = float(np.nextafter(np.float32(1), np.float32(0)))
    assert accept(certain, certain, below_one) == [0, 2]  # q = p: never rejected, and the next is p's of the next row
    assert accept(certain, other, 0.0) == [1]  # p = 0: never accepted
    assert accept(certain, even, 0.49) == [0, 2]
    assert accept(certain, even, 0.5) == [1]  # what remains of p is all at 1
    # A rejection that rounding alone has made: nothing remains of p - q, so the token comes from p.
    assert accept([1.0, 1.0, 1.0], [0.5, 0.0, 0.0], 0.9) == [0]


@pytest.mark.parametrize("k", [1, 3])
def test_rounds_are_independent(k: int) -> None:
    """Many at once are each the one alone, but for the last token's draw."""
    rng = np.random.default_rng(2)
    q, p = _distributions(rng, 50, k, VOCAB), _distributions(rng, 50, k + 1, VOCAB)
    drafts, uniforms = rng.integers(0, VOCAB, (50, k)), rng.random((50, k)).astype(np.float32)

    def kept(rows: slice, seed: int) -> list[int]:
        x, its, ours, u = (mx.array(each[rows]) for each in (drafts, q, p, uniforms))
        return np.array(accept_drawn(x, its, ours, u, mx.random.key(seed)).kept).tolist()

    assert kept(slice(None), 0) == [kept(slice(row, row + 1), row)[0] for row in range(50)]


def _table(seed: int) -> NDArray[np.float32]:
    """Logits (VOCAB, VOCAB) of what follows each token."""
    return np.random.default_rng(seed).normal(0, 1.2, (VOCAB, VOCAB)).astype(np.float32)


def _probabilities(sampler: Sampler, table: NDArray[np.float32]) -> mx.array:
    logits = mx.array(table)[None]
    bias = suppression(sampler.suppress_tokens, VOCAB)
    return mx.softmax(sampler.filtered(logits if bias is None else logits + bias), axis=-1)[0]


def _sequences(p: mx.array, q: mx.array, depth: int, seed: int) -> NDArray[np.int64]:
    """(DRAWS, LENGTH) tokens after START, won in rounds: in both models only the token before counts."""
    key, lanes = mx.random.key(seed), mx.arange(DRAWS)
    newest = mx.full((DRAWS,), START, mx.uint32)
    sequences = np.full((DRAWS, LENGTH + 2 * (depth + 1)), -1, np.int64)
    won = np.zeros(DRAWS, np.int64)
    while won.min() < LENGTH:
        read = [newest]
        for _ in range(depth):
            key, draw = mx.random.split(key)
            read.append(mx.random.categorical(mx.log(q[read[-1]]), key=draw))
        key, chance, last = mx.random.split(key, 3)
        drafts, rows = mx.stack(read[1:], axis=1), mx.stack(read, axis=1)
        uniforms = mx.random.uniform(shape=drafts.shape, key=chance)
        kept, tokens = accept_drawn(drafts, q[rows[:, :-1]], p[rows], uniforms, last)
        newest, count, block = tokens[lanes, kept], np.array(kept), np.array(tokens)
        for place in range(depth + 1):
            lane = np.flatnonzero((place <= count) & (won + place < sequences.shape[1]))
            sequences[lane, won[lane] + place] = block[lane, place]
        won = np.minimum(won + count + 1, sequences.shape[1])
    return sequences[:, :LENGTH]


def _agreement(sampler: Sampler, target: NDArray[np.float32], drafter: NDArray[np.float32], depth: int) -> float:
    p, q = _probabilities(sampler, target), _probabilities(sampler, drafter)
    sequences = _sequences(p, q, depth, seed=17)
    codes = (sequences * VOCAB ** np.arange(LENGTH)).sum(axis=1)
    counts = np.bincount(codes, minlength=VOCAB**LENGTH)
    exact, plain = np.ones(VOCAB**LENGTH), np.array(p, np.float64)
    for code in range(VOCAB**LENGTH):
        before = START
        for place in range(LENGTH):
            token = code // VOCAB**place % VOCAB
            exact[code] *= plain[before, token]
            before = token
    return p_value(counts[None], exact[None] / exact.sum())


SETTINGS = {
    "all": Sampler(1.0),
    "cold": Sampler(0.5),
    "hot": Sampler(2.0),
    "top_k": Sampler(1.0, top_k=2),
    "top_p": Sampler(1.0, top_p=0.7),
    "min_p": Sampler(1.0, min_p=0.3),
    "suppressed": Sampler(1.0, suppress_tokens=(1, 3)),
    "together": Sampler(0.8, top_p=0.95, top_k=4, min_p=0.05, suppress_tokens=(2,)),
}


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", SETTINGS)
def test_sequences_are_distributed_as_the_targets_own(name: str, depth: int) -> None:
    assert _agreement(SETTINGS[name], _table(0), _table(1), depth) > 0.001


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("kind", ["the_target", "nearly", "opposite", "disjoint"])
def test_whatever_the_drafter_is_like(kind: str, depth: int) -> None:
    target, sampler = _table(0), Sampler(1.0)
    drafter = {
        "the_target": target,
        "nearly": target + 0.1 * _table(1),
        "opposite": -target,
        "disjoint": -target,
    }[kind]
    if kind == "disjoint":
        sampler = Sampler(1.0, top_k=2)
        p, q = _probabilities(sampler, target), _probabilities(sampler, drafter)
        assert float(mx.max(mx.minimum(p, q))) == 0
    assert _agreement(sampler, target, drafter, depth) > 0.001


def test_a_wrong_rule_would_be_seen() -> None:
    """Drafts that are not drawn, but accepted as if they were, shift the distribution; the test notices."""
    p, q = (_probabilities(Sampler(1.0), _table(seed))[START] for seed in (0, 1))
    rows = (DRAWS, 1, VOCAB)
    its, ours = mx.broadcast_to(q, rows), mx.broadcast_to(p, (DRAWS, 2, VOCAB))
    uniforms = mx.random.uniform(shape=(DRAWS, 1), key=mx.random.key(0))
    chances = []
    for drafts in (mx.random.categorical(mx.log(its), key=mx.random.key(1)), mx.argmax(its, axis=-1)):
        tokens = accept_drawn(drafts, its, ours, uniforms, mx.random.key(2)).tokens
        counts = np.bincount(np.array(tokens)[:, 0], minlength=VOCAB)
        chances.append(p_value(counts[None], np.array(p, np.float64)[None]))
    assert chances[0] > 0.001
    assert chances[1] < 1e-9
