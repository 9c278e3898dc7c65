"""Time to the first token of a conversation that goes on another day: caches read from a file, or all of it read again.

    python -m gemma_mlx.benchmarks.resume --rounds 7 --out result.jsonl

Random weights of a size that can be timed. Both ways begin with the history alone, take the same question and must give
the same answer; rounds alternate their order. The file was just written, so the system may still hold it in memory.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gemma_mlx.benchmarks.midsize import SMALL, Width, write_pair
from gemma_mlx.benchmarks.peer_speed import environment
from gemma_mlx.benchmarks.record import append, busy, command, line, spread
from gemma_mlx.benchmarks.second_turn import SECOND, question
from gemma_mlx.chat import Chat
from gemma_mlx.conversation.history import History
from gemma_mlx.generation.events import Finished, TextDelta
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.loading import Gemma, LoadOptions, load

_WRITTEN = 16  # tokens of an answer
MODEL = "the model of this run"
"""Fingerprint of the caches that are saved."""


@dataclass(frozen=True)
class Resumed:
    """Seconds until the caches were there, and until the first text; the answer; tokens that were not read again; the
    ids of the prompt."""

    load_s: float
    first_s: float
    text: str
    cached: int
    prompt: list[int]


def answer(chat: Chat, text: str) -> tuple[float, Finished]:
    """Seconds to the first text of a greedy answer, and its end."""
    started, first, finished = time.perf_counter(), 0.0, None
    for event in chat.reply(text, Sampler(temperature=0), max_tokens=_WRITTEN, loop_guard=False):
        if isinstance(event, TextDelta):
            first = first or time.perf_counter() - started
        elif isinstance(event, Finished):
            finished = event
    assert finished is not None
    return first, finished


def resume(gemma: Gemma, history: History, file: Path | None) -> Resumed:
    """Go on with a conversation, its caches from a file or read again."""
    chat = Chat(gemma)
    started = time.perf_counter()
    chat.history = history
    if file is not None:
        chat.context.load(file, MODEL)
    loaded = time.perf_counter() - started
    first, finished = answer(chat, SECOND)
    prompt: list[int] = [key for key in chat.context.keys[: finished.usage.prompt_tokens] if isinstance(key, int)]
    return Resumed(loaded, loaded + first, finished.text, finished.usage.cached_tokens, prompt)


def compare(width: Width, tokens: int, rounds: int) -> dict[str, Any]:
    """Hold a conversation, save its caches, go on with it both ways."""
    with tempfile.TemporaryDirectory() as place:
        parameters = write_pair(Path(place) / "models", width)
        gemma = load(Path(place) / "models" / "target", LoadOptions(dtype="float32", draft="off"))
        file = Path(place) / "context.safetensors"
        chat = Chat(gemma)
        answer(chat, question(gemma.tokenizer, tokens, 0))
        chat.settle()
        started = time.perf_counter()
        chat.context.save(file, MODEL)
        saving, held = time.perf_counter() - started, len(chat.context.keys)
        files: dict[str, Path | None] = {"file": file, "again": None}
        found: dict[str, list[Resumed]] = {"file": [], "again": []}
        for number in range(rounds + 1):
            for name in list(files) if number % 2 else list(files)[::-1]:
                found[name].append(resume(gemma, chat.history, files[name]))
                print(name, round(found[name][-1].first_s, 4), file=sys.stderr)
        nbytes = file.stat().st_size
    pairs = list(zip(found["file"], found["again"], strict=True))[1:]  # the first one warms up
    return {
        "shape": asdict(width) | {"parameters": parameters},
        "held_tokens": held,
        "cached_tokens": sorted({fast.cached for fast, _ in pairs}),
        "file_bytes": nbytes,
        "save_s": round(saving, 4),
        "load_s": spread([fast.load_s for fast, _ in pairs], 4),
        "resumed_s": spread([fast.first_s for fast, _ in pairs], 4),
        "read_again_s": spread([slow.first_s for _, slow in pairs], 4),
        "resumed / read_again": spread([fast.first_s / slow.first_s for fast, slow in pairs], 4),
        "same_answers": len({each.text for pair in pairs for each in pair}) == 1,
    }


def main() -> None:
    """Compare, print and append one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4000, help="of the conversation")
    parser.add_argument("--rounds", type=int, default=7, help="alternations after one that warms up")
    parser.add_argument("--small", action="store_true", help="a tiny checkpoint, to try the benchmark itself")
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    options = parser.parse_args()
    width, before = SMALL if options.small else Width(), busy()
    found = compare(width, options.tokens, options.rounds)
    fields = {**environment(), "load_before": before, **found}
    append(options.out, line("resume", command("gemma_mlx.benchmarks.resume", sys.argv[1:]), fields))


if __name__ == "__main__":
    main()
