"""The last position alone out of the decoder: the same as the last row of all of them, and less work."""

from itertools import pairwise
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.config import FULL, SLIDING
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.decoder import MLP
from gemma_mlx.model.masks import Block
from tests import tiny
from tests.states import same, same_caches

W = tiny.WINDOW
KINDS = {"full": [SLIDING, FULL], "sliding": [FULL, SLIDING]}


def _embeddings(length: int, seed: int = 0) -> mx.array:
    return mx.array(np.random.default_rng(seed).normal(0, 1, (1, length, 32)).astype(np.float32))


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    ("cuts", "blocks"),
    [
        ([0, 1], []),
        ([0, 2], []),
        ([0, W - 1, W, W + 1], []),
        ([0, W], []),
        ([0, W + 1, W + 3], []),
        ([0, 3 * W, 5 * W + 1], []),
        ([0, 6], [(2, 6)]),  # a picture at the end
        ([0, 5, 9 + 2 * W], [(1, 3 + 2 * W)]),  # longer than the window
        ([0, W, 2 * W], [(0, W)]),
    ],
)
def test_it_is_the_last_of_all(cuts: list[int], blocks: list[Block], kinds: list[str]) -> None:
    """`blocks` lie in the last piece."""
    model = tiny.model(num_hidden_layers=len(kinds), layer_types=kinds)
    ours, whole = (Caches(model.config.text_config) for _ in range(2))
    for start, stop in pairwise(cuts):
        inside = blocks if stop == cuts[-1] else []
        embeddings = _embeddings(stop - start, start)
        hidden = model(embeddings, ours, inside, last=True)
        assert hidden.shape == (1, 1, 32)
        same(hidden, model(embeddings, whole, inside)[:, -1:])
        same_caches(ours, whole)


@pytest.mark.parametrize(("last", "expected"), [(True, [9, 9, 1]), (False, [9, 9, 9])])
def test_the_last_layer_is_spared(last: bool, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    feed = MLP.__call__

    def noted(mlp: Any, x: mx.array) -> mx.array:
        fed.append(x.shape[1])
        return feed(mlp, x)

    monkeypatch.setattr(MLP, "__call__", noted)
    model = tiny.model(num_hidden_layers=3, layer_types=[SLIDING, SLIDING, FULL])
    model(_embeddings(9), Caches(model.config.text_config), last=last)
    assert fed == expected
