"""Files of a repository into the Hub's cache, where other programs find them too.

huggingface_hub starts a file again that was cut by the end of the program; a shard of 5 GB has to go on instead. So
bytes are appended to `blobs/<digest>.incomplete` here, checked against the digest, and put in their place; the rest of
the cache's layout is made by huggingface_hub, which finds the blob there. Knows files: not what they hold.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.file_download import repo_folder_name

from gemma_mlx.errors import HubError
from gemma_mlx.hub.faults import disk_faults, hub_faults
from gemma_mlx.hub.repository import HubFile, Repository
from gemma_mlx.progress import Progress

_PIECE = 2**20
MEND_CACHE = "set HF_HOME to a directory that can be written"


class Tally:
    """Bytes of several files, added up for one bar."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total = 0, total
        self._progress = progress

    def add(self, count: int) -> None:
        self.done += count
        if self._progress is not None:
            self._progress(self.done, self.total)


def cache_directory() -> Path:
    """Where huggingface_hub keeps what it downloads."""
    return Path(constants.HF_HUB_CACHE)


def missing_bytes(repository: Repository, name: str) -> int:
    """Bytes of a file that still have to come."""
    if repository.cached(name) is not None:
        return 0
    partial = _partial(repository, name)
    return repository.files[name].size - (partial.stat().st_size if partial.exists() else 0)


def fetch(repository: Repository, name: str, tally: Tally) -> Path:
    """The file in the cache, downloaded or continued. Raises `HubError` if it cannot come whole."""
    file = repository.files[name]
    if (cached := repository.cached(name)) is not None:
        tally.add(file.size)
        return cached
    with disk_faults(str(cache_directory()), MEND_CACHE), hub_faults(repository.label(name)):
        partial = _partial(repository, name)
        partial.parent.mkdir(parents=True, exist_ok=True)
        blob = partial.with_name(file.digest)
        if not (blob.exists() and blob.stat().st_size == file.size):
            with _alone(partial) as out:
                _append(repository, file, out, tally)
                os.replace(partial, blob)
        else:
            tally.add(file.size)
        return Path(hf_hub_download(repository.repo, name, revision=repository.commit))


def _partial(repository: Repository, name: str) -> Path:
    folder = cache_directory() / repo_folder_name(repo_id=repository.repo, repo_type="model")
    return folder / "blobs" / f"{repository.files[name].digest}.incomplete"


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """The file, to be read and appended to by nobody else. Raises `HubError` if another program does."""
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HubError(f"{path} is being downloaded by another program: wait for it") from None
        yield file


def _append(repository: Repository, file: HubFile, out: BinaryIO, tally: Tally) -> None:
    """Bring an open file to its full size, and check it. What is damaged is emptied."""
    digest = hashlib.sha256() if len(file.digest) == 64 else hashlib.sha1(b"blob %d\0" % file.size)
    out.seek(0)
    while piece := out.read(_PIECE):
        digest.update(piece)
    have = out.tell()
    tally.add(min(have, file.size))
    if have < file.size:
        for chunk in repository.chunks(file.name, have, file.size):
            out.write(chunk)
            digest.update(chunk)
            tally.add(len(chunk))
    out.flush()
    os.fsync(out.fileno())
    if out.tell() != file.size or digest.hexdigest() != file.digest:
        out.truncate(0)
        raise HubError(
            f"{repository.label(file.name)} came damaged (its digest is not {file.digest[:12]}…): run it again, "
            "or use another HF_ENDPOINT"
        )
