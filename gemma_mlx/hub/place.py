"""The directory of a pulled model: made in a hidden one beside it, and renamed when it is whole.

Files are links into the Hub's cache, so that 6.7 GB exist once. Other programs find the checkpoint there as it was
published; the directory made here, whose index may leave tensors out, is for this one. Knows files and links: not what
they hold.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gemma_mlx.errors import HubError
from gemma_mlx.hub.faults import disk_faults
from gemma_mlx.memory.sizes import file_size
from gemma_mlx.models import HOME_VARIABLE, RECORD, models_directory

MEND_HOME = f"set {HOME_VARIABLE} to a directory that can be written"


def partial_directory(name: str) -> Path:
    """Where the directory of a model is made. Raises `HubError` if nothing can be written there."""
    with disk_faults(str(models_directory()), MEND_HOME):
        partial = models_directory() / f".{name}.partial"
        partial.mkdir(parents=True, exist_ok=True)
        return partial


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Nobody else makes the directory. Raises `HubError` if another program does."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HubError(f"{directory} is in use by another `gemma-mlx pull`: wait for it") from None
        yield
    finally:
        os.close(handle)


def clear(partial: Path, kept: str) -> None:
    """Remove what an earlier run left, but for a file that goes on where it was cut."""
    for path in partial.iterdir():
        if path.name != kept:
            path.unlink()


def link(cached: Path, place: Path) -> None:
    """Make a file of the cache appear at `place`, as a copy where links are not possible."""
    place.unlink(missing_ok=True)
    try:
        place.symlink_to(cached.absolute())
    except OSError:
        shutil.copyfile(cached, place)


def write_json(content: Mapping[str, object], path: Path) -> None:
    """On the disk when this returns, so that no power cut leaves a directory with an empty file."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def finish(partial: Path, name: str, record: Mapping[str, object]) -> Path:
    """Record what the directory holds, and give it its name."""
    sizes = {path.name: path.stat().st_size for path in sorted(partial.iterdir()) if path.name != RECORD}
    write_json({**record, "files": sizes}, partial / RECORD)
    target, old = models_directory() / name, models_directory() / f".{name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def whole_directory(name: str, revision: str) -> Path | None:
    """A pulled directory of that commit, with every file in its place and size; None otherwise. Asks no network."""
    directory = models_directory() / name
    try:
        record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        sizes = {file: (directory / file).stat().st_size for file in record["files"]}
        return directory if record["revision"] == revision and sizes == record["files"] else None
    except (OSError, ValueError, KeyError, TypeError):  # links into a cache that was emptied, or no record of ours
        return None


def existing(directory: Path) -> Path:
    """The directory, or the nearest around it that is there: the disk that it would be on."""
    return next(path for path in (directory, *directory.absolute().parents) if path.exists())


def check_space(needs: Mapping[Path, int]) -> None:
    """Raise `HubError` with the numbers if the disks of these directories have too little room for so many bytes, or
    take no files at all."""
    disks: dict[int, list[tuple[Path, int]]] = {}
    for directory, nbytes in needs.items():
        there = existing(directory)
        disks.setdefault(there.stat().st_dev, []).append((there, nbytes))
    for wanted in disks.values():
        place, total = wanted[0][0], sum(nbytes for _, nbytes in wanted)
        free = shutil.disk_usage(place).free
        # A system's own tree, such as /proc, is of no size; a disk that is only read may say that it has room.
        if shutil.disk_usage(place).total == 0 or not os.access(place, os.W_OK):
            raise HubError(f"{place} cannot be written: set HF_HOME and {HOME_VARIABLE} to directories that can be")
        if total > free:
            raise HubError(
                f"{file_size(total)} are to come, {file_size(free)} are free at {place}: "
                f"make room, or set HF_HOME and {HOME_VARIABLE} to another disk"
            )
