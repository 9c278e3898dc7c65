"""Programs that only pretend, first on the PATH: shell scripts of a test."""

import stat
from pathlib import Path

import pytest


def pretend(monkeypatch: pytest.MonkeyPatch, directory: Path, name: str, script: str) -> Path:
    """A program of that name is this script, which finds its last argument in $file and the directory in $here; the
    file in which it notes its arguments."""
    noted = directory / f"{name}.arguments"
    command = directory / name
    head = f'#!/bin/sh\nhere="{directory}"\nfor each; do echo "$each"; done > "{noted}"\nfor file; do :; done\n'
    command.write_text(f"{head}{script}\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    return noted


def without_programs(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """No program is installed."""
    (directory / "empty").mkdir()
    monkeypatch.setenv("PATH", str(directory / "empty"))
