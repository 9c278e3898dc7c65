"""A directory that appears finished or not at all, and whose making can be cut off at any moment and continued.

It grows in a hidden directory beside its place, `.NAME.partial`, where no program looks for a model, the files of
weights at their full size from the start. A journal beside it, `.NAME.journal`, says how much of the work is safely on
the disk. The journal belongs to one job; of another job, or damaged, it is worth nothing and the work starts over.
Knows files and bytes: not what is in them.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemma_mlx.errors import GemmaError
from gemma_mlx.memory.sizes import file_size

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SPARE = 50_000_000  # bytes that stay free: tokenizer, templates, the file system's own


@dataclass(frozen=True)
class Job:
    """What is to be done: `identity` differs between jobs, `steps` are done in order, `sizes` are the files' bytes."""

    identity: str
    steps: int
    headers: Mapping[str, bytes]
    sizes: Mapping[str, int]


def check_place(output: Path, source: Path, force: bool) -> None:
    """Raise `GemmaError` unless a directory may appear at `output`; `force` lets it replace a model. Resolved paths."""
    if output == source or source in output.parents or output in source.parents:
        raise GemmaError(f"{output} is the source, inside it or around it: choose another place with -o")
    with _saving(output):
        if not output.exists() or (output.is_dir() and not any(output.iterdir())):
            return
    if not _is_model(output):
        raise GemmaError(f"{output} exists and is no model: choose another place with -o")
    if not force:
        raise GemmaError(f"{output} exists: choose another place with -o, or replace it with --force")


def _is_model(directory: Path) -> bool:
    """Whether a directory may be replaced: many programs have a `config.json`, but theirs names no model."""
    try:
        config: Any = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and "model_type" in config


def is_finished(output: Path, job: Job) -> bool:
    """Whether `job` was cut off after the output appeared, with nothing left to do but to tidy up."""
    with _saving(output):
        journal = _read_journal(output, job)
        # A hidden directory that a person removed leaves the same journal: only the one that was renamed is finished.
        return journal is not None and output.is_dir() and journal == _Journal(job.steps, output.stat().st_ino)


def tidy(output: Path) -> None:
    """Remove what is left of a finished job, last of all what says that it is finished."""
    shutil.rmtree(_replaced(output), ignore_errors=True)
    _fresh_journal(output).unlink(missing_ok=True)
    _journal(output).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Journal:
    """Steps that are safely on the disk, of the directory with this inode, which it keeps when it is renamed."""

    done: int
    directory: int


class Partial:
    """The output while it grows; `done` steps were finished by earlier runs. Made by `open_partial`."""

    def __init__(self, output: Path, job: Job, done: int, descriptors: Mapping[str, int]) -> None:
        self.done = done
        self._output, self._job, self._descriptors = output, job, descriptors

    def write(self, file: str, start: int, values: np.ndarray) -> None:
        """The bytes of a contiguous array to their place in a file; from any thread."""
        data = values.reshape(-1).view(np.uint8)
        with _saving(self._output):
            while data.size:
                written = os.pwrite(self._descriptors[file], data.data, start)
                start, data = start + written, data[written:]

    def commit(self, done: int) -> None:
        """Say that the first `done` steps are on the disk, after making sure that they are."""
        with _saving(self._output):
            for descriptor in self._descriptors.values():
                os.fsync(descriptor)
            _write_journal(self._output, self._job, done)

    def discard(self) -> None:
        """Remove what was made, which can never be continued."""
        _journal(self._output).unlink(missing_ok=True)
        shutil.rmtree(_partial(self._output), ignore_errors=True)

    def finish(self, files: Mapping[str, bytes]) -> None:
        """Add the other files by name, in their order, and let the directory appear."""
        partial = _partial(self._output)
        with _saving(self._output):
            for name, content in files.items():
                _save(partial / name, content)
            _sync_directory(partial)
            if self._output.exists() and any(self._output.iterdir()):
                shutil.rmtree(_replaced(self._output), ignore_errors=True)
                self._output.rename(_replaced(self._output))
            partial.rename(self._output)
            _sync_directory(self._output.parent)
            tidy(self._output)


