"""Going back and forth through a whole tiny model: keys, values and logits are always those of one cold read.

The cold read keeps every row: a slack longer than the sequence is the oracle of all windows.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.inputs.prompt import Segment
from gemma_mlx.model import cache
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.stream import EmbeddingStream
from tests import states, tiny

WINDOW, SLACK, STEP = tiny.WINDOW, 5, 8
MODEL = tiny.model()
CONFIG = MODEL.config.text_config
# Text, a picture longer than the window, sound, a small picture: 6 windows in all.
SEGMENTS = (
    tiny.text([2, 9, 4, 7, 5, 3, 8]),
    tiny.image(3, 7),
    tiny.text(list(range(10, 25))),
    tiny.sound(11),
    tiny.image(2, 2, seed=1),
    tiny.text([int(i) for i in np.random.default_rng(0).integers(2, 99, 38)]),
)
TOTAL = sum(len(segment.ids) for segment in SEGMENTS)
IMAGES = ((7, 28), (54, 58))
PLACES = [at for at in range(TOTAL + 1) if not any(start < at < end for start, end in IMAGES)]


@dataclass(frozen=True, eq=False)
class Cold:
    """Logits of every position, (1, n, vocab), and caches that dropped nothing."""

    logits: mx.array
    caches: Caches


@pytest.fixture(scope="module")
def cold() -> Cold:
    caches = Caches(CONFIG, slack=10_000)
    (piece,) = EmbeddingStream(MODEL, SEGMENTS).pieces(10_000)
    return Cold(MODEL.logits(MODEL(piece.embeddings, caches, piece.blocks)), caches)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "STEP", STEP)


def read(model: GemmaModel, segments: tuple[Segment, ...], caches: Caches, stop: int, most: int) -> mx.array:
    """Read on to `stop` in pieces of at most `most`. Returns the last position's logits (1, 1, vocab)."""
    hidden = mx.zeros((1, 1, 1))
    for piece in EmbeddingStream(model, segments, caches.offset, stop).pieces(most):
        hidden = model(piece.embeddings, caches, piece.blocks)
    return model.logits(hidden[:, -1:])


def check(caches: Caches, cold: Cold) -> None:
    """Every kept row equals the cold read's row of that position, and no row is missing."""
    for layer, whole in zip(caches.layers, cold.caches.layers, strict=True):
        assert layer.offset == caches.offset
        if layer.offset:
            assert whole.rows is not None
            needed = layer.offset if layer.window is None else min(layer.offset, layer.window + 1)
            for found, expected in zip(layer.kept(), whole.rows[:2], strict=True):
                count = found.shape[2]
                assert count >= needed
                states.same(found, expected[:, :, layer.offset - count : layer.offset])


def same_logits(found: mx.array, cold: Cold, position: int) -> None:
    np.testing.assert_allclose(np.array(found[:, -1]), np.array(cold.logits[:, position]), atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_random_walks(cold: Cold, tmp_path: Path, seed: int) -> None:
    rng, caches, snapshots = random.Random(seed), Caches(CONFIG, SLACK), [Caches(CONFIG, SLACK).snapshot()]
    for number in range(30):
        ahead = [at for at in PLACES if at > caches.offset]
        match rng.randrange(6):
            case 0 | 1 | 2 if ahead:
                stop = rng.choice(ahead[:30])
                same_logits(read(MODEL, SEGMENTS, caches, stop, rng.randint(1, 3 * STEP)), cold, stop - 1)
            case 3:
                back = [at for at in PLACES if caches.offset - caches.trimmable <= at <= caches.offset]
                caches.trim(caches.offset - rng.choice(back))
            case 4:
                snapshots.append(caches.snapshot())
                if caches.can_restore(snapshot := rng.choice(snapshots)):
                    caches.restore(snapshot)
            case 5:
                path = tmp_path / f"{number}.safetensors"
                caches, snapshots = states.resumed(caches, path), []
        check(caches, cold)
    if caches.offset < TOTAL:
        same_logits(read(MODEL, SEGMENTS, caches, TOTAL, 10), cold, TOTAL - 1)
    check(caches, cold)


def test_token_by_token_with_every_way_back(cold: Cold) -> None:
    """At each position past the second picture: take back one to five tokens, read them again, go on."""
    caches = Caches(CONFIG, SLACK)
    read(MODEL, SEGMENTS, caches, IMAGES[1][1] + SLACK, 16)
    for stop in range(IMAGES[1][1] + SLACK + 1, TOTAL + 1):
        n = stop % SLACK + 1
        same_logits(read(MODEL, SEGMENTS, caches, stop, 1), cold, stop - 1)
        caches.trim(n)
        check(caches, cold)
        same_logits(read(MODEL, SEGMENTS, caches, stop, stop % 3 + 1), cold, stop - 1)
    check(caches, cold)


@pytest.mark.parametrize("layer", range(len(CONFIG.layers)))
def test_an_interrupt_between_two_layers(cold: Cold, layer: int) -> None:
    caches = Caches(CONFIG, slack=0)
    read(MODEL, SEGMENTS, caches, 60, 16)
    with states.failing(MODEL, layer, 2, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        read(MODEL, SEGMENTS, caches, TOTAL, 9)
    caches.realign()
    assert caches.offset == 60 + 2 * 9
    check(caches, cold)
    same_logits(read(MODEL, SEGMENTS, caches, TOTAL, 4), cold, TOTAL - 1)


def test_separate_keys_and_values(tmp_path: Path) -> None:
    """The other kind of full layer: the contract does not depend on what a row holds."""
    model = tiny.model(attention_k_eq_v=False)
    segments = (tiny.text([int(i) for i in np.random.default_rng(1).integers(2, 99, 50)]),)
    whole = Caches(model.config.text_config)
    expected = read(model, segments, whole, 50, 50)
    caches = Caches(model.config.text_config, SLACK)
    read(model, segments, caches, 40, 7)
    snapshot = caches.snapshot()
    read(model, segments, caches, 50, 3)
    caches.restore(snapshot)
    caches = states.resumed(caches, tmp_path / "talk.safetensors")
    caches.trim(SLACK)
    np.testing.assert_allclose(np.array(read(model, segments, caches, 50, 4)), np.array(expected), atol=1e-4)
    states.same_caches(caches, whole)
