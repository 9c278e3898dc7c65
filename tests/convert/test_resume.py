"""A conversion that failed goes on after what it had finished, and only if nothing of it changed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from gemma_mlx.convert import run
from gemma_mlx.convert.layout import Slice, plan_layout
from gemma_mlx.convert.recipes import RECIPES
from gemma_mlx.convert.run import Sizes, convert
from gemma_mlx.convert.slices import Reader, Written, convert_slice
from gemma_mlx.convert.source import Source
from gemma_mlx.errors import CheckpointError
from tests.convert import checkpoints

SMALL = Sizes(slice=8000, commit=1)


def stop(patch: pytest.MonkeyPatch, number: int) -> None:
    """Let the slice of that number fail, and all that come after it in the order of the work."""
    begun: list[Slice] = []

    def work(part: Slice, reader: Reader) -> Written:
        begun.append(part)
        if len(begun) > number:
            raise CheckpointError("stopped here")
        return convert_slice(part, reader)

    patch.setattr(run, "convert_slice", work)
    patch.setattr(run, "_WORKERS", 1)


@pytest.mark.parametrize("number", [0, 1, 2, 30, -1])
def test_it_goes_on_after_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source = checkpoints.target(tmp_path / "a")
    slices = plan_layout(Source.read(source), RECIPES["4bit"], SMALL.shard).slices(SMALL.slice)
    number %= len(slices)
    with monkeypatch.context() as patch, pytest.raises(CheckpointError, match="stopped here"):
        stop(patch, number)
        convert(source, tmp_path / "b", RECIPES["4bit"], sizes=SMALL)
    report = convert(source, tmp_path / "b", RECIPES["4bit"], sizes=SMALL)
    assert report.resumed == sum(part.source_bytes for part in slices[:number])
    convert(source, tmp_path / "c", RECIPES["4bit"])
    assert checkpoints.contents(tmp_path / "b") == checkpoints.contents(tmp_path / "c")


@pytest.mark.parametrize("change", ["recipe", "slices", "source", "config", "nothing"])
def test_another_job_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    source = checkpoints.target(tmp_path / "a")
    with monkeypatch.context() as patch, pytest.raises(CheckpointError, match="stopped here"):
        stop(patch, 20)
        convert(source, tmp_path / "b", RECIPES["4bit"], sizes=SMALL)
    sizes, recipe = SMALL, RECIPES["4bit"]
    if change == "recipe":
        recipe = RECIPES["8bit"]
    elif change == "slices":
        sizes = replace(SMALL, slice=3000)
    elif change == "source":
        os.utime(source / "model.safetensors", ns=(0, 0))
    elif change == "config":
        (source / "config.json").write_text(json.dumps(checkpoints.config(source) | {"eos_token_id": [2]}))
    report = convert(source, tmp_path / "b", recipe, sizes=sizes)
    assert (report.resumed > 0) == (change == "nothing")
    convert(source, tmp_path / "c", recipe)
    assert checkpoints.contents(tmp_path / "b") == checkpoints.contents(tmp_path / "c")
