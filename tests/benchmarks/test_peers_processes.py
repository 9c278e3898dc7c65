"""Workers that print, die, are interrupted or left alone; programs that are stood in for by files on a path."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gemma_mlx.benchmarks.peers.link import Linked, Unavailable
from gemma_mlx.benchmarks.peers.llama import model_file
from gemma_mlx.benchmarks.peers.program import Settings
from gemma_mlx.errors import GemmaError
from gemma_mlx.models import find_model

PLAIN = Settings("float32")
ROOT = Path(__file__).parents[2]
SECONDS = 20.0  # that anything may take
# Stands in for mlx-lm: counts on from the last id; some first ids have a meaning.
DIE, SLEEP, FAIL = 7, 8, 9
LOADING = """
import mlx.nn as nn
print("loading, please wait")
def load(path, model_config, lazy):
    print('{"seconds": "of course"}', flush=True)
    return nn.Linear(1, 1), None
"""
GENERATING = f"""
import os, subprocess, sys, time
from contextlib import nullcontext
from pathlib import Path
generation_stream = None
def wired_limit(model, streams):
    return nullcontext()
def generate_step(prompt, model, max_tokens):
    first, last = prompt[0].item(), prompt[-1].item()
    if first == {DIE}:
        print("these are my last words", file=sys.stderr, flush=True)
        os._exit(3)
    if first == {FAIL}:
        raise ValueError("no such luck")
    if first == {SLEEP}:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["PIDS"]).write_text(f"{{os.getpid()}} {{child.pid}}")
        time.sleep(600)
    for step in range(1, max_tokens + 1):
        print("a token!", flush=True)
        os.system("echo and another program")
        assert os.path.samestat(os.fstat(0), os.stat(os.devnull))  # orders are not for it to read
        yield last + step, None
"""
SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
print("llama-server says hello", flush=True)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/completion" and body["ignore_eos"] and not body["cache_prompt"], body
        self.send_response(200)
        self.end_headers()
        for step in range(body["n_predict"] + 1):
            told = {"content": "x", "tokens": [body["prompt"][-1] + step + 1], "stop": False}
            self.wfile.write(f"data: {json.dumps(told)}\\n\\n: ping\\n\\n".encode())
        self.wfile.write(b'data: {"content": "", "tokens": [], "stop": true}\\n\\n')
if "damaged" in sys.argv[2]:
    sys.exit("not a model")
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is taken for mlx-lm; where it leaves ids of processes."""
    package = tmp_path / "path" / "mlx_lm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(LOADING)
    (package / "generate.py").write_text(GENERATING)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(ROOT)]))
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    return tmp_path / "pids"


def linked(log: Path) -> Linked:
    return Linked("mlx-lm", find_model("demo"), PLAIN, log)


