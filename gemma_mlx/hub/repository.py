"""One repository at one commit: its files, and any bytes of them.

Bytes come from the Hub's cache where the file is there, otherwise by range requests that go on after a cut. Knows files
and bytes: not what they hold. Sources: the Hub's model API (`/api/models/…?blobs=true`) and `resolve` addresses, as
huggingface_hub uses them.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, ModelInfo, constants, get_session, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from gemma_mlx.errors import HubError
from gemma_mlx.hub.faults import TRANSIENT, OfflineError, check_token, hub_faults, reason

Say = Callable[[str], None]  # takes lines for the person
WAITS = (1, 2, 4, 8, 16)  # seconds before another try after a cut that brought nothing
_CHUNK = 2**20
_TIMEOUT = 30  # seconds for a listing
_NAME = re.compile(r"\w[\w.-]*")  # of a file at the top of a repository
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_ANOTHER = "run it again later or use another HF_ENDPOINT"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFile:
    """A file's size in bytes and its digest: SHA-256, or Git's SHA-1 of small ones, as the cache names it."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Repository:
    """A repository at a commit. `files` are those at its top, by name; `offline`: as far as they are in the cache;
    `say` is told of waiting."""

    repo: str
    commit: str
    files: Mapping[str, HubFile]
    offline: bool = False
    say: Say = lambda line: None

    @classmethod
    def open(cls, repo: str, revision: str | None, say: Say) -> "Repository":
        """Resolve a revision (a commit, tag or branch; None: the default branch) and list the files.

        Without the network, the cached snapshot of the revision. Raises `HubError` if there is neither.
        """
        name = repo if revision is None else f"{repo}@{revision}"
        try:
            with hub_faults(name):
                check_token()
                info = _listing(repo, revision)
        except OfflineError:
            if (cached := _cached(repo, revision)) is None:
                raise
            return cached
        commit = str(info.sha)
        if not _COMMIT.fullmatch(commit) or (revision and _COMMIT.fullmatch(revision) and commit != revision):
            raise HubError(f"{name}: the Hub answers with commit {commit}: check HF_ENDPOINT")
        files = {}
        for sibling in info.siblings or ():
            size, digest = sibling.size, str(sibling.lfs.sha256 if sibling.lfs else sibling.blob_id)
            if _NAME.fullmatch(sibling.rfilename):
                if type(size) is not int or size < 0 or not _DIGEST.fullmatch(digest):
                    raise HubError(f"{name}: the Hub lists no size or digest of {sibling.rfilename}: check HF_ENDPOINT")
                files[sibling.rfilename] = HubFile(sibling.rfilename, size, digest)
        return cls(repo, commit, files, say=say)

    def label(self, name: str) -> str:
        """A file as messages name it."""
        return f"{self.repo}/{name}"

    def file(self, name: str) -> HubFile:
        """Raises `HubError` if the repository has no such file."""
        if name in self.files:
            return self.files[name]
        if self.offline:
            raise HubError(f"{self.label(name)} is not in the cache, and the Hub cannot be reached: go online for it")
        raise HubError(f"{self.repo}@{self.commit[:8]} has no {name}: it is no checkpoint that is loaded here")

    def cached(self, name: str) -> Path | None:
        """The file in the Hub's cache, None unless it is there in its full size."""
        found = try_to_load_from_cache(self.repo, name, revision=self.commit)
        return Path(found) if isinstance(found, str) and Path(found).stat().st_size == self.files[name].size else None

    def content(self, name: str) -> bytes:
        """All of a small file."""
        return b"".join(self.chunks(name, 0, self.file(name).size))

    def chunks(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Bytes `start` to `stop` of a file, as they come; cuts are mended by asking for the rest.

        Raises `HubError` if nothing comes for a while, or if the file is another than the listing says.
        """
        if (cached := self.cached(name)) is not None:
            yield from _read(cached, start, stop)
            return
        with hub_faults(self.label(name)):
            yield from self._fetched(name, start, stop)

    def _fetched(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        failures, position, told = 0, start, False
        while position < stop:
            before, cut = position, "the connection ended"
            try:
                for chunk in self._request(name, position, stop):
                    position += len(chunk)
                    yield chunk
            except httpx2.TransportError as fault:
                cut = reason(fault)
            except HfHubHTTPError as fault:
                if fault.response.status_code not in TRANSIENT or failures >= len(WAITS):
                    raise
                cut = f"status {fault.response.status_code}"
            failures = failures + 1 if position == before else 0
            if failures > len(WAITS):
                raise HubError(
                    f"{self.label(name)}: nothing comes after byte {position} ({cut}): "
                    "check the network and run it again, it goes on from here"
                )
            if failures and not told:
                told = True
                self.say(f"{self.label(name)}: {cut}; trying again for up to {sum(WAITS)} s")
            if failures:
                time.sleep(WAITS[failures - 1])

    def _request(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """One request's bytes, never more than asked for; fewer if it is cut."""
        url = hf_hub_url(self.repo, name, revision=self.commit)
        # Ranges are of the bytes as they are sent: they must not be compressed on the way.
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        if (start, stop) != (0, self.files[name].size):
            headers["Range"] = f"bytes={start}-{stop - 1}"
        with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
            hf_raise_for_status(response)
            if "Range" in headers:
                self._check_range(name, start, stop, response)
            left = stop - start
            for chunk in response.iter_bytes():  # as they arrive: pieces of a set size are lost when they are cut
                if len(chunk) > left:
                    raise HubError(f"{self.label(name)} has more bytes than the Hub lists: {_ANOTHER}")
                left -= len(chunk)
                yield chunk

    def _check_range(self, name: str, start: int, stop: int, response: httpx2.Response) -> None:
        """Raise `HubError` unless the answer is that part of this file, or the beginning of it."""
        size, said = self.files[name].size, response.headers.get("Content-Range", "")
        if response.status_code != 206:
            raise HubError(f"{self.label(name)}: the server sends no parts of files (ranges): use another HF_ENDPOINT")
        found = _RANGE.fullmatch(said)
        if not found or int(found[1]) != start or int(found[2]) >= stop or found[3] not in ("*", str(size)):
            raise HubError(
                f"{self.label(name)}: the server sends {said or 'no range'} instead of bytes {start}-{stop - 1}/{size},"
                f" another file than it lists: {_ANOTHER}"
            )


def _listing(repo: str, revision: str | None) -> ModelInfo:
    """What the Hub says of a repository. Raises `HubError` if the answer is none of a Hub."""
    try:
        return HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=_TIMEOUT)
    except HFValidationError:
        raise
    except (ValueError, TypeError, KeyError) as fault:  # a page to log in to a network, or another program's answer
        raise HubError(f"{repo}: what answers is no Hub ({reason(fault)}): check HF_ENDPOINT and the network") from None


def _cached(repo: str, revision: str | None) -> Repository | None:
    """The snapshot of a revision in the Hub's cache, None if there is none. Its files may be incomplete."""
    config = try_to_load_from_cache(repo, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    snapshot = Path(config).parent
    files = [path for path in snapshot.iterdir() if path.is_file() and _NAME.fullmatch(path.name)]
    return Repository(
        repo,
        snapshot.name,
        {path.name: HubFile(path.name, path.stat().st_size, path.resolve().name) for path in files},
        offline=True,
    )


def _read(path: Path, start: int, stop: int) -> Iterator[bytes]:
    """Bytes of a local file."""
    with path.open("rb") as file:
        file.seek(start)
        while start < stop and (chunk := file.read(min(_CHUNK, stop - start))):
            start += len(chunk)
            yield chunk
