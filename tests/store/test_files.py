"""Files that appear whole or not at all, and the lock."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gemma_mlx.errors import StoreError
from gemma_mlx.store import files
from gemma_mlx.store.files import Lock, locked, move_into_place, write

HOLDS = """
import sys
from pathlib import Path
from gemma_mlx.store.files import Lock
lock = Lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_private_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"", b"long content", b"short"):
        write(path, content)
        assert path.read_bytes() == content
        assert mode(path) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_what_ends_a_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, call: str
) -> None:
    path = tmp_path / "a"
    write(path, b"old")

    def fail(*arguments: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(os if call == "fsync" else Path, call, fail)
        with pytest.raises(type(fault)):
            write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_writer_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.new").write_bytes(b"half of something longer")
    write(tmp_path / "a", b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new"


def test_another_writers_file_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"content")
    (tmp_path / "new").chmod(0o644)
    move_into_place(tmp_path / "new", tmp_path / "a")
    assert mode(tmp_path / "a") == 0o600
    assert not (tmp_path / "new").exists()


def test_a_lock_is_for_one(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    words = f"{tmp_path.name} is open in another program \\(process {os.getpid()}\\): leave it there first"
    with pytest.raises(StoreError, match=words):
        Lock(tmp_path)
    assert mode(tmp_path / files.LOCK) == 0o600
    lock.release()
    with locked(tmp_path), pytest.raises(StoreError, match=words):
        Lock(tmp_path)
    Lock(tmp_path).release()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(StoreError, match=f"\\(process {process.pid}\\)"):
            Lock(tmp_path)
        process.kill()
        process.wait()
        Lock(tmp_path).release()
    assert (tmp_path / files.LOCK).read_text() == str(os.getpid())


def test_a_name_that_is_moved_stays_locked(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with locked(tmp_path / "a"):
        (tmp_path / "a").rename(tmp_path / "b")
        with pytest.raises(StoreError, match="b is open"):
            Lock(tmp_path / "b")
