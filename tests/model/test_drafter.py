"""The drafter's step: what it may look at is the target's valid rows, however they came to be in the caches."""

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten

from gemma_mlx.config import FULL, SLIDING
from gemma_mlx.inputs.prompt import Segment
from gemma_mlx.model.cache import SLACK, Caches
from gemma_mlx.model.drafter import target_memory
from tests import tiny
from tests.states import cold, same

MODEL, DRAFTER = tiny.model(), tiny.drafter()
HIDDEN, WINDOW = 32, tiny.WINDOW
PROMPT = (tiny.text([3, 14, 15, 92]), tiny.image(3, 7), tiny.text([65, 35, 89]), tiny.sound(30), tiny.text([79, 32]))
LENGTH = sum(len(segment.ids) for segment in PROMPT)
LATER = tiny.text(list(range(1, SLACK + 1)))


def _read(*segments: Segment) -> tuple[mx.array, Caches]:
    hidden, caches = cold(MODEL, segments)
    assert hidden is not None
    return hidden, caches


def _append(caches: Caches, *segments: Segment) -> None:
    for segment in segments:
        MODEL(MODEL.embed_text(mx.array(segment.ids)[None]), caches)


def _steps(caches: Caches, hidden: mx.array, count: int = 4) -> list[tuple[mx.array, mx.array]]:
    """A round of drafting: each step's argmax goes into the next one."""
    token, memory, steps = 7, target_memory(caches), []
    for _ in range(count):
        logits, hidden = DRAFTER(MODEL.embed_text(mx.array([[token]])), hidden, memory)
        steps.append((logits, hidden))
        token = int(np.array(logits).argmax())
    return steps


def _same_steps(a: list[tuple[mx.array, mx.array]], b: list[tuple[mx.array, mx.array]]) -> None:
    for one, other in zip(a, b, strict=True):
        for x, y in zip(one, other, strict=True):
            same(x, y)


def test_shapes() -> None:
    hidden, caches = _read(*PROMPT)
    for logits, state in _steps(caches, hidden):
        assert (logits.shape, state.shape) == ((1, 1, tiny.VOCAB), (1, 1, HIDDEN))
        assert np.isfinite(np.array(logits)).all()


@pytest.mark.parametrize("length", [1, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW])
def test_memory_is_the_last_layer_of_each_kind_cut_to_what_is_valid(length: int) -> None:
    _, caches = _read(tiny.text([length % 100] * length))
    memory = target_memory(caches)
    for kind, layer, rows in ((SLIDING, 5, min(length, WINDOW + 1)), (FULL, 6, length)):
        read = memory[kind]
        assert read.offset == length
        assert read.keys.shape[2] == read.values.shape[2] == rows
        for shown, held in zip((read.keys, read.values), caches.layers[layer].kept(), strict=True):
            same(shown, held[..., -rows:, :])


def test_drafting_leaves_the_caches_alone() -> None:
    hidden, caches = _read(*PROMPT)
    before = [np.array(array) for array in caches.arrays]
    _same_steps(_steps(caches, hidden), _steps(caches, hidden))
    assert caches.offset == LENGTH
    for array, held in zip(caches.arrays, before, strict=True):
        np.testing.assert_array_equal(np.array(array), held)


@pytest.mark.parametrize("count", [1, 2, WINDOW, SLACK])
def test_after_a_rollback_a_step_is_that_of_the_shorter_prompt(count: int) -> None:
    hidden, short = _read(*PROMPT)
    _, rolled = _read(*PROMPT)
    _append(rolled, tiny.text(LATER.ids[:count].tolist()))
    rolled.trim(count)
    _same_steps(_steps(rolled, hidden), _steps(short, hidden))


def test_after_many_rollbacks() -> None:
    """Drafts are read and rejected over and over, past several windows, in one piece and one by one."""
    rng = np.random.default_rng(0)
    _, caches = _read(*PROMPT)
    accepted: list[int] = []
    for _ in range(20):
        drafts = rng.integers(0, 100, 5).tolist()
        _append(caches, tiny.text(drafts))
        rejected = int(rng.integers(0, 6))
        caches.trim(rejected)
        accepted += drafts[: 5 - rejected]
    assert len(accepted) > 2 * WINDOW
    hidden, fresh = _read(*PROMPT, tiny.text(accepted))
    _same_steps(_steps(caches, hidden), _steps(fresh, hidden))


def test_after_a_restored_snapshot() -> None:
    hidden, caches = _read(*PROMPT)
    expected = _steps(caches, hidden)
    snapshot = caches.snapshot()
    for _ in range(6):
        _append(caches, LATER)
    caches.restore(snapshot)
    _same_steps(_steps(caches, hidden), expected)


@pytest.mark.parametrize("changed", ["token", "hidden", "sliding", "full", "position"])
def test_everything_that_goes_in_counts(changed: str) -> None:
    hidden, caches = _read(*PROMPT)
    token, memory = 7, target_memory(caches)
    expected, _ = DRAFTER(MODEL.embed_text(mx.array([[token]])), hidden, memory)
    if changed == "token":
        token = 8
    elif changed == "hidden":
        hidden = hidden * 1.5
    else:
        longer = target_memory(_read(*PROMPT, tiny.text([5]))[1])
        kinds = {"sliding": (SLIDING,), "full": (FULL,), "position": (SLIDING, FULL)}[changed]
        memory = memory | {kind: longer[kind] for kind in kinds}
    logits, _ = DRAFTER(MODEL.embed_text(mx.array([[token]])), hidden, memory)
    assert np.abs(np.array(logits - expected)).max() > 1e-3


PARAMETERS = set(dict(tree_flatten(DRAFTER.parameters()))) - {"model.layers.3.layer_scalar"}  # the norm undoes it


@pytest.mark.parametrize("path", sorted(PARAMETERS))
def test_every_weight_counts(path: str) -> None:
    hidden, caches = _read(*PROMPT)
    drafter = tiny.drafter()
    step = MODEL.embed_text(mx.array([[7]])), hidden, target_memory(caches)
    before = [np.array(result) for result in drafter(*step)]
    weight = dict(tree_flatten(drafter.parameters()))[path]
    drafter.update(tree_unflatten([(path, weight * mx.linspace(0.5, 1, weight.size).reshape(weight.shape))]))
    changes = [np.abs(np.array(after) - held).max() for after, held in zip(drafter(*step), before, strict=True)]
    assert max(changes) > 1e-4


def test_concatenation_has_the_token_first() -> None:
    """With the second half of the projection at zero, the hidden state does not count and the token does."""
    drafter = tiny.drafter()
    weight = np.array(drafter.pre_projection.weight)
    weight[:, HIDDEN:] = 0
    drafter.pre_projection.weight = mx.array(weight)
    hidden, caches = _read(*PROMPT)
    memory = target_memory(caches)
    embeddings = [MODEL.embed_text(mx.array([[token]])) for token in (7, 8)]
    one, other = (drafter(embeddings[0], state, memory)[0] for state in (hidden, -hidden))
    same(one, other)
    assert np.abs(np.array(one - drafter(embeddings[1], hidden, memory)[0])).max() > 1e-3
