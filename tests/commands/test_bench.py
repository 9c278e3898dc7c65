"""`gemma-mlx bench` as a person uses it: measure, read again, report, compare, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gemma_mlx.benchmarks.midsize import SMALL, write_pair
from gemma_mlx.commands import bench
from tests.command import gemma_mlx


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    write_pair(directory, SMALL)
    return directory / "target"


@pytest.fixture(scope="module")
def results(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run of one suite."""
    file = tmp_path_factory.mktemp("results") / "now.jsonl"
    words = [
        "bench",
        "load",
        "--quick",
        "--model",
        str(model),
        "--draft",
        "off",
        "--repetitions",
        "2",
        "--out",
        str(file),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gemma-mlx", *words])
        run = gemma_mlx(*words)
    assert run.code == 0, run.err
    assert run.out.startswith("load ")
    assert str(file) in run.err
    return file


def test_results_name_the_command_and_no_place(results: Path, model: Path) -> None:
    header, one, end = map(json.loads, results.read_text().splitlines())
    assert header["command"].startswith("gemma-mlx bench load --quick --model target")
    assert str(model.parent) not in results.read_text()
    assert os.uname().nodename not in json.dumps(header["machine"])
    assert "--out now.jsonl" in header["command"]
    assert len(one["values"]) == 2
    assert end["finished"] is True
    assert {"seconds", "swap_bytes_before", "swap_bytes_after"} <= end["facts"].keys()


def test_a_report_and_a_submission_of_results_that_are_there(results: Path) -> None:
    run = gemma_mlx("bench", "--results", results, "--report", "--submit")
    assert run.code == 0, run.err
    assert "weights in memory" in run.out
    page = results.with_suffix(".html").read_text()
    assert "<svg" in page or "data:image" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_what_became_slower_is_said_and_fails(results: Path, tmp_path: Path) -> None:
    same = gemma_mlx("bench", "--results", results, "--against", results)
    assert same.code == 0, same.err
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    lines[1]["values"] = [3 * value + 1 for value in lines[1]["values"]]
    slow = tmp_path / "slow.jsonl"
    slow.write_text("".join(json.dumps(line) + "\n" for line in lines))
    slower = gemma_mlx("bench", "--results", slow, "--against", results)
    assert slower.code == 1
    assert "slower" in slower.out
    assert gemma_mlx("bench", "--results", slow, "--against", results, "--threshold", "99").code == 0
    assert gemma_mlx("bench", "--results", results, "--against", slow).code == 0
    lines[1] = {"kind": "skipped", "what": "load", "why": "it failed"}
    slow.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert gemma_mlx("bench", "--results", slow, "--against", results).code == 1  # what failed is not as before


def test_results_are_kept_among_the_user_s_data(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path))
    run = gemma_mlx("bench", "load", "--model", model, "--repetitions", "1")
    assert run.code == 0, run.err
    (file,) = (tmp_path / "benchmarks").glob("*.jsonl")
    assert str(file) in run.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("speed",), "there is no suite speed"),
        (("load", "--compare", "ollama"), "ollama"),
        (("load", "--model", "nowhere/at-all"), "nowhere/at-all"),
        (("--results", "none.jsonl"), "none.jsonl"),
        (("--results", "pyproject.toml"), "line 1"),
        (("decode", "--results", "none.jsonl"), "measures nothing"),
        (("decode", "--lengths", "128,many"), "--lengths is 128,many"),
        (("decode", "--lengths", "0"), "--lengths is 0"),
        (("decode", "--lengths", ""), "--lengths is ,"),
        (("load", "--lengths", "128"), "--lengths is for the suites prefill and decode"),
        (("--results", "none.jsonl", "--lengths", "128"), "measures nothing"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    run = gemma_mlx("bench", *arguments)
    assert run.code == 1
    assert words in run.err
    assert run.err.count("\n") == 1, run.err


def test_results_are_not_written_into_something_else(model: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine, without an end of line")
    for place, words in ((notes, "name another file"), (tmp_path, "cannot be read as results")):
        run = gemma_mlx("bench", "load", "--model", model, "--out", place)
        assert (run.code, run.err.count("\n")) == (1, 1), run.err
        assert words in run.err
    assert notes.read_text() == "mine, without an end of line"


def test_a_file_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    run = gemma_mlx("bench", "--results", tmp_path / "empty.jsonl")
    assert (run.code, run.err.count("\n")) == (1, 1)
    assert "holds no run" in run.err


def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "now.jsonl"
    words = ["bench", "load", "prefill", "--model", str(model), "--repetitions", "50", "--out", str(file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "gemma_mlx", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(2)
    workers = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    *_, end = map(json.loads, file.read_text().splitlines())
    assert end["finished"] is False
    assert workers
    assert subprocess.run(["ps", "-p", ",".join(workers)], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (["--out", "/home/me/new.jsonl"], ["--out", "new.jsonl"]),
        (
            ["--out=~/new.jsonl", "--compare", "llama.cpp=/models/x.gguf"],
            ["--out=new.jsonl", "--compare", "llama.cpp=x.gguf"],
        ),
        (["--model", "google/gemma-4-12B-it", "decode"], ["--model", "google/gemma-4-12B-it", "decode"]),
        (["--model", "./models/mine", "../now.jsonl"], ["--model", "mine", "now.jsonl"]),
    ],
)
def test_places_are_left_out_of_the_command(typed: list[str], shown: list[str]) -> None:
    assert bench._shown(typed) == shown


def test_what_a_run_is_compared_with_is_read_before_it(model: Path, tmp_path: Path) -> None:
    run = gemma_mlx(
        "bench", "load", "--model", model, "--out", tmp_path / "a.jsonl", "--against", tmp_path / "none.jsonl"
    )
    assert run.code == 1
    assert "none.jsonl" in run.err
    assert not (tmp_path / "a.jsonl").exists()
