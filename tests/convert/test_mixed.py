"""`mixed`: matrices get 8 bits in the order of what 4 lose, and the files never outgrow the size."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

import gemma_mlx
from gemma_mlx.convert import mixed
from gemma_mlx.convert.layout import output_bytes
from gemma_mlx.convert.mixed import Choice, choose, measure
from gemma_mlx.convert.recipes import RECIPES, affine
from gemma_mlx.convert.run import convert
from gemma_mlx.convert.source import Source
from gemma_mlx.errors import GemmaError
from tests.convert import outliers

ASSISTANT = Path(gemma_mlx.__file__).parent / "assets" / "demo-assistant"
EIGHT = affine(8, 64)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source.read(outliers.write(tmp_path_factory.mktemp("source")))


@pytest.fixture(scope="module")
def least(source: Source) -> int:
    return output_bytes(source, RECIPES["4bit"])


@pytest.fixture(scope="module")
def most(source: Source) -> int:
    return output_bytes(source, RECIPES["8bit"])


def slow_choice(source: Source, errors: Mapping[str, float], target: int) -> set[str]:
    """One matrix after the other, worst first; each one stays if the whole layout still fits."""
    chosen: dict[str, float] = {}
    for path in sorted(errors, key=lambda path: (-errors[path], path)):
        tried = replace(RECIPES["mixed"], modules=dict.fromkeys([*chosen, path], EIGHT))
        if output_bytes(source, tried) <= target:
            chosen[path] = errors[path]
    return set(chosen)


def test_errors_are_those_of_the_whole_matrices(source: Source) -> None:
    """These matrices are low enough to be measured whole."""
    tensors = mx.load(str(source.directory / "model.safetensors"))
    assert isinstance(tensors, dict)
    errors = measure(source, RECIPES["mixed"])
    assert len(errors) == 1 + 7 * 7 - 2  # no values of their own in two full layers
    for path, error in errors.items():
        values = tensors[f"model.{path}.weight"]
        restored = mx.dequantize(*mx.quantize(values, 64, 4), 64, 4).astype(mx.float32)
        exact = np.array(values.astype(mx.float32), np.float64)
        expected = np.linalg.norm(np.array(restored) - exact) / np.linalg.norm(exact)
        assert error == pytest.approx(expected, rel=0.01)  # `restored` was rounded to bfloat16
    assert list(errors.values()) == sorted(errors.values(), reverse=True)


@pytest.mark.parametrize("height", [1, 15, 16, 255, 256, 257, 272, 1000, 262144])
def test_the_sample_reaches_from_the_first_row_to_the_last(height: int) -> None:
    rows = [row for first, last in mixed._sample(height) for row in range(first, last)]
    assert len(rows) == len(set(rows)) == min(height, 256)
    assert (min(rows), max(rows)) == (0, height - 1)


def test_a_sample_says_what_the_whole_matrix_loses(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(source, RECIPES["mixed"])
    monkeypatch.setattr(mixed, "_PLACES", 8)
    monkeypatch.setattr(mixed, "_NEIGHBOURS", 4)
    sampled = measure(source, RECIPES["mixed"])
    assert sampled != whole
    assert sampled == pytest.approx(whole, rel=0.1)


def test_every_size_is_kept_and_used(source: Source, least: int, most: int) -> None:
    errors = measure(source, RECIPES["mixed"])
    slack = 16 * len(errors)  # what headers may grow by
    for target in np.linspace(least, most + slack, 12, dtype=int).tolist():
        choice = choose(source, target)
        assert choice.nbytes == output_bytes(source, choice.recipe) <= target
        chosen = set(choice.recipe.modules)
        assert chosen == slow_choice(source, errors, target) or chosen == slow_choice(source, errors, target - slack)
    assert chosen == set(errors)


def test_the_worst_come_first(source: Source, least: int) -> None:
    """With room for as many values as the matrices with outliers have, they are what gets it."""
    worst = [name for name in source.shapes if outliers.OUTLIERS in name]
    values = sum(prod(source.shapes[name]) for name in worst)
    choice = choose(source, least + values // 2 + 16 * len(worst))
    assert {f"{path}.weight" for path in choice.recipe.modules} == set(worst)


def test_the_files_have_the_size_that_was_chosen(source: Source, least: int, most: int, tmp_path: Path) -> None:
    choice = choose(source, (least + most) // 2)
    convert(source.directory, tmp_path / "mixed", choice.recipe)
    assert (tmp_path / "mixed" / "model.safetensors").stat().st_size == choice.nbytes
    output = Source.read(tmp_path / "mixed")
    for path in choice.errors:
        packed = output.packed(f"{path}.weight")
        assert packed is not None
        assert packed.bits == (8 if path in choice.recipe.modules else 4)


def test_it_chooses_the_same_again(source: Source, least: int, most: int) -> None:
    first, second = (choose(source, (least + most) // 2) for _ in range(2))
    assert first == second
    assert list(first.recipe.modules) == list(second.recipe.modules)


def test_the_least_size_packs_all_in_4_bits_and_one_byte_less_is_a_fault(source: Source, least: int) -> None:
    assert not choose(source, least).recipe.modules
    for size in (least - 1, 1):
        with pytest.raises(
            GemmaError, match=r"^[01]\.\d MB is less than the 1\.3 MB that 4 bits take: choose"
        ) as fault:
            choose(source, size)
        assert "--target-size" in str(fault.value)
        assert "\n" not in str(fault.value)


def test_more_than_all_in_8_bits_is_said(source: Source, least: int, most: int) -> None:
    assert choose(source, 2 * most).lines()[-1] == "all have 8 bits: a larger size changes nothing"
    assert "all have" not in choose(source, (least + most) // 2).lines()[-1]
    assert choose(source, 2 * most).nbytes == most


def test_the_assistant_has_no_such_recipe() -> None:
    with pytest.raises(GemmaError, match="choose one of 4bit, 8bit, bf16"):
        choose(Source.read(ASSISTANT), 10**9)


def test_progress_ends_with_all_bytes(source: Source, least: int) -> None:
    seen: list[tuple[int, int]] = []
    choose(source, least, lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == seen[-1][1] < sum(tensor.nbytes for tensor in source.weights.tensors.values())


def test_a_choice_is_told_by_kind() -> None:
    errors = {f"language_model.layers.{at}.mlp.down_proj": 0.2 - at / 100 for at in range(2)}
    errors["language_model.embed_tokens"] = 0.1
    modules = {"language_model.layers.0.mlp.down_proj": EIGHT}
    choice = Choice(replace(RECIPES["mixed"], modules=modules), 7_999_999_999, 8 * 10**9, errors)
    assert choice.lines() == [
        "8.00 GB of 8.00 GB: 8 bits for 1 of 3",
        "down       8 bits for 1 of 2, where 4 bits lose 19.50 %",
        "embedding  8 bits for 0 of 1, where 4 bits lose 10.00 %",
    ]