def wait(until: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not until():
        assert time.monotonic() < end, "too long"
        time.sleep(0.02)


def running(pid: int) -> bool:
    """Whether a process is there and no mere entry of the table."""
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(told.strip()) and not told.strip().startswith("Z")


def test_what_a_program_prints_is_no_answer(stand_in: Path, tmp_path: Path) -> None:
    with linked(tmp_path / "logs" / "log") as worker:
        assert worker.generate([1, 30], 3).ids == (31, 32, 33)
        assert worker.generate([1, 40], 1).ids == (41,)
        with pytest.raises(Unavailable, match="text only"):
            worker.ask("What?", [], 1)
        assert worker.generate([1, 40], 0).ids == ()
    log = (tmp_path / "logs" / "log").read_text()
    assert "please wait" in log
    assert "of course" in log
    assert log.count("and another program") == 4
    worker.close()  # again
    with pytest.raises(RuntimeError, match="not running"):
        worker.generate([1], 1)


def test_a_worker_that_dies_leaves_its_last_words(stand_in: Path, tmp_path: Path) -> None:
    words = pytest.raises(RuntimeError, match=r"mlx-lm ended with 3:\n(.*\n)*these are my last words")
    with words, linked(tmp_path / "log") as worker:
        worker.generate([DIE], 3)
    with linked(tmp_path / "log") as worker:
        with pytest.raises(RuntimeError, match="ValueError: no such luck"):
            worker.generate([FAIL], 3)
        with pytest.raises(RuntimeError, match="ended with 1"):
            worker.generate([1], 3)


def test_what_is_not_installed_is_told_with_what_installs_it(stand_in: Path, tmp_path: Path) -> None:
    (tmp_path / "path" / "mlx_lm" / "generate.py").write_text("import no_such_module")
    with pytest.raises(Unavailable, match=r"no_such_module.*pip install mlx-lm==") as told, linked(tmp_path / "log"):
        pass
    assert "\n" not in str(told.value)


def test_nothing_is_left_by_an_exception_while_it_computes(stand_in: Path, tmp_path: Path) -> None:
    def give_up(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGUSR1, give_up)
    when_it_computes = f'while [ ! -s "{stand_in}" ]; do sleep 0.05; done; kill -USR1 {os.getpid()}'
    told = pytest.raises(TimeoutError)
    try:
        with told, linked(tmp_path / "log") as worker, subprocess.Popen(["sh", "-c", when_it_computes]):
            worker.generate([SLEEP], 1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    wait(lambda: not any(map(running, map(int, stand_in.read_text().split()))))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(stand_in: Path, tmp_path: Path, sent: signal.Signals) -> None:
    """Ctrl-C reaches the whole group of the terminal; nobody is told of a kill, but stdin ends."""
    code = (
        "import signal; from pathlib import Path; from tests.benchmarks.test_peers_processes import SLEEP, linked;"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        f"worker = linked(Path({str(tmp_path / 'log')!r})); worker.__enter__().generate([SLEEP], 1)"
    )
    if sent is signal.SIGINT:
        code = code.replace("worker.__enter__().generate([SLEEP], 1)", "\nwith worker: worker.generate([SLEEP], 1)")
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, cwd=ROOT, stderr=subprocess.DEVNULL)
    wait(lambda: stand_in.exists() and stand_in.read_text())
    worker, child = map(int, stand_in.read_text().split())
    assert running(worker)
    os.killpg(parent.pid, sent)
    parent.wait(SECONDS)
    wait(lambda: not running(worker) and not running(child))


def test_llama_server_is_told_by_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "llama-server"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{SERVER}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(program.parent), os.environ["PATH"]]))
    (tmp_path / "model.gguf").touch()
    with Linked("llama.cpp", tmp_path, PLAIN, tmp_path / "log") as worker:
        found = worker.generate([1, 50], 3)
        assert found.ids == (51, 52, 53)
        assert found.peak_resident_bytes > 0
        assert worker.weights_bytes == 0
    assert "says hello" in (tmp_path / "log").read_text()
    (tmp_path / "model.gguf").rename(tmp_path / "damaged.gguf")
    with pytest.raises(Unavailable, match=r"llama-server ended with 1 on .*damaged"):
        Linked("llama.cpp", tmp_path, PLAIN, tmp_path / "log").__enter__()


def test_llama_server_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"not on the PATH.*brew install llama\.cpp"):
        Linked("llama.cpp", tmp_path, PLAIN, tmp_path / "log").__enter__()


def test_the_file_of_a_model(tmp_path: Path) -> None:
    with pytest.raises(GemmaError, match="holds no GGUF file"):
        model_file(tmp_path)
    (tmp_path / "mmproj-model.gguf").touch()
    with pytest.raises(GemmaError, match="holds no GGUF file"):
        model_file(tmp_path)
    for part in (1, 2):
        (tmp_path / f"q4-0000{part}-of-00002.gguf").touch()
    assert model_file(tmp_path).name == "q4-00001-of-00002.gguf"
    (tmp_path / "q8.gguf").touch()
    with pytest.raises(GemmaError, match="2 GGUF models"):
        model_file(tmp_path)
    assert model_file(tmp_path / "q8.gguf").name == "q8.gguf"
