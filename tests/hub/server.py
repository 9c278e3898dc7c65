"""A Hub on this machine: its API, its redirects to another host for large files, ranges, and faults to order.

Speaks what huggingface_hub and range requests need: `/api/models/REPO/revision/REV`, HEAD and GET of
`/REPO/resolve/REV/FILE`, and `/cdn/DIGEST`, which lies on another origin as the Hub's does.
"""

import hashlib
import json
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
_LARGE = (".safetensors", "tokenizer.json")


def is_large(name: str) -> bool:
    """Whether the Hub keeps a file apart, named by its SHA-256."""
    return name.endswith(_LARGE)


def digest(name: str, content: bytes) -> str:
    """A file's name in the cache."""
    if is_large(name):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Hub:
    """Repositories by name and commit; the last commit of each is its branch `main`. The other fields are faults."""

    repositories: dict[str, dict[str, Files]] = field(default_factory=dict)
    token: str | None = None  # that is asked for
    forbidden: bool = False
    listing: bytes | None = None  # answered instead of a listing
    listed_size: dict[str, int] = field(default_factory=dict)  # lies
    sent_instead: dict[str, bytes] = field(default_factory=dict)  # contents of large files, of the listed size
    cut_after: int | None = None  # bytes of a body, then the connection is closed
    cuts: int = 10**9  # how often
    status: int | None = None  # of every body of a large file
    without_ranges: bool = False
    longest_range: int | None = None  # bytes that are sent of a longer one, as HTTP allows
    total: bool = True  # whether ranges name the size of the file
    seconds_per_chunk: float = 0.0
    served: Counter[str] = field(default_factory=Counter)  # bytes of bodies, by file
    requests: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)  # tokens that reached the other host

    def __enter__(self) -> "Hub":
        hub = self

        class Handler(_Handler):
            @property
            def hub(self) -> Hub:
                return hub

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def other_host(self) -> str:
        return f"http://localhost:{self._server.server_port}"

    def weights_served(self) -> int:
        """Bytes of safetensors files."""
        return sum(count for name, count in self.served.items() if name.endswith(".safetensors"))

    def blob(self, wanted: str) -> tuple[str, bytes] | None:
        for commits in self.repositories.values():
            for files in commits.values():
                for name, content in files.items():
                    if is_large(name) and digest(name, content) == wanted:
                        return name, self.sent_instead.get(name, content)
        return None


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no fault; anything else shows."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def hub(self) -> Hub:
        raise NotImplementedError

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if found := re.fullmatch(r"/cdn/(\w+)", path):
            self._large(found[1])
        elif self._allowed():
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
                self._listing(found[1], found[2] or "main")
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self._resolve(found[1], found[2], found[3])
            else:
                self._answer(404)

    do_HEAD = do_GET

    def _allowed(self) -> bool:
        if self.hub.forbidden:
            self._answer(403, {"X-Error-Message": "Forbidden"})
        elif self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            wrong = "Authorization" in self.headers
            self._answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"} if wrong else {})
        else:
            return True
        return False

    def _files(self, repo: str, revision: str) -> tuple[str, Files] | None:
        commits = self.hub.repositories.get(repo)
        if commits is None:
            self._answer(404, {"X-Error-Code": "RepoNotFound"})
            return None
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            self._answer(404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return commit, commits[commit]

    def _listing(self, repo: str, revision: str) -> None:
        if (found := self._files(repo, revision)) is None:
            return
        commit, files = found
        siblings = []
        for name, content in files.items():
            size = self.hub.listed_size.get(name, len(content))
            entry: dict[str, Any] = {"rfilename": name, "size": size, "blobId": digest("", content)}
            if is_large(name):
                entry["lfs"] = {"size": size, "sha256": digest(name, content), "pointerSize": 134}
            siblings.append(entry)
        body = json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode()
        self._answer(200, {"Content-Type": "application/json"}, body if self.hub.listing is None else self.hub.listing)

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        if (found := self._files(repo, revision)) is None:
            return
        commit, files = found
        if name not in files:
            self._answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest(name, files[name])}"'}
        if is_large(name):
            known = digest(name, files[name])
            linked = {"X-Linked-Etag": f'"{known}"', "X-Linked-Size": str(len(files[name]))}
            self._answer(302, headers | linked | {"Location": f"{self.hub.other_host}/cdn/{known}"})
        else:
            self._body(name, files[name], headers)

    def _large(self, wanted: str) -> None:
        if token := self.headers.get("Authorization"):
            self.hub.leaked.append(token)
        if self.hub.status is not None:
            self._answer(self.hub.status)
        elif (found := self.hub.blob(wanted)) is None:
            self._answer(404)
        else:
            self._body(*found, {"ETag": '"of-the-other-host"'})

    def _body(self, name: str, content: bytes, headers: dict[str, str]) -> None:
        size, status, start, stop = len(content), 200, 0, len(content)
        ranges = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if ranges and not self.hub.without_ranges:
            start, stop = int(ranges[1]), min(size, int(ranges[2] or size - 1) + 1)
            if start >= size:
                self._answer(416, {"Content-Range": f"bytes */{size}"})
                return
            stop = min(stop, start + (self.hub.longest_range or size))
            total = size if self.hub.total else "*"
            status, headers = 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{total}"}
        self._send_head(status, headers | {"Content-Length": str(stop - start)})
        if self.command == "HEAD":
            return
        cut = is_large(name) and self.hub.cut_after is not None and self.hub.cuts > 0
        if cut and stop - start > (self.hub.cut_after or 0):
            self.hub.cuts -= 1
            stop = start + (self.hub.cut_after or 0)
            self.close_connection = True
        self._send(name, content[start:stop])

    def _send(self, name: str, body: bytes) -> None:
        step = 32_768 if self.hub.seconds_per_chunk else max(1, len(body))
        for place in range(0, len(body), step):
            time.sleep(self.hub.seconds_per_chunk)
            try:
                self.wfile.write(body[place : place + step])
            except OSError:  # the client left
                self.close_connection = True
                return
            self.hub.served[name] += len(body[place : place + step])

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self._send_head(status, (headers or {}) | {"Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""
