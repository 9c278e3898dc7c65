"""What the tests of conversions share."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests kill processes, not machines: what is written need not reach the disk before they go on."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
