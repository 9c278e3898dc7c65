"""All conversations: listed, opened and deleted, damaged ones too."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from gemma_mlx.errors import StoreError
from gemma_mlx.models import home_directory
from gemma_mlx.store import store as module
from gemma_mlx.store.files import locked
from gemma_mlx.store.home import read_record as read
from gemma_mlx.store.store import Store
from tests.store.talk import assistant, followed, picture, user


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two conversations: one with a picture and caches, and a later one."""
    store = Store(tmp_path / "chats")
    for name, medium, second in (("first", [picture()], 1), ("second", [], 2)):
        kept = store.create(name)
        talk = followed(kept, user(f"Of the {name}\none", *medium), assistant("Yes"), user("And?"))
        if medium:
            talk.context.keys = [1]
            kept.save_caches(talk.chat())
        kept.close()
        path = store.path(name) / "conversation.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"updated": f"2026-01-0{second}T00:00:00+00:00"}))
    return store


def fault(store: Store, name: str) -> str:
    with pytest.raises(StoreError) as found:
        store.open(name)
    assert "\n" not in str(found.value)
    with locked(store.directory / name if (store.directory / name).is_dir() else store.directory):
        pass  # it was not left locked
    return str(found.value)


def test_where_they_are() -> None:
    assert Store().directory == home_directory() / "chats"
    assert Store().summaries() == []
    assert not (home_directory() / "chats").exists()


def test_the_list(store: Store) -> None:
    later, earlier = store.summaries()
    assert (later.name, later.turns, later.first_words, later.model, later.media_bytes, later.cache_bytes) == (
        ("second", 2, "Of the second one", "demo", 0, 0)
    )
    (medium,) = (store.path("first") / "media").iterdir()
    assert (earlier.name, earlier.media_bytes) == ("first", medium.stat().st_size)
    assert earlier.cache_bytes > 1000
    assert earlier.fault is None
    assert (earlier.updated.isoformat(), later.updated.isoformat()) == (
        "2026-01-01T00:00:00+00:00",
        "2026-01-02T00:00:00+00:00",
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is damaged (no JSON: "),
        (b"", "is damaged (no JSON: "),
        (
            b'{"version": 1}',
            "is damaged (messages is no list): put a copy back, or delete it with gemma-mlx chats delete",
        ),
        (b'{"version": 7}', ": its version is 7, this program knows 1: update gemma-mlx"),
        (None, "is gone: put it back, or delete what is left with gemma-mlx chats delete first"),
    ],
)
def test_damaged_ones_are_listed_and_told(store: Store, content: bytes | None, words: str) -> None:
    path = store.path("first") / "conversation.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert str(path) in fault(store, "first")
    assert words in fault(store, "first")
    found = {summary.name: summary.fault for summary in store.summaries()}
    assert found == {"first": fault(store, "first"), "second": None}
    store.delete("first")
    assert [summary.name for summary in store.summaries()] == ["second"]


def test_what_cannot_be_read(store: Store) -> None:
    path = store.path("first") / "conversation.json"
    path.unlink()
    path.mkdir()
    assert fault(store, "first") == f"{path} cannot be read (Is a directory): check its permissions"
    shutil.rmtree(store.path("second") / "lock", ignore_errors=True)
    (store.path("second") / "lock").unlink()
    (store.path("second") / "lock").mkdir()
    with pytest.raises(StoreError, match="second cannot be opened \\(Is a directory\\): check its permissions"):
        store.open("second")
    (store.directory.parent / "file").touch()
    with pytest.raises(StoreError, match="file cannot be opened \\(Not a directory\\): check its permissions"):
        Store(store.directory.parent / "file").summaries()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("third", "gemma-mlx chats lists them"),
        ("f", "is it first?"),
        ("", "gemma-mlx chats lists them"),
        ("../chats/first", "gemma-mlx chats lists them"),
        (".", "gemma-mlx chats lists them"),
    ],
)
def test_names_of_none(store: Store, name: str, hint: str) -> None:
    for ask in (store.open, store.delete, store.read, store.path):
        with pytest.raises(StoreError, match="there is no conversation") as found:
            ask(name)
        assert str(found.value).endswith(hint)


def test_opening_deletes_media_of_no_message(store: Store) -> None:
    media = store.path("first") / "media"
    (kept,) = media.iterdir()
    (media / ("0" * 32 + ".png")).touch()
    (media / "folder").mkdir()
    store.open("first").close()
    assert {path.name for path in media.iterdir()} == {kept.name, "folder"}


def test_deleting_leaves_nothing(store: Store) -> None:
    store.delete("first")
    assert [path.name for path in store.directory.iterdir()] == ["second"]


def test_what_killed_programs_left_goes(store: Store) -> None:
    new, old, opened, foreign = ".1-00000000", ".2-00000000", ".3-00000000", ".git"
    for name in (new, old, opened, foreign):
        (store.directory / name).mkdir()
        (store.directory / name / "conversation.json").touch()
    for name in (old, opened, foreign):
        os.utime(store.directory / name, (time.time() - 100,) * 2)
    assert len(store.summaries()) == 2
    with locked(store.directory / opened):
        os.utime(store.directory / opened, (time.time() - 100,) * 2)
        store.delete("first")
    assert sorted(path.name for path in store.directory.iterdir()) == [new, opened, foreign, "second"]
    assert [path.name for path in (store.directory / foreign).iterdir()] == ["conversation.json"]


def test_a_name_is_found_in_either_spelling(store: Store) -> None:
    for composed, decomposed in (("für", "fu\u0308r"), ("é", "e\u0301")):
        (store.directory / decomposed).mkdir()  # as some file systems give names back
        assert store.path(composed) == store.path(decomposed) == store.directory / decomposed
    assert store.path("first") == store.directory / "first"
    with pytest.raises(StoreError, match="is it für"):
        store.path("fu\u0308")


def test_one_that_disappears_while_they_are_listed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def deleted(path: Path) -> None:
        shutil.rmtree(path)
        raise StoreError("gone")

    monkeypatch.setattr(module, "read_record", lambda path: deleted(path) if path.name == "first" else read(path))
    assert [summary.name for summary in store.summaries()] == ["second"]


def test_a_full_disk_can_be_cleared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    store.delete("first")
    assert [summary.name for summary in store.summaries()] == ["second"]


def test_what_cannot_be_deleted_is_not_left_locked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda path, target: refuse(path))
        with pytest.raises(StoreError, match=r"first cannot be deleted \(Permission denied\): check its permissions"):
            store.delete("first")
    store.delete("first")
    assert [summary.name for summary in store.summaries()] == ["second"]
