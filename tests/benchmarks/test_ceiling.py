"""Bandwidths of known chips, a measured one that is believable, and bounds that follow from bytes."""

import time
from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.benchmarks import ceiling
from gemma_mlx.benchmarks.ceiling import Bandwidth
from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.memory.published import packed_bytes, target_config
from gemma_mlx.model.cache import Caches
from tests import tiny

M4 = Bandwidth(120e9, "published")
MB = 10**6


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring gives a figure that no chip has."""
    monkeypatch.setattr(ceiling, "measure", lambda: 1.5)


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize(
    ("chip", "gpu_cores", "expected"),
    [
        ("Apple M1", 8, 68e9),
        ("Apple M4", None, 120e9),
        ("Apple M4", 10, 120e9),
        ("Apple M5", 10, 153e9),
        ("Apple M3 Ultra", 60, 819e9),
        ("Apple M3 Max", 30, 300e9),
        ("Apple M3 Max", 40, 400e9),
        ("Apple M4 Max", 32, 410e9),
        ("Apple M5 Max", 40, 614e9),
        ("Apple M3 Max", None, None),
        ("Apple M3 Max", 24, None),
        ("Apple M4 (Virtual)", None, None),
        ("AMD EPYC", None, None),
        ("", None, None),
    ],
)
def test_published_where_the_table_is_sure(chip: str, gpu_cores: int | None, expected: float | None) -> None:
    found = ceiling.bandwidth({"chip": chip, "gpu_cores": gpu_cores})
    assert found == (Bandwidth(1.5, "measured") if expected is None else Bandwidth(expected, "published"))


@pytest.mark.usefixtures("never")
def test_a_card_without_gpu_cores() -> None:
    assert ceiling.bandwidth({"chip": "Apple M2 Ultra"}) == Bandwidth(800e9, "published")
    assert ceiling.bandwidth({"chip": "Apple M4 Max"}).source == "measured"


def test_what_is_measured_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numpy, which reads with one core, is the slow twin. An array that stays lazy would be read in no time."""
    monkeypatch.setattr(ceiling, "free_memory", lambda: 4 * 256 * MB)
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    found = ceiling.measure()
    assert 255 * MB < mx.get_peak_memory() - before < 270 * MB
    assert mx.get_active_memory() <= before
    array = np.ones(256 * MB // 4, np.uint32)
    theirs = array.nbytes / min(_seconds(lambda: array.sum()) for _ in range(5))
    assert 0.3 * theirs < found < 100 * theirs


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def test_the_best_of_several_times_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "free_memory", lambda: 4 * 128 * MB)
    spans = [3.0, 2.0, 0.5, 4.0] * 10
    clock = iter([moment for index, span in enumerate(spans) for moment in (100.0 * index, 100.0 * index + span)])
    monkeypatch.setattr(ceiling.time, "perf_counter", lambda: next(clock))
    assert ceiling.measure() == pytest.approx(128 * MB / 0.5, rel=1e-6)


def test_how_much_is_read_follows_what_is_free() -> None:
    assert ceiling.array_bytes(None) == ceiling.array_bytes(10**12) == ceiling.array_bytes(2048 * MB) == 512 * MB
    assert ceiling.array_bytes(1000 * MB) == 250 * MB
    assert ceiling.array_bytes(512 * MB) == 128 * MB
    for free in (0, 512 * MB - 4):
        with pytest.raises(MemoryPlanError, match=r"of memory are free, .* needs 0\.5 GB: close other programs"):
            ceiling.array_bytes(free)


@pytest.mark.parametrize("context", [0, 1, tiny.WINDOW - 1, tiny.WINDOW, tiny.WINDOW + 1, 400])
def test_keys_and_values_in_reach(context: int) -> None:
    """One position and layer at a time."""
    text = tiny.config().text_config
    expected = 0
    for layer in text.layers:
        for position in range(context):
            if not layer.is_sliding or context - 1 - position < text.sliding_window:
                expected += 2 * layer.num_key_value_heads * layer.head_dim * 2
    assert ceiling.kv_bytes(text, context, 2) == expected


def test_keys_and_values_are_no_more_than_a_cache_holds() -> None:
    network = tiny.model()
    caches = Caches(network.config.text_config)
    mx.eval(network(network.embed_text(mx.arange(40)[None] % tiny.VOCAB), caches, []))
    assert 0 < ceiling.kv_bytes(network.config.text_config, 40, 4) <= caches.nbytes


def test_the_12b_on_16_gb() -> None:
    """The figures that people plan with: 7.15 GB a token at 4096 positions, 16.8 tokens a second on an M4."""
    config = target_config("4bit")
    kv = ceiling.kv_bytes(config.text_config, 4096, 2)
    assert kv == 40 * 1024 * 8 * 256 * 2 * 2 + 8 * 4096 * 512 * 2 * 2
    assert ceiling.most_tokens(M4, 6_750_000_000, kv) == pytest.approx(16.8, abs=0.05)
    assert packed_bytes(config, "4bit", 2) == pytest.approx(6.75e9, rel=0.02)


def test_bounds() -> None:
    assert ceiling.most_tokens(Bandwidth(10.0, "measured"), 4) == 2.5
    assert ceiling.most_tokens(Bandwidth(10.0, "measured"), 4, 1) == 2.0
    for weights, kv in ((0, 0), (0, 5), (-1, 2), (1, -1)):
        with pytest.raises(ValueError, match="a token reads"):
            ceiling.most_tokens(M4, weights, kv)


@pytest.mark.parametrize(
    ("rate", "bound", "expected"),
    [
        (13.1, 16.8, "13.1 tok/s, 78 %"),
        (16.8, 16.8, "16.8 tok/s, 100 %"),
        (0.0, 16.8, "0.0 tok/s, 0 %"),
        (0.0832, 4.0, "0.083 tok/s, 2 %"),
        (0.0123, 4.0, "0.012 tok/s, 0.3 %"),
        (1234.56, 617.28, "1234.6 tok/s, 200 %"),
    ],
)
def test_words(rate: float, bound: float, expected: str) -> None:
    assert ceiling.words(rate, bound) == f"{expected} of what this memory can deliver"


@pytest.mark.parametrize("bound", [0.0, -1.0])
def test_no_bound_has_no_words(bound: float) -> None:
    with pytest.raises(ValueError, match="the bound is"):
        ceiling.words(13.1, bound)
