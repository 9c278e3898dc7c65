"""A directory that appears finished or not at all, and goes on only where the same job was cut off."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gemma_mlx.convert.output import Job, check_place, is_finished, open_partial
from gemma_mlx.errors import GemmaError
from tests.convert.checkpoints import contents

HEADER = b"header"
JOB = Job("a", 4, {"x": HEADER, "y": HEADER}, {"x": 16, "y": 10})
ROWS = np.arange(10, dtype=np.uint8)
EXPECTED = {"x": HEADER + ROWS.tobytes(), "y": HEADER + ROWS[:4].tobytes(), "config.json": b"{}"}


def step(number: int, partial: Any) -> None:
    """One of the four steps of the job."""
    file, start, end = (("x", 0, 4), ("x", 4, 10), ("y", 0, 3), ("y", 3, 4))[number]
    partial.write(file, len(HEADER) + start, ROWS[start:end])


def run(output: Path, job: Job = JOB, stop: int = 4) -> int:
    """Do the steps up to `stop`, noting each; returns how many had been done before."""
    with open_partial(output, job) as partial:
        for number in range(partial.done, stop):
            step(number, partial)
            partial.commit(number + 1)
        if stop == 4:
            partial.finish({"config.json": b"{}"})
        return partial.done


def hidden(output: Path, what: str) -> Path:
    return output.with_name(f".{output.name}.{what}")


def test_it_appears_finished_and_leaves_nothing(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    assert run(output) == 0
    assert contents(output) == EXPECTED
    assert [path.name for path in output.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("stop", range(4))
def test_it_goes_on_where_it_was(tmp_path: Path, stop: int) -> None:
    output = tmp_path / "out"
    run(output, stop=stop)
    assert not output.exists()
    assert run(output) == stop
    assert contents(output) == EXPECTED


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    run(output)
    assert contents(output) == EXPECTED


@pytest.mark.parametrize(
    "journal",
    [b"", b"{", b"[]", b"7", b"\xff", b"{}", b'{"job": "a"}']
    + [json.dumps({"job": job, "done": 2, "directory": 1}).encode() for job in ("b", None)]
    + [json.dumps({"job": "a", "done": done, "directory": 1}).encode() for done in (-1, 5, True, "2", 2.0, None)]
    + [json.dumps({"job": "a", "done": 2, "directory": directory}).encode() for directory in (None, "1", 1.0)],
)
def test_a_journal_that_is_worth_nothing(tmp_path: Path, journal: bytes) -> None:
    output = tmp_path / "out"
    run(output, stop=2)
    hidden(output, "journal").write_bytes(journal)
    assert run(output) == 0
    assert contents(output) == EXPECTED


def test_the_journal_of_another_job(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(output, Job("b", 4, {"x": HEADER, "z": HEADER}, {"x": 16, "z": 99}), stop=0)
    run(output, Job("b", 4, {"x": HEADER, "z": HEADER}, {"x": 16, "z": 99}), stop=0)
    assert run(output) == 0
    assert contents(output) == EXPECTED


@pytest.mark.parametrize("damage", [lambda f: f.unlink(), lambda f: f.write_bytes(b"short")])
def test_a_file_that_is_gone_or_short(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    output = tmp_path / "out"
    run(output, stop=3)
    damage(hidden(output, "partial") / "x")
    assert run(output) == 0
    assert contents(output) == EXPECTED


def test_finished_but_not_tidied(tmp_path: Path) -> None:
    output, other = tmp_path / "out", Job("b", 4, {}, {})
    run(output)
    assert not is_finished(output, JOB)  # nothing says of which job it is
    directory = output.stat().st_ino
    for done in range(5):
        hidden(output, "journal").write_text(json.dumps({"job": "a", "done": done, "directory": directory}))
        assert is_finished(output, JOB) == (done == 4)
    assert not is_finished(output, other)
    shutil.rmtree(output)
    assert not is_finished(output, JOB)


def test_an_old_model_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    """After the last step the disk is full, and a person removes the hidden directory to make room."""
    output = tmp_path / "out"
    output.mkdir()
    (output / "config.json").write_bytes(b"old")
    with open_partial(output, JOB) as partial:
        partial.commit(JOB.steps)
    shutil.rmtree(hidden(output, "partial"))
    assert not is_finished(output, JOB)
    assert run(output) == 0
    assert contents(output) == EXPECTED


def test_one_at_a_time(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with open_partial(output, JOB), pytest.raises(GemmaError, match=r"another program is writing .*out: wait for it"):
        run(output)
    assert run(output) == 0


def test_a_model_is_replaced_at_once(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "config.json").write_bytes(b"old")
    (tmp_path / ".out.replaced").mkdir()  # of a run that was cut off here
    run(output)
    assert contents(output) == EXPECTED
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, start: whole(descriptor, data[:1], start))
    run(tmp_path / "out")
    assert contents(tmp_path / "out") == EXPECTED


def test_places(tmp_path: Path) -> None:
    source = tmp_path / "models" / "source"
    source.mkdir(parents=True)
    (source / "config.json").write_bytes(b'{"model_type": "gemma4_unified"}')
    for output in (source, source / "out", source / "a" / "b", tmp_path / "models", tmp_path):
        for force in (False, True):
            with pytest.raises(GemmaError, match="is the source, inside it or around it: choose another place with -o"):
                check_place(output, source, force)
    other, junk, file, program = (tmp_path / name for name in ("other", "junk", "file", "program"))
    shutil.copytree(source, other)
    junk.mkdir()
    program.mkdir()
    (program / "config.json").write_bytes(b'{"name": "a web server"}')
    check_place(junk, source, False)
    (junk / "letter.txt").write_bytes(b"")
    file.write_bytes(b"")
    check_place(tmp_path / "source-4bit", source, False)
    check_place(other, source, True)
    with pytest.raises(GemmaError, match=r"other exists: .* replace it with --force"):
        check_place(other, source, False)
    for output in (junk, file, program):
        with pytest.raises(GemmaError, match="exists and is no model"):
            check_place(output, source, True)


@pytest.mark.parametrize("free", [0, 1, 10**12])
def test_the_space_is_known_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    job = Job("a", 1, {"x": HEADER}, {"x": 10**11})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**13, free=free))
    output = tmp_path / "deep" / "out"
    if free == 10**12:
        with open_partial(output, job):
            return
    with (
        pytest.raises(
            GemmaError, match=rf"out needs 100\.05 GB, {free / 1e6:.1f} MB are free at {tmp_path}: make room"
        ),
        open_partial(output, job),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_files_is_not_told_as_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        with pytest.raises(
            GemmaError, match=rf"out cannot be written, {tmp_path} takes no files: choose another place"
        ):
            run(tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=0, free=0))  # such as /proc
        refused()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refused()


def test_what_is_written_already_needs_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, size = tmp_path / "out", 60_000_000
    job = Job("a", 1, {"x": HEADER}, {"x": size})
    with open_partial(output, job) as partial:
        partial.write("x", 0, np.ones(size, np.uint8))
        partial.commit(0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**13, free=55_000_000))
    with open_partial(output, job) as partial:
        partial.finish({})


@pytest.mark.parametrize("call", ["pwrite", "fsync", "open", "mkdir", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO])
def test_what_the_system_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(GemmaError) as fault:
            run(output)
    full = number in (errno.ENOSPC, errno.EDQUOT)
    assert ("is full" if full else os.strerror(number)) in str(fault.value)
    assert str(output) in str(fault.value)
    assert "\n" not in str(fault.value)
    assert not output.exists()
    run(output)
    assert contents(output) == EXPECTED
