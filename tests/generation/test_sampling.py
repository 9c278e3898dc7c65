"""Sampling against a filter written token by token, and against the probabilities that it leaves."""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.errors import ConfigError, InputError
from gemma_mlx.fields import Fields
from gemma_mlx.generation.sampling import Sampler, suppression

PUBLISHED = Path(__file__).parents[1] / "data" / "generation_config.json"
VOCAB = 40


def _softmax(logits: Sequence[float]) -> list[float]:
    highest = max(logits)
    powers = [math.exp(value - highest) for value in logits]
    return [power / sum(powers) for power in powers]


def _naive(sampler: Sampler, logits: Sequence[float]) -> list[float]:
    """Probabilities after every filter, one after the other."""
    values = [value / sampler.temperature for value in logits]
    if sampler.top_k:
        least = sorted(values, reverse=True)[: sampler.top_k][-1]
        values = [value if value >= least else -math.inf for value in values]
    if sampler.top_p < 1:
        probabilities, reached, kept = _softmax(values), 0.0, set()
        for token in sorted(range(len(values)), key=lambda token: -values[token]):
            if reached >= sampler.top_p:
                break
            kept.add(token)
            reached += probabilities[token]
        values = [value if token in kept else -math.inf for token, value in enumerate(values)]
    if sampler.min_p:
        probabilities = _softmax(values)
        floor = sampler.min_p * max(probabilities)
        values = [value if p >= floor else -math.inf for value, p in zip(values, probabilities, strict=True)]
    return _softmax(values)


def _logits(seed: int, ties: bool = False) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 3, VOCAB).astype(np.float32)
    return np.round(logits) if ties else logits


def _left(sampler: Sampler, logits: np.ndarray) -> np.ndarray:
    return np.array(mx.softmax(sampler.filtered(mx.array(logits)[None, None]), axis=-1))[0, 0]


@pytest.mark.parametrize("top_k", [0, 1, 5, VOCAB - 1, VOCAB, VOCAB + 9])
@pytest.mark.parametrize("top_p", [1e-9, 0.35, 0.95, 1.0])
def test_filters_equal_the_naive_ones(top_k: int, top_p: float) -> None:
    for temperature, min_p, seed in itertools.product([0.3, 1.0, 2.5], [0, 0.1, 1], range(3)):
        sampler, logits = Sampler(temperature, top_p, top_k, min_p), _logits(seed)
        expected = _naive(sampler, logits.tolist())
        np.testing.assert_allclose(_left(sampler, logits), expected, atol=2e-6, err_msg=f"{sampler} {seed}")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("filters", [{"top_k": 4}, {"min_p": 0.2}, {"top_k": 4, "min_p": 0.2}])
def test_tokens_that_tie_stay_or_go_together(seed: int, filters: dict[str, Any]) -> None:
    logits = _logits(seed, ties=True)
    left = _left(Sampler(**filters), logits)
    np.testing.assert_allclose(left, _naive(Sampler(**filters), logits.tolist()), atol=2e-6)
    assert len(set(logits[left > 0]) & set(logits[left == 0])) == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("top_p", [0.2, 0.5, 0.9])
def test_top_p_keeps_equal_tokens_together(seed: int, top_p: float) -> None:
    """No more of them than it needs: without the least likely ones that stay, the share is not reached."""
    logits = _logits(seed, ties=True)
    left = _left(Sampler(top_p=top_p), logits)
    floor = logits[left > 0].min()
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert ((left > 0) == (logits >= floor)).all()
    assert probabilities[logits > floor].sum() < top_p <= probabilities[logits >= floor].sum() + 1e-6


def test_all_equal_logits_and_excluded_ones() -> None:
    np.testing.assert_allclose(_left(Sampler(top_k=3, top_p=0.99), np.zeros(8, np.float32)), np.full(8, 1 / 8))
    partly = np.array([-np.inf, 0, -np.inf, 0], np.float32)
    for sampler in (Sampler(), Sampler(top_k=3), Sampler(top_p=0.999), Sampler(min_p=0.5)):
        np.testing.assert_allclose(_left(sampler, partly), [0, 0.5, 0, 0.5], atol=1e-6)


def test_every_position_is_filtered_by_itself() -> None:
    sampler = Sampler(0.8, 0.9, 6, 0.02)
    rows = np.stack([_logits(seed) for seed in range(4)])
    together = np.array(mx.softmax(sampler.filtered(mx.array(rows)[None]), axis=-1))[0]
    np.testing.assert_allclose(together, [_left(sampler, row) for row in rows], atol=1e-6)


@pytest.mark.parametrize("temperature", [1e-300, 1e-38, 1e-30, 1e-6])
def test_a_tiny_temperature_is_as_good_as_greedy(temperature: float) -> None:
    logits = mx.array(_logits(0))[None, None]
    drawn = Sampler(temperature, top_k=64, top_p=0.95).sample(logits, mx.random.key(0))
    assert drawn.item() == mx.argmax(logits).item()


def test_bfloat16_logits_are_filtered_in_float32() -> None:
    logits = mx.array(_logits(1)).astype(mx.bfloat16)
    filtered = Sampler(0.7, top_p=0.9).filtered(logits[None, None])
    assert filtered.dtype == mx.float32
    expected = _naive(Sampler(0.7, top_p=0.9), np.array(logits.astype(mx.float32)).tolist())
    np.testing.assert_allclose(np.array(mx.softmax(filtered[0, 0])), expected, atol=2e-6)


