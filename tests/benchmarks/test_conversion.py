"""The comparison with mlx-vlm runs, with a copy of us in mlx-vlm's place; and it sees what differs."""

import json
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx.benchmarks import conversion
from gemma_mlx.benchmarks.conversion import Program, agreement


def test_the_whole_script_at_a_tiny_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = conversion.programs()["ours"]
    monkeypatch.setattr(conversion, "programs", lambda: {"ours": ours, "peer": ours})
    out = tmp_path / "results.jsonl"
    conversion.main(["--directory", str(tmp_path), "--tiny", "--rounds", "2", "--out", str(out)])
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert line["benchmark"] == "conversion"
    assert str(tmp_path) not in line["command"]
    assert line["ours"]["output_bytes"] == line["peer"]["output_bytes"] > 0
    assert line["tensors"]["same"] == line["tensors"]["shared"] > 0
    assert line["tensors"]["only_ours"] == line["tensors"]["only_peer"] == 0
    assert 0 < line["times_as_fast"]["min"] <= line["times_as_fast"]["median"] <= line["times_as_fast"]["max"]
    assert line["ours"]["peak_resident_bytes"]["max"] > 1e6
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


def test_tensors_that_differ_are_counted(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    same, other = mx.arange(4), mx.arange(4) + 1
    for directory, arrays in (
        (ours, {"a": same, "b": same, "c": same, "d": same, "only": same}),
        (theirs, {"a": same, "b": other, "c": same.astype(mx.float32), "d": same[:3]}),
    ):
        directory.mkdir()
        mx.save_safetensors(str(directory / "model.safetensors"), arrays)
    assert agreement(ours, theirs) == {"shared": 4, "same": 1, "only_ours": 1, "only_peer": 0}


def test_the_command_names_no_place() -> None:
    assert Program("m", ("convert", "SRC", "-o", "OUT")).command == "python -m m convert SRC -o OUT"
