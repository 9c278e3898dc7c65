"""What every test is kept from: models that the person who runs it has pulled or named, a Ctrl-C that is ignored."""

import signal
from pathlib import Path

import pytest

from gemma_mlx.models import HOME_VARIABLE
from gemma_mlx.options import MODEL_VARIABLE

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and what they start, ignore it


@pytest.fixture(autouse=True)
def no_models_of_the_person(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home for models; the directory."""
    home = tmp_path_factory.getbasetemp() / "no-models"
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    return home
