"""`gemma-mlx plan` as a person uses it."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.loading import prepare
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
    assert "0.2 GB  #" in lines[3]
    assert "of 10.3 GB that may be used" in lines[8]
    assert " tokens, the longest with these settings:" in lines[10]
    assert lines[11] == "  pictures of up to 280 tokens, pieces of 512, 2 snapshots, with drafter"
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
    assert narrow["parts"][0]["bytes"] == model_bytes(find_model("demo"), None, 2).weights
    assert wide["parts"][0]["bytes"] == model_bytes(find_model("demo"), None, 4).weights
    assert narrow["parts"][0]["bytes"] < wide["parts"][0]["bytes"]
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
    run = gemma_mlx("plan", "--memory", "13.5GB", "--mac", "--context", "9000", "--image-tokens", "70")
    assert "context 9,000 tokens" in run.out
    assert "pictures of up to 70 tokens" in run.out
    assert "short of memory: prompts are read in pieces of 128 tokens instead of 512" in run.out
    assert "pieces of 128, " in run.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--memory", "8GB", "--mac"], ["8 GB Mac has 3.2 GB", "12.5 GB of memory are enough"]),
        (["--memory", "16GB", "--mac", "--context", "200000"], ["a context of 200,000", "10.3 GB", "try --context"]),
        (["--memory", "16GB", "--mac", "--model", "8bit"], ["take 4bit weights, gemma-mlx pull 4bit"]),
        (["--memory", "64GB", "--mac", "--context", "300000"], ["context is 300,000", "1 to 262,144"]),
        (["mixed"], ["--target-size"]),
        (["--model", "nothing"], ["nothing is no directory"]),
        (["--draft", "nothing"], ["nothing is no directory"]),
        (["--draft", "demo"], ["demo"]),
    ],
)
def test_faults_are_one_line(arguments: list[str], words: list[str]) -> None:
    fault = gemma_mlx("plan", *arguments).fault
    for word in words:
        assert word in fault


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--context", "0"], "expected auto or a whole number above 0"),
        (["--context", "many"], "expected auto or a whole number above 0"),
        (["--image-tokens", "100"], "'--image-tokens': expected auto, 70, 140, 280, 560 or 1120"),
        (["--memory", "much"], "'much' is no size: write it as 16GB"),
        (["demo", "--model", "demo"], "the model is named twice"),
    ],
)
def test_wrong_usage_is_told_as_such(arguments: list[str], words: str) -> None:
    run = gemma_mlx("plan", *arguments)
    assert run.code == 2
    assert words in run.err


def plan_json(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gemma_mlx("plan", *arguments, "--json").out)
    del found["machine"]["free"]  # changes between two looks
    return found


def test_the_model_may_stand_without_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_json("demo") == plan_json("--model", "demo") != plan_json("8bit", "--memory", "64GB")
    monkeypatch.setenv("GEMMA_MLX_MODEL", "8bit")
    assert plan_json("demo") == plan_json("--model", "demo")


def test_a_recipe_of_the_same_layout_takes_the_same() -> None:
    parts = [plan_json(name, "--memory", "64GB", "--mac")["parts"] for name in ("4bit-g32", "qat-q4_0", "4bit")]
    assert parts[0] == parts[1] != parts[2]


def test_plan_counts_what_is_loaded() -> None:
    """The oracle: the plan that `ask`, `chat` and `doctor` load by."""
    loaded, planned = prepare("demo").plan, plan_json("demo")
    assert planned["knobs"] == asdict(loaded.knobs)
    assert [part["bytes"] for part in planned["parts"]] == [part.nbytes for part in loaded.parts]


def test_numbers_that_are_one_and_parts_that_are_none() -> None:
    run = gemma_mlx("plan", "--memory", "16GB", "--mac", "--context", "1")
    assert re.search(r"^  context 1 token; up to [\d,]+ fit with these settings:$", run.out, re.MULTILINE)
    seen = ""
    for context in range(56_000, 80_000, 4_000):
        out = gemma_mlx("plan", "--memory", "16GB", "--mac", "--draft", "off", "--context", str(context)).out
        assert ("  snapshots " in out) is (", 0 snapshots," not in out)
        seen += out
    assert ", 1 snapshot," in seen
    assert ", 0 snapshots," in seen


def test_a_cpu_says_why_weights_are_larger_than_their_files() -> None:
    words = "weights are larger than their files: 16-bit parts are held in float32"
    assert words in gemma_mlx("plan", "4bit", "--memory", "64GB", "--dtype", "float32").out
    assert words not in gemma_mlx("plan", "4bit", "--memory", "64GB", "--dtype", "bfloat16").out
    assert words not in gemma_mlx("plan", "4bit", "--memory", "64GB", "--mac").out


def test_help_has_examples() -> None:
    assert "gemma-mlx plan --memory 16GB --mac" in gemma_mlx("plan", "--help").out