def test_greedy_takes_the_likeliest_and_needs_no_key() -> None:
    rows = np.stack([_logits(seed) for seed in range(5)])
    sampler = Sampler(temperature=0, top_k=3, top_p=0.5, min_p=0.5)
    assert sampler.greedy
    assert not Sampler().greedy
    assert np.array(sampler.sample(mx.array(rows)[None]))[0].tolist() == rows.argmax(axis=-1).tolist()


@pytest.mark.parametrize("temperature", [0.0, 1.0, 50.0])
def test_suppressed_tokens_are_never_chosen(temperature: float) -> None:
    logits = np.zeros(8, np.float32)
    logits[[2, 5]] = 20
    bias = suppression((2, 5), 8)
    assert bias is not None
    rows = mx.broadcast_to(mx.array(logits) + bias, (1, 400, 8))
    chosen = np.array(Sampler(temperature).sample(rows, mx.random.key(1)))
    assert not set(chosen.ravel()) & {2, 5}


def test_suppression_of_nothing_and_of_ids_beyond_the_vocabulary() -> None:
    assert suppression((), 8) is None
    bias = suppression((7, 8, 100_000_000), 8)
    assert bias is not None
    assert np.array(bias).tolist() == [0.0] * 7 + [-math.inf]


@pytest.mark.parametrize("sampler", [Sampler(), Sampler(0.5, 0.8), Sampler(1.5, top_k=6), Sampler(2.0, 0.95, 20, 0.1)])
def test_tokens_come_as_often_as_their_probability_says(sampler: Sampler) -> None:
    logits, draws = _logits(7), 20_000
    drawn = sampler.sample(mx.broadcast_to(mx.array(logits), (1, draws, VOCAB)), mx.random.key(3))
    counts = np.bincount(np.array(drawn).ravel(), minlength=VOCAB)
    probabilities = np.array(_naive(sampler, logits.tolist()))
    assert counts[probabilities == 0].sum() == 0
    frequent = probabilities * draws >= 5
    observed = np.append(counts[frequent], counts[~frequent].sum())
    expected = np.append(probabilities[frequent], probabilities[~frequent].sum()) * draws
    observed, expected = observed[expected > 0], expected[expected > 0]
    freedom = len(expected) - 1
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert statistic < freedom + 4 * math.sqrt(2 * freedom)  # 4 standard deviations of chi-square


def test_the_same_key_draws_the_same_and_another_key_another() -> None:
    rows = mx.broadcast_to(mx.array(_logits(2)), (1, 50, VOCAB))
    sampler = Sampler(1.5)
    first, again, other = (np.array(sampler.sample(rows, mx.random.key(seed))) for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[("temperature", value) for value in (-0.1, 100.1, math.nan, math.inf)],
        *[("top_p", value) for value in (0, -1, 1.001, math.nan)],
        *[("top_k", value) for value in (-1, -64)],
        *[("min_p", value) for value in (-0.01, 1.01, math.nan)],
        *[("seed", value) for value in (-1, 2**64)],
    ],
)
def test_values_out_of_range_are_refused_by_name(setting: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{setting.replace('_', '-')} is {value}"):
        Sampler(**{setting: value})  # type: ignore[arg-type]


def test_values_at_the_edge_are_taken() -> None:
    for edge in (Sampler(0, 1, 0, 0), Sampler(100, 1e-9, 10**6, 1), Sampler(seed=0), Sampler(seed=2**64 - 1)):
        assert edge.sample(mx.zeros((1, 1, VOCAB)), mx.random.key(edge.seed or 0)).shape == (1, 1)


def _defaults(raw: dict[str, Any]) -> Sampler:
    return Sampler.from_generation_config(Fields(raw, PUBLISHED))


@pytest.mark.parametrize(
    "raw",
    [
        {"temperature": "hot"},
        {"top_k": "a"},
        {"top_k": -1},
        {"top_p": 0},
        {"min_p": -0.1},
        {"suppress_tokens": ["a"]},
        {"do_sample": 1},
    ],
)
def test_damaged_defaults_are_refused_in_one_line(raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(raw))) as fault:
        _defaults({"do_sample": True} | raw)
    assert "\n" not in str(fault.value)


def test_defaults_of_the_published_file() -> None:
    published = _defaults(json.loads(PUBLISHED.read_text(encoding="utf-8")))
    assert published == Sampler(temperature=1.0, top_p=0.95, top_k=64, suppress_tokens=(258883, 258882))


def test_defaults_of_other_files() -> None:
    assert _defaults({}) == Sampler(temperature=0)
    assert _defaults({"do_sample": False, "temperature": 0.7}).greedy
    nulls = {
        "do_sample": True,
        "temperature": None,
        "top_k": None,
        "top_p": None,
        "min_p": None,
        "suppress_tokens": None,
    }
    assert _defaults(nulls) == Sampler()
    full = {"do_sample": True, "temperature": 0.6, "top_k": 5, "top_p": 0.5, "min_p": 0.25, "suppress_tokens": [3]}
    assert _defaults(full) == Sampler(0.6, 0.5, 5, 0.25, None, (3,))
