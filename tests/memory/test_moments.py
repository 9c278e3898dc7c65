"""The worst moment that a plan assumes against the worst moments of conversations, by the same arithmetic."""

from dataclasses import replace

import pytest

from gemma_mlx.benchmarks.memory import pieces_of, raw_config, scenario
from gemma_mlx.config import ModelConfig
from gemma_mlx.generation.depth import MOST
from gemma_mlx.memory import moments
from gemma_mlx.memory.caches import Span, snapshot_bytes
from gemma_mlx.memory.moments import Written, of_run, worst
from gemma_mlx.memory.values import Backend, Knobs, ModelBytes


@pytest.mark.parametrize("backend", ["cpu", "metal"])
@pytest.mark.parametrize("tokens", [300, 1500, 9500])
def test_no_conversation_takes_more_than_the_plan_assumes(backend: Backend, tokens: int) -> None:
    for seed in range(12):
        run = scenario(seed, tokens, (96, 128))
        model = ModelBytes(ModelConfig.from_dict(raw_config(run)), 0, 0, 4)
        pictures = [len(segment.ids) for segment in run.segments if segment.kind == "image"]
        most = max(pictures, default=70)
        knobs = Knobs(run.tokens + run.written, run.piece_tokens, len(run.marks), most, bool(run.depth))
        planned = worst(model, backend, knobs).nbytes
        planned += len(run.marks) * snapshot_bytes(model.config.text_config, knobs.context, model.item)
        written = Written(run.written, run.depth)
        assert of_run(model, backend, pieces_of(run), run.marks, written).nbytes <= planned, seed


@pytest.mark.parametrize("backend", ["cpu", "metal"])
def test_more_of_anything_takes_no_less(backend: Backend) -> None:
    model = ModelBytes(ModelConfig.from_dict(raw_config(scenario(1, 300, (96,)))), 0, 0, 4)
    contexts = [1, 2, 255, 256, 257, 511, 512, 513, 2048, 8191, 8192, 8193, 8448, 8703, 8704, 9000, 16384, 65536]
    for knobs in (Knobs(1, 512, 2, 280, False), Knobs(1, 128, 0, 70, False), Knobs(1, 512, 0, 1120, False)):
        taken = [worst(model, backend, replace(knobs, context=context)).nbytes for context in contexts]
        assert taken == sorted(taken)
        pieces = [worst(model, backend, replace(knobs, context=9000, piece_tokens=n)).nbytes for n in (64, 128, 256)]
        assert pieces == sorted(pieces)


def test_snapshots_and_decoding_count() -> None:
    model = ModelBytes(ModelConfig.from_dict(raw_config(scenario(1, 300, (96,)))), 0, 0, 4)
    pieces = [[Span("text", 300)], [Span("text", 300)]]
    plain, marked = of_run(model, "cpu", pieces), of_run(model, "cpu", pieces, marks=[200])
    assert marked.nbytes - plain.nbytes == snapshot_bytes(model.config.text_config, 200, 4)
    assert of_run(model, "cpu", pieces, marks=[300]) == plain  # rows that are not dropped are not copied
    little = of_run(model, "cpu", [[Span("text", 1)]], written=Written(2))
    much = of_run(model, "cpu", [[Span("text", 1)]], written=Written(2000))
    assert little.name == much.name == "writing"
    assert much.caches > little.caches


@pytest.mark.parametrize("backend", ["cpu", "metal"])
def test_drafting_takes_the_choice_among_the_rows_of_a_round(backend: Backend) -> None:
    raw = raw_config(scenario(1, 300, (96,)))
    raw["text_config"]["vocab_size"] = 262_144
    model = ModelBytes(ModelConfig.from_dict(raw), 0, 0, 4)
    pieces = [[Span("text", 20)]]
    plain, *drafted = (of_run(model, backend, pieces, written=Written(40, depth)) for depth in (0, 1, 4, 8))
    assert all(moment.name == "writing" for moment in (plain, *drafted))
    assert plain.working < drafted[0].working < drafted[1].working < drafted[2].working
    assert 30 * 9 * 262_144 < drafted[2].working < 40 * 9 * 262_144
    knobs = [Knobs(60, 512, 0, 70, drafter) for drafter in (False, True)]
    taken = [worst(model, backend, each).nbytes for each in knobs]
    assert plain.nbytes <= taken[0] < drafted[2].nbytes <= taken[1]


def test_a_round_has_as_many_rows_as_depths_allow() -> None:
    assert moments.ROWS == MOST + 1
