"""Caches that were saved or copied go on as if they had not been; see `test_state.py` for what a file may hold."""

from pathlib import Path

import pytest

from gemma_mlx.errors import ContextError
from gemma_mlx.model import cache
from tests import rows
from tests.rows import SLACK, STEP, WINDOW, Conversation, far
from tests.states import resumed


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "STEP", STEP)


def saved_after(talk: Conversation, path: Path) -> Conversation:
    """The same conversation with caches that were saved and loaded."""
    talk.caches = resumed(talk.caches, path)
    return talk


@pytest.mark.parametrize("seed", range(6))
def test_saved_and_loaded_conversations_go_on(tmp_path: Path, seed: int) -> None:
    talk = Conversation(seed)
    for number in range(15):
        for _ in range(3):
            talk.step()
        trimmable = talk.caches.trimmable
        saved_after(talk, tmp_path / f"{number}.safetensors")
        talk.snapshots.clear()
        rows.holds(talk.caches, talk.ids)
        assert talk.caches.slack == SLACK
        assert talk.caches.trimmable >= min(trimmable, SLACK)


@pytest.mark.parametrize("length", range(2 * (WINDOW + SLACK) + 3))
def test_saving_at_every_position(tmp_path: Path, length: int) -> None:
    for back in range(min(length, SLACK) + 1):
        talk = Conversation()
        for _ in range(length):
            talk.extend(1)
        talk.trim(back)
        saved_after(talk, tmp_path / f"{back}.safetensors")
        rows.holds(talk.caches, talk.ids)
        talk.extend(2 * STEP)
        rows.holds(talk.caches, talk.ids)


def test_saving_nothing(tmp_path: Path) -> None:
    talk = saved_after(Conversation(), tmp_path / "talk.safetensors")
    assert talk.caches.offset == 0
    talk.extend(2)
    rows.holds(talk.caches, talk.ids)


@pytest.mark.parametrize("seed", range(4))
def test_copies_share_nothing_that_is_written(seed: int) -> None:
    talk = Conversation(seed)
    for _ in range(12):
        for _ in range(3):
            talk.step()
        other = Conversation(seed)
        other.caches, other.ids = talk.caches.copy(), talk.ids
        other.snapshots = [*talk.snapshots]
        for _ in range(3):
            other.step()
        rows.holds(talk.caches, talk.ids)
        rows.holds(other.caches, other.ids)


def test_a_snapshot_further_back_than_is_kept_is_refused() -> None:
    talk = far()
    talk.snapshot(talk.caches.trimmable)
    with pytest.raises(ContextError, match="cannot take back"):
        talk.snapshot(talk.caches.trimmable + 1)


def test_snapshots_take_no_more_than_was_said() -> None:
    talk = far()
    for back in (0, 1, talk.caches.trimmable):
        position = len(talk.ids) - back
        assert talk.caches.snapshot(position).nbytes <= talk.caches.snapshot_nbytes(position)
    assert talk.caches.snapshot().nbytes == talk.caches.snapshot_nbytes(len(talk.ids))


@pytest.mark.parametrize("length", range(1, 3 * STEP))
def test_what_an_append_will_drop_is_foretold(length: int) -> None:
    """Whether `trimmable` grows by less than the append."""
    for before in range(0, 3 * (WINDOW + SLACK), 3):
        talk = Conversation()
        talk.extend(before)
        drops, trimmable = talk.caches.drops(length), talk.caches.trimmable
        talk.extend(length)
        assert drops == (talk.caches.trimmable < trimmable + length)
