"""llama.cpp as it is measured: its own `llama-server` with a GGUF file, told by ids over HTTP on this machine.

The file is another quantization than ours, so ids need not be the same. Ids come with the text, which waits for whole
characters: a run whose ids are cut in the middle of one may bring fewer. It has no type of activations to set. Measured
with text only, without a drafter. Written after tools/server/README.md of llama.cpp; not run with a model yet.
"""

import atexit
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from gemma_mlx.benchmarks.peers.common import refuse_drafter
from gemma_mlx.benchmarks.peers.program import Asked, Settings
from gemma_mlx.errors import GemmaError

_CONTEXT = 40960  # positions: a prompt of 32k and what is generated after it
_PATIENCE_S = 600.0  # for the model to be loaded
_GREEDY = {"temperature": 0, "top_k": 1, "repeat_penalty": 1.0, "seed": 0}
_EXACTLY = {"ignore_eos": True, "cache_prompt": False, "return_tokens": True, "stream": True}


class Llama:
    """Implements `Program`."""

    name = "llama.cpp"

    def __init__(self) -> None:
        found = shutil.which("llama-server")
        if found is None:
            raise ImportError("llama-server is not on the PATH")
        self._program = found
        self._server: subprocess.Popen[bytes] | None = None
        self._address = ""

    def load(self, directory: Path, settings: Settings) -> None:
        """`directory`: that of a GGUF file, or the file itself."""
        refuse_drafter(self.name, settings)
        file, port = model_file(directory), _free_port()
        self._address = f"http://127.0.0.1:{port}"
        words = [self._program, "-m", str(file), "-c", str(_CONTEXT), "-np", "1", "--host", "127.0.0.1"]
        self._server = subprocess.Popen([*words, "--port", str(port)], stdin=subprocess.DEVNULL)
        atexit.register(self._server.terminate)
        end = time.monotonic() + _PATIENCE_S
        while not self._healthy():
            if self._server.poll() is not None:
                raise GemmaError(f"llama-server ended with {self._server.returncode} on {file}: see its log")
            if time.monotonic() > end:
                raise GemmaError(f"llama-server has not loaded {file} after {_PATIENCE_S:.0f} s: see its log")
            time.sleep(0.02)

    def generate(self, ids: list[int], tokens: int) -> Iterator[int]:
        body = {"prompt": ids, "n_predict": tokens, **_GREEDY, **_EXACTLY}
        return islice(self._completed(body), tokens)

    def ask(self, question: str, files: list[Path], tokens: int) -> Asked:
        raise NotImplementedError("llama.cpp is measured with text only")

    def set_depth(self, depth: int | None) -> None:
        raise NotImplementedError(f"{self.name} is measured without a drafter")

    def drafted(self) -> tuple[int, ...]:
        return ()

    def elsewhere(self) -> int:
        """Resident now, as ps(1) tells."""
        if self._server is None:
            return 0
        words = ["ps", "-o", "rss=", "-p", str(self._server.pid)]
        told = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
        return int(told) * 1024 if told else 0

    def _completed(self, body: dict[str, Any]) -> Iterator[int]:
        request = urllib.request.Request(
            f"{self._address}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as events:
            for line in events:
                if line.startswith(b"data: {"):
                    yield from json.loads(line[6:])["tokens"]

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._address}/health", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):  # 503 while it loads
            return False


def model_file(place: Path) -> Path:
    """The GGUF file at a place, the first part of one in parts. Raises `GemmaError` if there is none, or a choice."""
    if place.is_file():
        return place
    files = [file for file in sorted(place.glob("*.gguf")) if not file.name.startswith("mmproj")]
    firsts = [file for file in files if "-of-" not in file.name or "-00001-of-" in file.name]
    if not firsts:
        raise GemmaError(f"{place} holds no GGUF file, which llama.cpp reads: name a directory that does")
    if len(firsts) > 1:
        raise GemmaError(f"{place} holds {len(firsts)} GGUF models: name one of the files, such as {firsts[0].name}")
    return firsts[0]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
