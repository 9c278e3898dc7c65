"""Tokens that are missing, wrong or cannot be read, and a Hub that cannot be reached."""

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.command import gemma_mlx
from tests.hub.faults import fault
from tests.hub.repositories import FOUR
from tests.hub.server import Hub


def test_tokens(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "right"
    refused = f"{FOUR.repo}@{FOUR.revision}: access is refused (401): set or mend HF_TOKEN, or log in with"
    assert refused in fault("4bit")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert refused in fault("4bit")
    monkeypatch.setenv("HF_TOKEN", "right")
    assert gemma_mlx("pull", "assistant").code == 0
    assert hub.leaked == []  # it stays with the Hub, and does not reach the host that files come from
    hub.forbidden = True
    assert "the token is not allowed to read it (403)" in gemma_mlx("pull", "4bit").err.splitlines()[-1]


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_bytes(b"hf_\xff")])
def test_a_token_file_that_cannot_be_read(hub: Hub, tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "token")
    line = fault("4bit")
    assert f"{tmp_path / 'token'}, where your token is looked for, cannot be read" in line
    assert hub.requests == []


def test_a_home_of_the_hub_that_is_a_file(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "file" / "token"))
    assert f"{tmp_path / 'file' / 'token'}, where your token is looked for, cannot be read (Not a dir" in fault("4bit")


@pytest.mark.parametrize("token", ["bad é", "a\x7fb"])
def test_a_token_of_odd_characters(hub: Hub, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert fault("4bit").startswith("the token in HF_TOKEN or ")
    assert hub.requests == []


def test_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    line = fault("4bit")
    assert f"{FOUR.repo}@{FOUR.revision}: the Hub cannot be reached (" in line
    assert "check the network, HTTPS_PROXY and HF_ENDPOINT" in line
