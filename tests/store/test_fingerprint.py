"""Whose caches these are: stable over copies, different for everything that changes keys and values."""

import json
import shutil
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx.errors import CheckpointError
from gemma_mlx.models import find_model
from gemma_mlx.store.fingerprint import SAMPLE, fingerprint


def model(directory: Path, **changes: mx.array) -> Path:
    """A directory with three tensors, one of them smaller and one larger than a sample."""
    tensors = {"a": mx.zeros((4,)), "b": mx.zeros((SAMPLE, 3)), "c": mx.zeros((0, 2))}
    directory.mkdir()
    mx.save_safetensors(str(directory / "model.safetensors"), tensors | changes)
    (directory / "config.json").write_text("{}")
    return directory


def test_a_copy_is_the_same(tmp_path: Path) -> None:
    here = fingerprint(find_model("demo"), "float32")
    assert here == fingerprint(find_model("demo"), "float32")
    assert len(here) == 32
    copy = shutil.copytree(find_model("demo"), tmp_path / "copy")
    (copy / "README.md").write_text("a note")
    assert fingerprint(copy, "float32") == here
    assert fingerprint(copy, "bfloat16") != here


@pytest.mark.parametrize(
    "changes",
    [
        {"a": mx.ones((4,))},
        {"a": mx.zeros((2, 2))},
        {"a": mx.zeros((4,), mx.int32)},
        {"b": mx.zeros((SAMPLE, 3)) + 1e-6},
        {"b": mx.pad(mx.ones((1, 3)), [(SAMPLE // 2, SAMPLE // 2 - 1), (0, 0)])},
        {"d": mx.zeros((1,))},
    ],
    ids=["values", "shape", "type", "fine-tune", "middle", "another"],
)
def test_other_weights(tmp_path: Path, changes: dict[str, mx.array]) -> None:
    assert fingerprint(model(tmp_path / "a"), "") != fingerprint(model(tmp_path / "b", **changes), "")


def test_other_configurations(tmp_path: Path) -> None:
    one, two = model(tmp_path / "a"), model(tmp_path / "b")
    assert fingerprint(one, "") == fingerprint(two, "")
    (two / "config.json").write_text('{"rope_theta": 1}')
    assert fingerprint(one, "") != fingerprint(two, "")


def test_shards(tmp_path: Path) -> None:
    """Each tensor's own file is sampled."""
    found = []
    for number in range(2):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "config.json").write_text("{}")
        for shard, value in (("one", 0.0), ("two", float(number))):
            mx.save_safetensors(str(directory / f"{shard}.safetensors"), {shard: mx.full((9,), value)})
        index = {"weight_map": {"one": "one.safetensors", "two": "two.safetensors"}}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))
        found.append(fingerprint(directory, ""))
    assert found[0] != found[1]


def test_files_that_are_gone(tmp_path: Path) -> None:
    (model(tmp_path / "a") / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="does not exist"):
        fingerprint(tmp_path / "a", "")
    with pytest.raises(FileNotFoundError):
        fingerprint(tmp_path / "b", "")
