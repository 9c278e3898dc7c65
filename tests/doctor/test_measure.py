"""Predicted beside measured memory, for real with the demo model, and what is made of the ratio."""

import gc
from collections.abc import Iterator, Sequence
from dataclasses import replace

import mlx.core as mx
import pytest

from gemma_mlx.doctor import measure
from gemma_mlx.doctor.measure import Measured
from gemma_mlx.errors import ContextError
from gemma_mlx.inputs.prompt import Segment
from gemma_mlx.loading import LoadOptions, prepare
from gemma_mlx.memory.caches import Span
from gemma_mlx.memory.moments import ROWS
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.model.masks import Block
from gemma_mlx.stream import PIECE_TOKENS

CACHE = 123_456  # bytes, a limit that nothing else sets
FAIR = Measured("cpu", 4, 1000, 7_000_000_000, 6_900_000_000, 8_000_000_000, 8_000_000_000, 6_700_000_000, 100.0, 10.0)


@pytest.fixture(scope="module")
def measured() -> Measured:
    """Measured once; MLX's limits are afterwards what they were."""
    before = mx.set_cache_limit(CACHE)
    gc.collect()
    held = mx.zeros((12_500_000,))  # 50 MB of somebody else
    mx.eval(held)
    try:
        found = measure.measure(prepare("demo"))
        assert mx.set_cache_limit(CACHE) == CACHE
    finally:
        mx.set_cache_limit(before)
    return found


def test_the_prompt_takes_several_pieces_with_a_picture_and_a_recording(measured: Measured) -> None:
    assert measured.tokens > 2 * PIECE_TOKENS + 266 + 51
    assert measured.prefill_tok_s > 0
    assert measured.decode_tok_s > 0


def test_both_peaks_hold_the_weights(measured: Measured) -> None:
    weights = prepare("demo").sizes.weights
    assert weights <= measured.load_peak <= measured.load_allowed
    assert measured.measured_peak > weights
    assert measured.predicted_peak > weights


def test_peaks_are_of_the_model_alone(measured: Measured) -> None:
    assert measured.load_peak < 2 * prepare("demo").sizes.weights


def test_prediction_and_count_agree(measured: Measured) -> None:
    """A machine that is busy lets MLX's queue run dry, and then less is in use at once; never more."""
    assert measured.ratio >= measure._UNDER
    if measured.item == 4 and measured.backend == "cpu":
        assert measured.ratio <= 1.3


def test_what_is_predicted_are_the_pieces_of_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle: what the model is given, piece by piece, in the conversation itself."""
    read: list[int] = []
    foretold: list[int] = []
    forward, pieces_until = GemmaModel.__call__, measure.pieces_until

    def listening(
        model: GemmaModel, embeddings: mx.array, caches: Caches, blocks: Sequence[Block] = (), *, last: bool = False
    ) -> mx.array:
        read.append(embeddings.shape[1])
        return forward(model, embeddings, caches, blocks, last=last)

    def telling(segments: Sequence[Segment], stops: Sequence[int], most: int) -> Iterator[list[Span]]:
        for piece in pieces_until(segments, stops, most):
            foretold.append(sum(span.length for span in piece))
            yield piece

    monkeypatch.setattr(GemmaModel, "__call__", listening)
    monkeypatch.setattr(measure, "pieces_until", telling)
    measure.measure(prepare("demo"))
    assert len(foretold) >= 3
    assert read[: len(foretold)] == foretold
    assert max(read[len(foretold) :]) <= ROWS  # tokens of the answer, and drafts


def test_a_context_that_is_too_short_is_a_fault() -> None:
    with pytest.raises(ContextError, match="the context holds 100"):
        measure.measure(prepare("demo", LoadOptions(context=100)))


@pytest.mark.parametrize(
    ("ratio", "state", "words"),
    [
        (0.96, "warning", "too little"),
        (0.97, "ok", ""),
        (1.0, "ok", ""),
        (1.1, "ok", ""),
        (1.11, "warning", "too much"),
    ],
)
def test_ratio(ratio: float, state: str, words: str) -> None:
    _, found, _ = measure.findings(replace(FAIR, predicted_peak=round(ratio * FAIR.measured_peak)))
    assert found.state == state
    assert words in found.text
    assert f"ratio {ratio:.2f}" in found.text


def test_metal_is_called_unverified_where_it_is_off() -> None:
    _, off, _ = measure.findings(replace(FAIR, backend="metal", predicted_peak=FAIR.measured_peak // 2))
    assert "Metal are unverified" in off.text


def test_sixteen_bits_on_a_cpu_are_no_alarm() -> None:
    _, off, _ = measure.findings(replace(FAIR, item=2, predicted_peak=FAIR.measured_peak // 2))
    assert off.state == "ok"
    assert "estimate" in off.text


def test_loading_has_a_bound() -> None:
    at, _, _ = measure.findings(replace(FAIR, load_peak=FAIR.load_allowed))
    over, _, _ = measure.findings(replace(FAIR, load_peak=FAIR.load_allowed + 1))
    assert (at.state, over.state) == ("ok", "warning")


def test_json_has_the_ratio() -> None:
    assert FAIR.as_json()["predicted_over_measured"] == 1.0
    assert FAIR.as_json()["measured_peak"] == FAIR.measured_peak
