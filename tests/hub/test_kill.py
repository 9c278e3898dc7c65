"""`gemma-mlx pull` as a program of its own: killed and interrupted at any moment, in other environments."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemma_mlx.checkpoint import read_tensors
from gemma_mlx.models import pulled_model
from tests.hub.repositories import repositories
from tests.hub.server import Files, Hub

KILLS = 20


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(repositories()) as server:
        yield server


def environment(hub: Hub, place: Path, **more: str) -> dict[str, str]:
    known = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "GEMMA_", "HUGGING"))}
    ours = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(place / "hf"), "GEMMA_MLX_HOME": str(place / "home")}
    return known | ours | more


def start(hub: Hub, place: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gemma_mlx", "pull", *arguments]
    return subprocess.Popen(
        command, env=environment(hub, place, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(hub: Hub, place: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    process = start(hub, place, *arguments, **more)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def content(directory: Path) -> Files:
    """Every file, through links."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def kill_within(process: subprocess.Popen[str], hub: Hub, seconds: float) -> bool:
    """Kill the program so long after its first request, unless it ends before; whether it was killed."""
    seen = len(hub.requests)
    while len(hub.requests) == seen and process.poll() is None:
        time.sleep(0.01)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_killed_at_random_moments(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(hub, tmp_path / "whole")[0] == 0
    expected = content(tmp_path / "whole" / "home" / "models" / "4bit")
    hub.seconds_per_chunk = 0.008
    moments, kills, place = random.Random(0), 0, tmp_path / "0"
    while kills < KILLS:
        monkeypatch.setenv("GEMMA_MLX_HOME", str(place / "home"))
        killed = kill_within(start(hub, place), hub, moments.uniform(0, 0.6))
        kills += killed
        if (found := pulled_model("4bit")) is not None:
            assert content(found) == expected  # whole or not there: there is no half
            read_tensors(found)
        else:
            assert killed
        if not killed:
            place = tmp_path / str(kills)  # all there: once more from nothing
    hub.seconds_per_chunk = 0
    assert run(hub, place)[0] == 0
    assert content(place / "home" / "models" / "4bit") == expected
    assert not list((place / "home" / "models").glob(".*"))
    assert not list(place.rglob("*.incomplete"))


def test_ctrl_c_is_one_line(hub: Hub, tmp_path: Path) -> None:
    hub.seconds_per_chunk = 0.05
    process = start(hub, tmp_path, "4bit")
    while not list(tmp_path.rglob("*.incomplete")):
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[2:] == ["stopped; the same command goes on from here"]


def test_environment(hub: Hub, tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE and proxies are huggingface_hub's to read."""
    hub.token = "right"
    assert run(hub, tmp_path, "4bit")[0] == 1
    assert run(hub, tmp_path, "4bit", HF_TOKEN="right")[0] == 0
    assert (tmp_path / "hf" / "hub").is_dir()
    hub.requests.clear()
    again = run(hub, tmp_path, "4bit", HF_HUB_OFFLINE="1")
    assert again == (0, f"{tmp_path / 'home' / 'models' / '4bit'}\n", "4bit is here already\n")
    code, out, err = run(hub, tmp_path, "assistant", HF_HUB_OFFLINE="1")
    assert (code, out) == (1, "")
    assert "HF_HUB_OFFLINE forbids" in err
    assert hub.requests == []
    code, _, err = run(hub, tmp_path, "assistant", HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="", HF_TOKEN="right")
    assert code == 1
    assert "the Hub cannot be reached" in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 2  # that it asks, and what came of it
    assert hub.requests == []
