"""`gemma-mlx plan` as a person uses it."""

import json
from pathlib import Path

import pytest

from gemma_mlx.memory.plan import model_bytes
from gemma_mlx.models import find_model
from tests.command import gemma_mlx


@pytest.fixture(autouse=True)
def _nothing_pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GEMMA_MLX_MODEL", raising=False)


def test_it_answers_before_anything_is_downloaded() -> None:
    run = gemma_mlx("plan", "--memory", "16GB", "--mac")
    assert run.code == 0
    assert run.err == ""
    lines = run.out.splitlines()
    assert lines[0] == "Gemma 4 12B as 4bit (not downloaded) on a Mac with 16 GB"
    names = ["weights", "drafter", "keys and values", "snapshots", "working space", "Python", "total"]
    assert [line[2:18].strip() for line in lines[2:9]] == names
    assert "6.8 GB  ####" in lines[2]
    assert "of 10.3 GB that may be used" in lines[8]
    assert "pictures of up to 280 tokens, pieces of 512, 2 snapshots, with drafter" in run.out
    assert "not yet measured" in lines[-1]


def test_json_has_the_same_numbers() -> None:
    found = json.loads(gemma_mlx("plan", "--memory", "16GB", "--mac", "--draft", "off", "--json").out)
    assert list(found) == [
        *("model", "machine", "knobs", "parts", "total_bytes", "peak_bytes", "limit_bytes", "largest_context"),
        *("given_up", "warnings", "verified"),
    ]
    assert found["model"]["path"] is None
    assert found["machine"]["ram"] == 16 * 2**30
    assert [part["name"] for part in found["parts"]][:3] == ["weights", "drafter", "keys and values"]
    assert [part["counted_by_mlx"] for part in found["parts"]] == [True] * 5 + [False]
    assert found["total_bytes"] == sum(part["bytes"] for part in found["parts"]) <= found["limit_bytes"]
    assert found["knobs"]["context"] == found["largest_context"]
    assert not found["knobs"]["drafter"]
    assert found["verified"] is False


def test_a_model_on_disk_is_read_from_its_headers() -> None:
    found = json.loads(gemma_mlx("plan", "--model", "demo", "--memory", "4GB", "--json").out)
    sizes = model_bytes(find_model("demo"), None, 4 if found["verified"] else 2)
    assert found["model"] == {"name": "demo", "path": str(find_model("demo"))}
    assert found["parts"][0]["bytes"] == sizes.weights
    assert found["knobs"]["drafter"]
    narrow = json.loads(gemma_mlx("plan", "--model", "demo", "--dtype", "bfloat16", "--json").out)
    wide = json.loads(gemma_mlx("plan", "--model", "demo", "--dtype", "float32", "--json").out)
    assert 2 * narrow["parts"][0]["bytes"] == wide["parts"][0]["bytes"]
    assert not narrow["verified"]


def test_a_drafter_is_the_models_own_a_named_one_or_none() -> None:
    assistant = find_model("demo").with_name("demo-assistant")
    for model, own in (("demo", True), ("4bit", False)):
        found = {}
        for draft in ("auto", str(assistant), "off"):
            run = gemma_mlx("plan", "--model", model, "--draft", draft, "--memory", "64GB", "--mac", "--json")
            found[draft] = json.loads(run.out)["parts"][1]["bytes"]
        assert 0 == found["off"] < found[str(assistant)] < 10**8
        assert (found["auto"] == found[str(assistant)]) is own


def test_wishes_are_kept_and_what_is_given_up_is_told() -> None:
    run = gemma_mlx("plan", "--memory", "14GB", "--mac", "--context", "9000", "--image-tokens", "70")
    assert "context 9,000 tokens" in run.out
    assert "pictures of up to 70 tokens" in run.out
    assert "short of memory: prompts are read in pieces of 128 tokens instead of 512" in run.out
    assert "pieces of 128, " in run.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--memory", "8GB", "--mac"], ["3.2 GB of 8 GB", "it takes a Mac with 16 GB"]),
        (["--memory", "16GB", "--mac", "--context", "200000"], ["a context of 200000", "10.3 GB", "try --context"]),
        (["--memory", "16GB", "--mac", "--model", "8bit"], ["take 4-bit weights, gemma-mlx pull 4bit"]),
        (["--memory", "64GB", "--mac", "--context", "300000"], ["context is 300000", "1 to 262144"]),
        (["--memory", "much"], ["'much' is no size", "16GB"]),
        (["--model", "nothing"], ["nothing is no directory"]),
        (["--draft", "nothing"], ["nothing is no directory"]),
        (["--draft", "demo"], ["demo"]),
    ],
)
def test_faults_are_one_line(arguments: list[str], words: list[str]) -> None:
    fault = gemma_mlx("plan", *arguments).fault
    for word in words:
        assert word in fault


@pytest.mark.parametrize("arguments", [["--context", "0"], ["--context", "many"], ["--image-tokens", "100"]])
def test_wrong_usage_is_told_as_such(arguments: list[str]) -> None:
    assert gemma_mlx("plan", *arguments).code == 2


def test_help_has_examples() -> None:
    assert "gemma-mlx plan --memory 16GB --mac" in gemma_mlx("plan", "--help").out
