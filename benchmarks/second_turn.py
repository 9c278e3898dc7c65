"""Time to the first token of a conversation's second turn, ours beside mlx-vlm's chat program and its server.

    python -m gemma_mlx.benchmarks.second_turn --rounds 7 --out result.jsonl

The same checkpoint of random weights, the same two questions, greedy, each program in a process of its own; rounds
alternate their order. The first turn is long, the second short. In between, ours settles, as it does while a person
reads. mlx-vlm's server runs without and with its prefix cache (APC_ENABLED=1); its chat program has one of its own.
The cache keeps a prompt but for its last token, and the format takes back more, the empty thought that a reply begins
with; so a third server keeps prompts but for their last 16, which finds them again. What is timed is what a person
waits for: from asking to the first text. Needs the `bench` extra.
"""

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gemma_mlx.benchmarks.midsize import SMALL, Width, write_pair
from gemma_mlx.benchmarks.peer_speed import environment
from gemma_mlx.benchmarks.record import PACKAGES, append, busy, command, line, spread
from gemma_mlx.benchmarks.talkers import SEPARATOR, Report
from gemma_mlx.inputs.tokenizer import Tokenizer, load_tokenizer
from gemma_mlx.models import HOME_VARIABLE

_LABEL = "Assistant:"  # what mlx-vlm's chat program writes before an answer
_WORDS = "the boats wait for a tide and what you see is orange or blue on this picture of sound".split()
SECOND = "And what else do you see?"
_PATIENCE = 600  # seconds that a server may take to start, or an answer
OURS, DRAFTED = "ours", "ours with its drafter"
COLD, CHAT, CACHED = "mlx-vlm server", "mlx-vlm chat", "mlx-vlm server, APC_ENABLED=1"
TUNED = f"{CACHED} APC_CHECKPOINT_GUARD_TOKENS=16"


@dataclass(frozen=True)
class Answer:
    """Seconds to its first text, the text, tokens of the prompt and how many of those were not read again; the ids of
    the prompt if the program tells."""

    first_s: float
    text: str
    prompt_tokens: int
    cached: int | None = None
    prompt: tuple[int, ...] = ()


class Program(Protocol):
    """One that holds a conversation."""

    def new(self) -> None: ...

    def ask(self, text: str, tokens: int) -> Answer:
        """The user's next turn, answered with so many tokens."""

    def pause(self) -> float:
        """The person reads. Returns the seconds that the program works meanwhile."""
        ...

    def close(self) -> None: ...


