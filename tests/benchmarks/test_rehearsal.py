"""The whole rehearsal with a few MB in place of 24 GB, and its bars."""

import json
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.benchmarks import rehearsal

INSPECTED: dict[str, Any] = {
    "output_bytes": 6.8e9,
    "bytes_by_part_and_type": {"vision": {"BF16": 1}, "audio": {"BF16": 1}, "language": {"U32": 9, "BF16": 1}},
    "kept_tensors": 3,
    "changed_tensors": 0,
}
LOADED = {"largest_layer_bytes": 5e8, "mlx_peak_over_weights_bytes": 8e8, "peak_over_weights_bytes": 8e8}


def test_all_stages_at_a_tiny_size_and_none_of_them_twice(tmp_path: Path) -> None:
    directory, out = tmp_path / "work", tmp_path / "results.jsonl"
    arguments = ["--directory", str(directory), "--tiny", "--out", str(out)]
    with pytest.raises(SystemExit) as end:
        rehearsal.main(arguments)
    assert end.value.code == 0
    lines = {line["stage"]: line for line in map(json.loads, out.read_text().splitlines())}
    assert tuple(lines) == rehearsal.STAGES
    assert all(line["peak_resident_bytes"] > 1e6 and line["seconds"] > 0 for line in lines.values())
    assert lines["inspect"]["changed_tensors"] == 0 < lines["inspect"]["kept_tensors"]
    assert lines["inspect"]["bytes_by_part_and_type"]["vision"].keys() == {"BF16"}
    assert lines["inspect"]["bytes_by_part_and_type"]["language"].keys() == {"BF16", "U32"}
    assert lines["load"]["weights_bytes"] == lines["load"]["predicted_weights_bytes"]
    assert lines["generate"]["prompt_tokens"] == {"text": 10, "image": 70, "audio": 25}
    assert len(lines["generate"]["tokens"]) == 4
    assert str(tmp_path) not in out.read_text()
    before = (directory / "stages.jsonl").read_text()
    assert rehearsal.rehearse(directory, True, "again") == list(lines.values())
    assert (directory / "stages.jsonl").read_text() == before


def test_the_prediction_holds_at_a_tiny_size(tmp_path: Path) -> None:
    """A busy machine lets MLX's queue run dry; then less is in use at once, never more, and the count is repeated."""
    for attempt in range(3):
        directory, out = tmp_path / str(attempt), tmp_path / f"{attempt}.jsonl"
        with pytest.raises(SystemExit):
            rehearsal.main(["--directory", str(directory), "--tiny", "--out", str(out)])
        ratio = next(
            line["predicted_over_measured"]
            for line in map(json.loads, out.read_text().splitlines())
            if line["stage"] == "generate"
        )
        assert ratio >= 0.97
        if ratio <= 1.1:
            return
    pytest.fail(f"predicted {ratio} of what was measured")


@pytest.mark.parametrize(
    ("stage", "figures", "missed"),
    [
        ("fabricate", {}, 0),
        ("convert", {"peak_resident_bytes": 1_000_000_000}, 0),
        ("convert", {"peak_resident_bytes": 1_000_000_001}, 1),
        ("inspect", INSPECTED, 0),
        ("inspect", INSPECTED | {"output_bytes": 6.86e9}, 1),
        ("inspect", INSPECTED | {"kept_tensors": 0}, 1),
        ("inspect", INSPECTED | {"changed_tensors": 1}, 1),
        ("inspect", INSPECTED | {"bytes_by_part_and_type": {"vision": {"BF16": 1}, "audio": {"U32": 1}}}, 1),
        ("load", LOADED, 0),
        ("load", LOADED | {"mlx_peak_over_weights_bytes": 8e8 + 1}, 1),
        ("load", LOADED | {"peak_over_weights_bytes": 8e8 + 1}, 1),
        ("generate", {"predicted_over_measured": 0.97}, 0),
        ("generate", {"predicted_over_measured": 0.96}, 1),
        ("generate", {"predicted_over_measured": 1.11}, 1),
    ],
)
def test_bars(stage: str, figures: dict[str, Any], missed: int) -> None:
    assert list(rehearsal.bars(stage, figures).values()).count(False) == missed
