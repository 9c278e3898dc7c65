"""The assistant that `gemma-mlx pull` packs to 4 bits: when it is made, when again, and what is left without it."""

import errno
import json
import os
from pathlib import Path

import pytest

from gemma_mlx.config import DrafterConfig
from gemma_mlx.convert import run as conversion
from gemma_mlx.loading import load_drafter
from gemma_mlx.memory.published import DRAFTER, drafter_bytes
from gemma_mlx.memory.weights import drafter_bytes as drafter_bytes_on_disk
from gemma_mlx.models import drafter_for, find_model, models_directory
from tests.command import gemma_mlx
from tests.hub.repositories import ASSISTANT
from tests.hub.server import Hub

MADE = "assistant-4bit: the drafter packed to 4 bits, 0.8 MB"


@pytest.fixture
def target(hub: Hub) -> Path:
    """A model that the assistant was made for, and that is not the demo itself."""
    gemma_mlx("pull", "reference")
    return find_model("reference")


@pytest.fixture
def packed(target: Path) -> Path:
    """Where the packed assistant is, once the assistant is pulled."""
    run = gemma_mlx("pull", "assistant")
    assert run.out == f"{models_directory() / 'assistant'}\n"
    assert run.err.splitlines()[-1] == MADE
    return models_directory() / "assistant-4bit"


def hidden() -> list[Path]:
    return list(models_directory().glob(".*"))


def test_it_drafts_in_4_bits(target: Path, packed: Path) -> None:
    assert drafter_for(target) == packed
    config = DrafterConfig.load(packed)
    assert config.quantization is not None
    assert (config.quantization.default.bits, config.quantization.default.group_size) == (4, 64)
    assert json.loads((packed / "config.json").read_text())["gemma_mlx"]["source_revision"] == ASSISTANT.revision
    load_drafter(packed)
    for item in (2, 4):
        assert drafter_bytes(config, DRAFTER, item) == drafter_bytes_on_disk(packed, item)[1]
    assert not hidden()


def test_it_is_made_once(packed: Path) -> None:
    before = packed.stat().st_ino
    (models_directory() / ".assistant-4bit.journal").write_text("{}")  # cut off after it appeared
    assert gemma_mlx("pull", "assistant").err == "assistant is here already\n"
    assert packed.stat().st_ino == before
    assert not hidden()


def test_it_is_not_made_without_the_assistant(target: Path) -> None:
    gemma_mlx("pull", "4bit")
    assert not (models_directory() / "assistant-4bit").exists()


@pytest.mark.parametrize("change", ["another commit", "cut short", "gone"])
def test_it_is_made_again(packed: Path, change: str) -> None:
    weights, config = packed / "model.safetensors", packed / "config.json"
    expected = weights.read_bytes(), config.read_bytes()
    if change == "another commit":
        config.write_bytes(expected[1].replace(ASSISTANT.revision.encode(), b"0" * 40))
    elif change == "cut short":
        os.truncate(weights, 1000)
    else:
        weights.unlink()
    assert gemma_mlx("pull", "assistant").err.splitlines() == ["assistant is here already", MADE]
    assert (weights.read_bytes(), config.read_bytes()) == expected
    assert not hidden()


def test_a_disk_that_is_full_leaves_the_fetched_one(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes, start: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        run = gemma_mlx("pull", "assistant")
    assert (run.code, run.out) == (0, f"{models_directory() / 'assistant'}\n")
    line = run.err.splitlines()[-1]
    command = f"gemma-mlx convert assistant -o {models_directory() / 'assistant-4bit'}"
    assert line.startswith(f"the drafter stays in 16 bits, {command}: ")
    assert "make room" in line
    assert drafter_for(target) == models_directory() / "assistant"
    assert gemma_mlx("pull", "assistant").err.splitlines()[-1] == MADE
    assert not hidden()


def test_ctrl_c_leaves_the_fetched_one(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(conversion, "_convert_one", stop)
        run = gemma_mlx("pull", "assistant")
    assert (run.code, run.out) == (130, "")
    assert "stopped; the same command goes on from here" in run.err.splitlines()
    assert drafter_for(target) == models_directory() / "assistant"
    assert gemma_mlx("pull", "assistant").err.splitlines() == ["assistant is here already", MADE]
    assert drafter_for(target) == models_directory() / "assistant-4bit"
    assert not hidden()
