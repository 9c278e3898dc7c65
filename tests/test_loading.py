"""Directories that are whole in themselves but do not fit together, told before weights are read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from gemma_mlx import loading
from gemma_mlx.errors import CheckpointError, ConfigError, GemmaError, MemoryPlanError
from gemma_mlx.loading import LoadOptions, load, prepare
from gemma_mlx.models import find_model


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return Path(shutil.copytree(find_model("demo"), tmp_path / "demo"))


@pytest.fixture
def drafter(tmp_path: Path) -> Path:
    return Path(shutil.copytree(find_model("demo").with_name("demo-assistant"), tmp_path / "drafter"))


def _changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def test_the_demo_and_its_drafter(demo: Path, drafter: Path) -> None:
    gemma = load(demo, LoadOptions(draft=drafter, context=77))
    assert gemma.plan.knobs.context == 77
    assert gemma.bits == {"language": 4, "vision": 16, "audio": 16}
    assert gemma.drafter is not None
    assert gemma.weights_bytes > load(demo).weights_bytes
    assert gemma.weights_bytes == prepare(demo, LoadOptions(draft=drafter)).weights_bytes
    assert load(demo).drafter is None


def test_the_models_own_drafter_unless_none_is_wanted() -> None:
    assert load("demo").drafter is not None
    for none in ("off", None):
        gemma = load("demo", LoadOptions(draft=none))
        assert gemma.drafter is None
        assert not gemma.plan.knobs.drafter
    with pytest.raises(ConfigError, match="nowhere is no directory"):
        load("demo", LoadOptions(draft="nowhere"))


def test_memory_is_short_for_a_drafter_of_ones_own_only(drafter: Path) -> None:
    """The least memory for the model alone: a drafter that was named is not given up for it."""
    low, high = 2**28, 2**33
    while high - low > 2**19:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(LoadOptions(draft="off", memory=middle)) else (middle, high)
    prepared = prepare("demo", LoadOptions(memory=high))
    assert "short of memory: no drafter" in prepared.plan.given_up
    assert prepared.weights_bytes == prepared.sizes.weights
    assert load(prepared).drafter is None
    assert not _fits(LoadOptions(draft=drafter, memory=high))


def _fits(options: LoadOptions) -> bool:
    try:
        return prepare("demo", options).plan is not None
    except MemoryPlanError:
        return False


def test_a_drafter_is_planned_in_the_type_that_it_is_held_in(
    demo: Path, drafter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: each in the type that it is stored in."""
    arrays = mx.load(str(demo / "model.safetensors"))
    assert isinstance(arrays, dict)
    wide = {name: each if each.dtype == mx.uint32 else each.astype(mx.float32) for name, each in arrays.items()}
    mx.eval(wide)
    mx.save_safetensors(str(demo / "model.safetensors"), wide)
    monkeypatch.setattr(loading, "activation_dtype", lambda name, weights: weights.stored_dtype)
    options = LoadOptions(draft=drafter)
    assert load(demo, options).weights_bytes == prepare(demo, options).weights_bytes


@pytest.mark.parametrize("context", [-1, 0, 10**9])
def test_a_context_that_the_model_does_not_hold(demo: Path, context: int) -> None:
    with pytest.raises(ConfigError, match=f"context is {context}, the model holds 1 to"):
        load(demo, LoadOptions(context=context))


def test_a_tokenizer_with_more_tokens_than_the_model(demo: Path) -> None:
    _changed(demo / "config.json", lambda raw: raw["text_config"].update(vocab_size=1500))
    with pytest.raises(CheckpointError, match="the tokenizer has 2048 tokens, the model 1500"):
        load(demo)


def test_no_generation_config_is_greedy(demo: Path) -> None:
    (demo / "generation_config.json").unlink()
    gemma = load(demo)
    assert gemma.sampler.greedy
    assert gemma.stop_ids == frozenset(gemma.config.eos_token_id)


@pytest.mark.parametrize(
    "change", [{"eos_token_id": "x"}, {"eos_token_id": [[1]]}, {"suppress_tokens": 5.5}, {"top_k": "a"}]
)
def test_a_damaged_generation_config(demo: Path, change: dict[str, Any]) -> None:
    _changed(demo / "generation_config.json", lambda raw: raw.update(change))
    with pytest.raises(ConfigError, match=next(iter(change))):
        load(demo)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw.update(backbone_hidden_size=128), "hidden size 128, the model's is 256"),
        (lambda raw: raw["text_config"].update(head_dim=32), "head size of sliding layers 32, the model's is 64"),
        (lambda raw: raw["text_config"].update(global_head_dim=32), "head size of full layers 32, the model's is 128"),
        (lambda raw: raw["text_config"].update(vocab_size=64), "vocabulary 64, the model's is 2048"),
    ],
)
def test_the_drafter_of_another_model(
    demo: Path, drafter: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    _changed(drafter / "config.json", change)
    with pytest.raises(ConfigError, match=words):
        load(demo, LoadOptions(draft=drafter))


@pytest.mark.parametrize("source", ["no/such/place", "~nosuchuser/model", "a" * 5000, ""])
def test_no_directory(source: str) -> None:
    with pytest.raises(GemmaError, match="is no directory") as fault:
        load(source)
    assert "\n" not in str(fault.value)
