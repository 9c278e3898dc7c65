"""What every test is kept from: models that the person who runs it has pulled or named, signals that are ignored, and,
where tests run side by side, company that would spoil what it measures (`alone`)."""

import fcntl
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gemma_mlx.models import HOME_VARIABLE
from gemma_mlx.options import MODEL_VARIABLE

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and what they start, ignore it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and so does what `nohup` starts
SIDE_BY_SIDE = "PYTEST_XDIST_WORKER" in os.environ
if SIDE_BY_SIDE:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's: as many workers as cores leave it no more


@contextmanager
def _held(path: Path, kind: int) -> Iterator[None]:
    """A lock on a file that is there anyway, shared or exclusive; across processes."""
    with path.open("rb") as file:
        fcntl.flock(file, kind)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests that are marked `alone` run while no worker runs another one. Who waits to be alone holds the door, so that
    nobody else enters the room."""
    if not SIDE_BY_SIDE:
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    door, room = Path(__file__), item.config.rootpath / "pyproject.toml"
    with ExitStack() as stack:
        with _held(door, fcntl.LOCK_EX):
            stack.enter_context(_held(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        return (yield)


@pytest.fixture(autouse=True)
def no_models_of_the_person(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home for models; the directory."""
    home = tmp_path_factory.getbasetemp() / "no-models"
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    return home
