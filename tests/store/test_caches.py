"""Files of caches: what is kept, what goes first, and when there are none."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gemma_mlx.errors import CheckpointError, MemoryPlanError
from gemma_mlx.store import caches as module
from gemma_mlx.store.caches import CACHES, CacheFiles
from gemma_mlx.store.files import locked


def of(size: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(bytes(size))

    return write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three conversations: a, b and c."""
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "conversation.json").write_text("kept")
    return tmp_path


def kept(root: Path) -> dict[str, int]:
    assert len(list(root.glob("*/conversation.json"))) == 3
    assert {path.name for path in root.glob("*/*")} <= {"conversation.json", CACHES, "lock"}
    return {path.parent.name: path.stat().st_size for path in sorted(root.glob(f"*/{CACHES}"))}


def files(root: Path, bound: int = 100) -> CacheFiles:
    return CacheFiles(root, bound, spare=0)


def used(root: Path, *names: str) -> None:
    """The order in which they were used last."""
    for second, name in enumerate(names):
        os.utime(root / name / CACHES, (second, second))


@pytest.mark.parametrize(("size", "left"), [(40, "abc"), (41, "bc"), (70, "bc"), (71, "c"), (100, "c")])
def test_the_least_recently_used_go_first(root: Path, size: int, left: str) -> None:
    ours = files(root)
    assert [ours.save(name, 0, of(30)) for name in "ab"] == [None, None]
    used(root, "a", "b")
    assert ours.save("c", 0, of(size)) is None
    assert "".join(kept(root)) == left
    assert sum(kept(root).values()) <= 100


def test_reading_is_using(root: Path) -> None:
    ours = files(root)
    for name in "ab":
        ours.save(name, 0, of(40))
    used(root, "a", "b")
    seen: list[Path] = []
    assert ours.load("a", seen.append) is None
    assert seen == [root / "a" / CACHES]
    ours.save("c", 0, of(40))
    assert list(kept(root)) == ["a", "c"]


def test_a_conversation_takes_the_place_of_its_own(root: Path) -> None:
    ours = files(root)
    for size in (60, 100, 10):
        assert ours.save("a", 0, of(size)) is None
        assert kept(root) == {"a": size}
        assert ours.nbytes("a") == size
    assert ours.nbytes("b") == 0
    assert [ours.save(name, 0, of(50)) for name in "ba"] == [None, None]
    used(root, "b", "a")
    assert ours.save("a", 0, of(50)) is None
    assert kept(root) == {"a": 50, "b": 50}


@pytest.mark.parametrize(("bound", "size", "fits"), [(0, 0, True), (0, 1, False), (100, 100, True), (100, 101, False)])
def test_the_bound_itself(root: Path, bound: int, size: int, fits: bool) -> None:
    line = files(root, bound).save("a", 0, of(size))
    expected = "a is read again when it is resumed: its caches take 0 MB, all together may take 0 MB"
    assert line == (None if fits else expected)
    assert kept(root) == ({"a": size} if fits else {})


def test_one_that_is_too_large_costs_nobody_else(root: Path) -> None:
    ours = files(root)
    ours.save("a", 0, of(30))
    ours.save("b", 0, of(70))
    assert ours.save("b", 0, of(101)) is not None
    assert kept(root) == {"a": 30, "b": 70}


def test_the_disk_is_never_filled(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(module.shutil.disk_usage(root))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(10**12, 0, 3 * 10**9))
    ours = CacheFiles(root, 10**10, spare=2 * 10**9)
    assert ours.save("a", 10**9, of(5)) is None
    line = ours.save("b", 10**9 + 1, lambda path: pytest.fail("begun"))
    assert line == f"b is read again when it is resumed: 3.0 GB are free at {root / 'b'}, too little for caches"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (CheckpointError("it cannot be written"), "it cannot be written"),
        (MemoryPlanError("no memory"), "no memory"),
        (OSError(28, "No space left on device"), "its caches cannot be written to .* \\(No space left on device\\)"),
    ],
)
def test_a_write_that_fails_leaves_what_was_there(root: Path, fault: Exception, words: str) -> None:
    ours = files(root)
    ours.save("a", 0, of(7))

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise fault

    line = ours.save("a", 0, write) or ""
    assert re.fullmatch(f"a is read again when it is resumed: {words}", line)
    assert kept(root) == {"a": 7}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (CheckpointError("of other weights"), "of other weights"),
        (MemoryPlanError("no memory"), "no memory"),
        (OSError(5, "Input/output error"), ".* cannot be read \\(Input/output error\\)"),
    ],
)
def test_what_cannot_be_taken_is_read_again(root: Path, fault: Exception, words: str) -> None:
    ours = files(root)
    ours.save("a", 0, of(7))

    def read(path: Path) -> None:
        raise fault

    assert re.fullmatch(f"a is read again with the next message: {words}", ours.load("a", read) or "")
    assert kept(root) == {"a": 7}


def test_ctrl_c_leaves_what_was_there(root: Path) -> None:
    ours = files(root)
    ours.save("a", 0, of(7))

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ours.save("a", 0, write)
    assert kept(root) == {"a": 7}


def test_what_killed_programs_left_is_swept_unless_they_live(root: Path) -> None:
    left = ["caches.new.safetensors", ".caches.new-0a1b.safetensors"]
    for name in "abc":
        for file in left:
            (root / name / file).write_bytes(b"half")
    with locked(root / "c"):
        assert files(root).save("a", 0, of(7)) is None
    assert {path.relative_to(root).as_posix() for path in root.glob("*/*caches*")} == {
        f"a/{CACHES}",
        *(f"c/{file}" for file in left),
    }


def test_none_and_damaged(root: Path) -> None:
    ours = files(root)
    again = "a is read again with the next message: "
    assert ours.load("a", lambda path: pytest.fail("read")) == f"{again}it has no caches"
    ours.save("a", 0, of(7))

    def foreign(path: Path) -> None:
        raise CheckpointError("of other weights")

    def locked_up(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    assert ours.load("a", foreign) == f"{again}of other weights"
    assert ours.load("a", locked_up) == f"{again}{root / 'a' / CACHES} cannot be read (Permission denied)"
    assert kept(root) == {"a": 7}