@contextmanager
def open_partial(output: Path, job: Job) -> Iterator[Partial]:
    """The hidden directory, continued if it is of this job and new otherwise.

    Raises `GemmaError` if another program writes it, if the disk lacks space, or if nothing can be written there.
    """
    partial = _partial(output)
    descriptors: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        with _saving(output):
            _check_space(output, job)
            partial.mkdir(parents=True, exist_ok=True)
            _lock(output, stack)
            done = _continued(output, job)
            if done is None:
                done = 0
                _start_over(output, job)
            for name in job.sizes:
                descriptors[name] = os.open(partial / name, os.O_WRONLY)
                stack.callback(os.close, descriptors[name])
        yield Partial(output, job, done, descriptors)


def unfinished(output: Path) -> Path | None:
    """The hidden directory in which an output grows, None if there is none."""
    partial = _partial(output.resolve())
    return partial if partial.is_dir() else None


def _partial(output: Path) -> Path:
    return output.with_name(f".{output.name}.partial")


def _journal(output: Path) -> Path:
    return output.with_name(f".{output.name}.journal")


def _fresh_journal(output: Path) -> Path:
    return output.with_name(f".{output.name}.journal.new")


def _replaced(output: Path) -> Path:
    return output.with_name(f".{output.name}.replaced")


def _lock(output: Path, stack: contextlib.ExitStack) -> None:
    """Hold the hidden directory until `stack` closes, or the process ends in whatever way."""
    descriptor = os.open(_partial(output), os.O_RDONLY)
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise GemmaError(f"another program is writing {output}: wait for it, or choose another place with -o") from None


def _continued(output: Path, job: Job) -> int | None:
    """Steps that an earlier run of the job finished, None if there is nothing to continue."""
    for name, size in job.sizes.items():
        file = _partial(output) / name
        if not file.is_file() or file.stat().st_size != size:
            return None
    journal = _read_journal(output, job)
    return None if journal is None else journal.done


def _start_over(output: Path, job: Job) -> None:
    _journal(output).unlink(missing_ok=True)  # first, so that it never speaks of other files
    for left in _partial(output).iterdir():  # the directory itself stays: it is what is locked
        left.unlink()
    for name, header in job.headers.items():
        with (_partial(output) / name).open("wb") as file:
            file.write(header)
            file.truncate(job.sizes[name])
            os.fsync(file.fileno())
    _write_journal(output, job, 0)


def _read_journal(output: Path, job: Job) -> _Journal | None:
    """None without a sound journal of this job."""
    try:
        journal: Any = json.loads(_journal(output).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(journal, dict) or journal.get("job") != job.identity:
        return None
    done, directory = journal.get("done"), journal.get("directory")
    if type(done) is not int or not 0 <= done <= job.steps or type(directory) is not int:
        return None
    return _Journal(done, directory)


def _write_journal(output: Path, job: Job, done: int) -> None:
    """Replace the journal in one step: it is the old one or the new one, never half of one."""
    journal = {"job": job.identity, "done": done, "directory": _partial(output).stat().st_ino}
    _save(_fresh_journal(output), json.dumps(journal).encode())
    _fresh_journal(output).rename(_journal(output))
    _sync_directory(output.parent)


def _check_space(output: Path, job: Job) -> None:
    """Raise `GemmaError` if the disk has no room for what is still missing."""
    allocated = sum(file.stat().st_blocks * 512 for file in _partial(output).glob("*"))
    place = next(parent for parent in output.parents if parent.is_dir())
    needed, free = sum(job.sizes.values()) + _SPARE - allocated, shutil.disk_usage(place).free
    # A system's own tree, such as /proc, is of no size; a disk that is only read may say that it has room.
    if shutil.disk_usage(place).total == 0 or not os.access(place, os.W_OK):
        raise GemmaError(f"{output} cannot be written, {place} takes no files: choose another place with -o")
    if needed > free:
        raise GemmaError(
            f"{output} needs {file_size(needed)}, {file_size(free)} are free at {place}: "
            "make room or choose another place with -o"
        )


def _save(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _saving(output: Path) -> Iterator[None]:
    """What the system refuses to write, as a `GemmaError`."""
    try:
        yield
    except OSError as fault:
        if fault.errno in _FULL:
            raise GemmaError(
                f"the disk of {output} is full: make room and run the same command again, it continues where it was "
                f"(or remove {_partial(output)})"
            ) from None
        raise GemmaError(f"{output} cannot be written ({fault.strerror}): choose another place with -o") from None
