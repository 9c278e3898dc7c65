"""`gemma-mlx chats` as a person uses it: what it prints and how it ends."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from gemma_mlx.commands import chats
from gemma_mlx.errors import StoreError
from gemma_mlx.store.store import Store
from tests.command import Run, gemma_mlx
from tests.store.talk import assistant, every_kind, followed, picture, user

HEAD = "name     last used         turns  model  media  caches  begins with\n"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Where the program looks, with two conversations."""
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COLUMNS", raising=False)
    store = Store()
    for name, message in (("holiday", user("What do you\nsee?", picture())), ("work", user("Hello! " * 20))):
        saved = store.create(name)
        talk = followed(saved, message, assistant("Yes\x1b[2J."))
        if name == "holiday":
            talk.context.keys, talk.context.nbytes = [1], 123_456
            assert saved.save_caches(talk.chat()) is None
        saved.close()
        date(store, name, f"2026-11-2{len(name) % 7}T12:00:00")
    return store


def date(store: Store, name: str, local: str) -> None:
    path = store.path(name) / "conversation.json"
    time = datetime.fromisoformat(local).astimezone().isoformat()
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"created": time, "updated": time}))


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_the_list(store: Store, arguments: tuple[str, ...]) -> None:
    (medium,) = (store.path("holiday") / "media").iterdir()
    size = f"{medium.stat().st_size / 1e3:.0f} kB"
    assert gemma_mlx("chats", *arguments) == printed(
        HEAD
        + f"work     2026-11-24 12:00      1  demo       -       -  {('Hello! ' * 20)[:59]}…\n"
        + f"holiday  2026-11-20 12:00      1  demo   {size}  0.1 MB  What do you see?\n"
    )


def printed(out: str, err: str = "", code: int = 0) -> Run:
    return Run(code, out, err, err + out)


@pytest.mark.parametrize(("columns", "length"), [(200, 195), (90, 90), (80, 80), (40, 76)])
def test_first_words_as_far_as_the_terminal_is_wide(
    store: Store, columns: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    line = gemma_mlx("chats").out.splitlines()[1]
    assert len(line) == length
    assert line.endswith("…") == (columns < 200)


def test_none(store: Store) -> None:
    for name in ("holiday", "work"):
        store.delete(name)
    assert gemma_mlx("chats") == printed("", "no conversation is saved yet: gemma-mlx chat starts one\n")


def test_damaged_ones_do_not_hide_the_others(store: Store) -> None:
    path = store.path("holiday") / "conversation.json"
    path.write_text("{")
    run = gemma_mlx("chats")
    assert run.code == 0
    assert [line.split()[0] for line in run.out.splitlines()] == ["name", "work"]
    assert run.err.startswith(f"holiday: {path} is damaged (no JSON: ")
    assert run.err.endswith("): put a copy back, or delete it with gemma-mlx chats delete holiday\n")
    assert run.err.count("\n") == 1
    assert gemma_mlx("chats", "show", "holiday").fault == run.err.removeprefix("holiday: ").rstrip("\n")


def test_show(store: Store) -> None:
    (medium,) = (store.path("holiday") / "media").iterdir()
    assert gemma_mlx("chats", "show", "holiday") == printed(
        "# holiday\n\nWith demo, 2026-11-20 12:00.\n\n"
        f"## You\n\n![a picture.png]({medium})\n\nWhat do you\nsee?\n\n## Gemma\n\nYes\x1b[2J.\n"
    )


def test_a_terminal_gets_no_control_characters(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "_is_terminal", lambda stream: True)
    for arguments in (("show", "holiday"), ("list",)):
        out = gemma_mlx("chats", *arguments).out
        assert "\x1b" not in out
    assert "Yes�[2J." in gemma_mlx("chats", "show", "holiday").out


def test_export(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert gemma_mlx("chats", "export", "holiday") == printed("holiday/conversation.md\n")
    assert (tmp_path / "holiday" / "conversation.md").read_text() in gemma_mlx("chats", "show", "holiday").out.replace(
        f"{store.path('holiday')}/", ""
    )
    assert gemma_mlx("chats", "export", "holiday", "-o", "out", "--format", "json") == printed(
        "out/conversation.json\n"
    )
    assert gemma_mlx("chats", "export", "holiday").fault == (
        "holiday exists: choose another place with -o, or write into it with --force"
    )
    (medium,) = (store.path("holiday") / "media").iterdir()
    medium.unlink()
    assert gemma_mlx("chats", "export", "holiday", "--force") == printed(
        "holiday/conversation.md\n", f"{medium.name} is gone: the export refers to it, but does not hold it\n"
    )
    assert gemma_mlx("chats", "export", "holiday", "--format", "pdf").code == 2


def test_delete(store: Store) -> None:
    assert gemma_mlx("chats", "delete", "holiday", "nothing").fault == (
        "there is no conversation nothing: gemma-mlx chats lists them"
    )
    assert len(store.summaries()) == 2
    assert gemma_mlx("chats", "delete", "holiday", "work", "holiday") == printed("", "deleted holiday\ndeleted work\n")
    assert store.summaries() == []
    assert gemma_mlx("chats", "delete").code == 2


@pytest.mark.parametrize(
    ("answer", "deleted"), [(b"y\n", True), (b" YES \n", True), (b"n\n", False), (b"\n", False), (b"", False)]
)
def test_delete_asks_at_a_terminal(store: Store, answer: bytes, deleted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "_is_terminal", lambda stream: True)
    told = "deleted holiday\n" if deleted else "kept holiday\n"
    assert gemma_mlx("chats", "delete", "holiday", stdin=answer) == printed(
        "", f"delete holiday with its media? [y/N] {told}"
    )
    assert [summary.name for summary in store.summaries()] == (["work"] if deleted else ["work", "holiday"])
    assert gemma_mlx("chats", "delete", "work", "--yes") == printed("", "deleted work\n")


def test_open_elsewhere(store: Store) -> None:
    saved = store.open("holiday")
    assert "holiday is open in another program (process " in gemma_mlx("chats", "delete", "holiday", "--yes").fault
    assert gemma_mlx("chats", "show", "holiday").code == 0
    saved.close()


def test_every_kind_of_message_is_shown_and_exported(store: Store, tmp_path: Path) -> None:
    saved = store.create("all")
    followed(saved, *every_kind()[:-1])
    saved.close()
    assert gemma_mlx("chats", "export", "all", "-o", tmp_path / "out").code == 0
    shown = gemma_mlx("chats", "show", "all")
    assert (shown.code, shown.err) == (0, "")
    with pytest.raises(StoreError):
        store.read("none")