class Talker:
    """One of `talkers`."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        words = [sys.executable, "-m", "gemma_mlx.benchmarks.talkers", *arguments]
        own = {**os.environ, HOME_VARIABLE: str(log.parent / "home")}  # nothing learned before, nothing left behind
        with log.open("w") as err:
            self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, env=own)
        self._log = log

    def new(self) -> None:
        self._obey({"do": "new"})

    def ask(self, text: str, tokens: int) -> Answer:
        first, report = self._obey({"do": "ask", "text": text, "tokens": tokens})
        prompt = tuple(report["prompt"])
        return Answer(first, report["text"], len(prompt), report["cached"], prompt)

    def pause(self) -> float:
        return float(self._obey({"do": "settle"})[1].get("seconds", 0.0))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _obey(self, order: dict[str, Any]) -> tuple[float, Report]:
        """Seconds to the first text of the answer, and the report."""
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        started, first, said = time.perf_counter(), 0.0, ""
        pipe_in.write(f"{json.dumps(order)}\n".encode())
        pipe_in.flush()
        while said.count(SEPARATOR) < 2 or not said.endswith("\n"):
            chunk = os.read(pipe_out.fileno(), 65536)
            if not chunk:
                raise RuntimeError(f"a program ended:\n{self._log.read_text()[-3000:]}")
            said += chunk.decode(errors="replace")
            _, _, answer = said.partition(SEPARATOR)
            if not first and answer.partition(SEPARATOR)[0].strip().removeprefix(_LABEL).strip():
                first = time.perf_counter() - started
        report: Report = json.loads(said.rpartition(SEPARATOR)[2])
        return first, report


class Server:
    """mlx-vlm's server, spoken to over HTTP on this machine, streaming."""

    def __init__(self, model: str, environment: Mapping[str, str], log: Path) -> None:
        self._model, self._messages = model, list[dict[str, str]]()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        words = [sys.executable, "-m", "mlx_vlm.server", "--model", model, "--host", "127.0.0.1"]
        with log.open("w") as err:
            self._process = subprocess.Popen(
                [*words, "--port", str(self._port)], env={**os.environ, **environment}, stdout=err, stderr=err
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mlx-vlm's server does not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.5)

    def new(self) -> None:
        self._messages = []

    def ask(self, text: str, tokens: int) -> Answer:
        self._messages.append({"role": "user", "content": text})
        started, first, parts, usage = time.perf_counter(), 0.0, list[str](), dict[str, Any]()
        for chunk in self._stream(tokens):
            for choice in chunk["choices"]:
                if content := choice["delta"].get("content"):
                    first = first or time.perf_counter() - started
                    parts.append(content)
            usage = chunk.get("usage") or usage
        self._messages.append({"role": "assistant", "content": "".join(parts)})
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        return Answer(first, "".join(parts), usage["prompt_tokens"], cached)

    def pause(self) -> float:
        return 0.0

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _stream(self, tokens: int) -> Iterator[dict[str, Any]]:
        body = {"model": self._model, "messages": self._messages, "max_tokens": tokens, "temperature": 0}
        streaming = {"stream": True, "stream_options": {"include_usage": True}}
        link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        link.request("POST", "/v1/chat/completions", json.dumps(body | streaming), {"Content-Type": "application/json"})
        for row in link.getresponse():
            if row.startswith(b"data: {"):
                yield json.loads(row.removeprefix(b"data: "))
        link.close()

    def _ready(self) -> bool:
        link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            link.request("GET", "/health")
            return link.getresponse().status == 200
        except OSError:
            return False
        finally:
            link.close()


def programs(models: Path, stack: ExitStack, folder: Path) -> dict[str, Program]:
    """All of them, started, closed with the stack."""
    target, assistant = str(models / "target"), str(models / "assistant")
    cache = {"APC_ENABLED": "1", "APC_DISK_PATH": str(folder / "apc")}
    tuned = cache | {"APC_CHECKPOINT_GUARD_TOKENS": "16", "APC_DISK_PATH": str(folder / "apc-tuned")}
    started: dict[str, Program] = {
        OURS: Talker(["ours", target, "off"], folder / "ours"),
        DRAFTED: Talker(["ours", target, assistant], folder / "drafted"),
        CHAT: Talker(["mlx-vlm", target], folder / "chat"),
        COLD: Server(target, {"APC_ENABLED": "0"}, folder / "server"),
        CACHED: Server(target, cache, folder / "cached"),
        TUNED: Server(target, tuned, folder / "tuned"),
    }
    for program in started.values():
        stack.callback(program.close)
    return started


@dataclass(frozen=True)
class Turns:
    """Both answers, and the seconds worked between them."""

    first: Answer
    second: Answer
    pause_s: float


def converse(program: Program, question: str, tokens: int) -> Turns:
    """A long turn, a pause and a short one."""
    program.new()
    first = program.ask(question, tokens)
    paused = program.pause()
    return Turns(first, program.ask(SECOND, tokens), paused)


def question(tokenizer: Tokenizer, tokens: int, number: int) -> str:
    """About so many tokens, another text for each number from its first words on, so that no round helps another."""
    rng, words = np.random.default_rng(number), [f"{number}:"]
    while len(tokenizer.encode(" ".join(words))) < tokens:
        words += rng.choice(_WORDS, 20).tolist()
    return " ".join(words)


def summary(rounds: list[dict[str, Turns]]) -> dict[str, Any]:
    """Seconds of each program and ratios within rounds, and whether all read and wrote the same."""
    told = {}
    for name in rounds[0]:
        turns = [each[name] for each in rounds]
        told[name] = {
            "second_turn_s": spread([turn.second.first_s for turn in turns], 4),
            "first_turn_s": spread([turn.first.first_s for turn in turns], 4),
            "pause_s": spread([turn.pause_s for turn in turns], 4),
            "prompt_tokens": sorted({turn.second.prompt_tokens for turn in turns}),
            "cached_tokens": sorted({turn.second.cached for turn in turns if turn.second.cached is not None}),
        }
    ratios = {
        f"{mine} / {peer}": spread([each[mine].second.first_s / each[peer].second.first_s for each in rounds], 4)
        for mine in (OURS, DRAFTED)
        for peer in (CHAT, COLD, CACHED, TUNED)
    }
    return {"programs": told, "ratios": ratios, **_sameness(rounds)}


def _sameness(rounds: list[dict[str, Turns]]) -> dict[str, bool]:
    """Ids of prompts where programs tell them, their number everywhere, and the answers."""
    answers = [[turns.first for turns in each.values()] for each in rounds]
    answers += [[turns.second for turns in each.values()] for each in rounds]
    return {
        "same_prompt_ids": all(len({answer.prompt for answer in each if answer.prompt}) == 1 for each in answers),
        "same_prompt_tokens": all(len({answer.prompt_tokens for answer in each}) == 1 for each in answers),
        "same_answers": all(len({answer.text for answer in each}) == 1 for each in answers),
    }


def compare(width: Width, tokens: int, written: int, count: int) -> dict[str, Any]:
    """Fabricate the checkpoint, start the programs, warm them up, alternate."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        parameters = write_pair(folder / "models", width)
        tokenizer = load_tokenizer(folder / "models" / "target")
        talking = programs(folder / "models", stack, folder)
        rounds = []
        for number in range(count + 1):
            names = list(talking) if number % 2 else list(talking)[::-1]
            asked = question(tokenizer, tokens, number)
            turns = {name: converse(talking[name], asked, written) for name in names}
            print({name: round(turn.second.first_s, 4) for name, turn in turns.items()}, file=sys.stderr)
            rounds.append(turns)
    return {"shape": asdict(width) | {"parameters": parameters}, **summary(rounds[1:])}


def main() -> None:
    """Compare, print and append one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2000, help="of the first question")
    parser.add_argument("--written", type=int, default=32, help="tokens of an answer")
    parser.add_argument("--rounds", type=int, default=7, help="alternations after one that warms up")
    parser.add_argument("--small", action="store_true", help="a tiny checkpoint, to try the benchmark itself")
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    options = parser.parse_args()
    width, before = SMALL if options.small else Width(), busy()
    found = compare(width, options.tokens, options.written, options.rounds)
    sizes = {"first_question_tokens": options.tokens, "written_tokens": options.written}
    fields = {**environment(), **sizes, "load_before": before, **found}
    words = command("gemma_mlx.benchmarks.second_turn", sys.argv[1:])
    append(options.out, line("second_turn", words, fields, (*PACKAGES, "mlx-vlm")))


if __name__ == "__main__":
    main()
