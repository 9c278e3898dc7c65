"""What the tests of conversions share."""

import os
from pathlib import Path

import pytest

from tests import unpacked


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests kill processes, not machines: what is written need not reach the disk before they go on."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def plain_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model in bfloat16; read only."""
    return unpacked.demo(tmp_path_factory.mktemp("plain") / "demo")


@pytest.fixture(scope="session")
def plain_assistant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its drafter in bfloat16; read only."""
    return unpacked.assistant(tmp_path_factory.mktemp("plain") / "demo-assistant")
