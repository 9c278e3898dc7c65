"""One layer's rows against a list that keeps everything."""

import random

import mlx.core as mx
import pytest

from gemma_mlx.model import cache
from gemma_mlx.model.cache import LayerCache
from tests import rows

STEP = 8
WINDOW, SLACK = 5, 3
KINDS = [(None, SLACK), (WINDOW, SLACK), (WINDOW, 0), (1, 2), (2, 1), (3 * STEP, 2)]


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "STEP", STEP)


def after(layer: LayerCache, n: int) -> tuple[list[int], list[int]]:
    """What the layer would show the model and the drafter after `trim(n)`; the layer itself stays as it is."""
    state = layer.rows
    layer.trim(n)
    shown = rows.ids_of(layer.view()), rows.ids_of(layer.shared())
    layer.rows = state
    return shown


def check(layer: LayerCache, ids: list[int]) -> None:
    """The layer holds these positions, and going back by all that it offers is exact."""
    assert layer.offset == len(ids)
    assert layer.trimmable <= len(ids)
    drafters = None if layer.window is None else layer.window + 1  # one row more
    for n in range(min(layer.trimmable, len(ids) - 1) + 1):
        left = ids[: len(ids) - n]
        assert after(layer, n) == (rows.seen(left, layer.window), rows.seen(left, drafters))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("window", "slack"), KINDS)
def test_random_sequences(window: int | None, slack: int, seed: int) -> None:
    rng = random.Random(seed)
    layer = LayerCache(window, slack)
    assert (layer.offset, layer.trimmable, layer.nbytes) == (0, 0, 0)
    ids: list[int] = []
    fresh = iter(range(10_000))
    for _ in range(60):
        before = layer.trimmable
        length = rng.choice([1, 1, 1, 2, rng.randint(1, 3 * STEP)])
        added = [next(fresh) for _ in range(length)]
        ids += added
        shown = rows.append(layer, added)
        assert rows.ids_of(shown) == rows.seen(ids, window, length)
        assert layer.trimmable >= min(len(ids), min(before, slack) + length)
        check(layer, ids)
        if rng.random() < 0.4:
            n = rng.randint(0, layer.trimmable)
            layer.trim(n)
            ids = ids[: len(ids) - n]
            assert layer.offset == len(ids)


@pytest.mark.parametrize(("window", "slack"), KINDS)
@pytest.mark.parametrize("length", [1, STEP - 1, STEP, STEP + 1, 3 * STEP])
def test_slack_is_always_there_when_nothing_is_taken_back(window: int | None, slack: int, length: int) -> None:
    layer, ids = LayerCache(window, slack), list(range(6 * STEP * 3))
    for start in range(0, len(ids), length):
        rows.append(layer, ids[start : start + length])
        assert layer.trimmable >= min(layer.offset, slack)
    check(layer, ids[: layer.offset])


def test_an_append_can_always_be_undone() -> None:
    """Also one that is longer than slack and step together, again and again."""
    layer, ids = LayerCache(WINDOW, 0), list(range(40))
    rows.append(layer, ids)
    for length in (1, SLACK, STEP, 5 * STEP):
        for _ in range(3):
            rows.append(layer, range(100, 100 + length))
            assert layer.trimmable >= length
            layer.trim(length)
            check(layer, ids)


def test_rows_that_were_handed_out_do_not_change() -> None:
    layer = LayerCache(WINDOW, SLACK)
    handed = [(rows.append(layer, [i]), rows.seen(range(i + 1), WINDOW)) for i in range(5)]
    layer.trim(4)
    rows.append(layer, [91, 92])
    for shown, expected in handed:
        assert rows.ids_of(shown) == expected


def test_filling_copies_before_it_writes() -> None:
    keys, values = rows.pair(range(6))
    layer = LayerCache(WINDOW, SLACK)
    layer.fill(keys, values, 20)
    layer.trim(1)
    rows.append(layer, [77])
    assert rows.ids_of((keys, values)) == list(range(6))
    assert rows.ids_of(layer.view()) == [1, 2, 3, 4, 77]
    assert layer.offset == 20


@pytest.mark.parametrize(("window", "slack"), KINDS)
def test_bytes_are_those_of_the_buffers_and_bounded_by_the_window(window: int | None, slack: int) -> None:
    layer = LayerCache(window, slack)
    of_a_row = 2 * rows.HEADS * rows.WIDTH * 4
    for i in range(200):
        rows.append(layer, [i])
        assert layer.rows is not None
        assert layer.nbytes == layer.rows.keys.nbytes + layer.rows.values.nbytes == layer.rows.keys.shape[2] * of_a_row
        held = i + 1 if window is None else min(i, window + 1 + slack) + 1
        assert layer.nbytes <= (held + STEP) * of_a_row


@pytest.mark.parametrize("window", [None, 4096])
def test_a_row_is_written_in_place(window: int | None) -> None:
    """The buffer is not copied for it, from the first row after a long piece to the last that there is room for."""
    layer = LayerCache(window, 0)
    big = mx.zeros((1, 4, 4096, 64))
    mx.eval(layer.append(big, big))
    row = mx.ones((1, 4, 1, 64))
    mx.eval(row)
    for _ in range(STEP):
        held = mx.get_active_memory()
        mx.reset_peak_memory()
        layer.append(row, row)
        assert layer.rows is not None
        mx.eval(layer.rows.keys, layer.rows.values)
        assert mx.get_peak_memory() - held < 2**16
