"""Prefill and decode speed against mlx-vlm: the same checkpoint, prompt ids, float32 and BLAS, in one process.

    python -m gemma_mlx.benchmarks.peer_speed --rounds 11 --out result.jsonl

Both programs run through their own entry points and must give the same greedy ids. Rounds alternate A B, B A …; a
ratio is ours over theirs within a round, above 1 is faster. Needs the `bench` extra.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import numpy as np

from gemma_mlx.benchmarks.fabricate import Shape, write_checkpoint
from gemma_mlx.context.context import Context
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.loading import load_model

Generate = Callable[[list[int], int], Iterator[int]]


@dataclass(frozen=True)
class Run:
    """Tokens per second of one generation."""

    prefill: float
    decode: float
    ids: tuple[int, ...]


def ours(directory: Path) -> Generate:
    """Our reading and decoding, as a conversation uses them."""
    model = load_model(directory, dtype="float32")

    def generate(prompt: list[int], tokens: int) -> Iterator[int]:
        context = Context(model, len(prompt) + tokens)
        read = context.read(Prompt((Segment("text", np.array(prompt, np.int32)),)))
        assert read.hidden is not None
        for token in context.decode(read.hidden, DecodeOptions(Sampler(temperature=0), tokens)):
            yield token.id

    return generate


def peer(directory: Path) -> Generate:
    """mlx-vlm's `load_model` and `generate_step`, greedy, default prefill step."""
    try:
        from mlx_vlm.generate import generate_step
        from mlx_vlm.utils import load_model as load_peer
    except ImportError:
        sys.exit("mlx-vlm is not installed: in a clone, pip install '.[bench]'")
    model = load_peer(directory)

    def generate(prompt: list[int], tokens: int) -> Iterator[int]:
        for token, _ in generate_step(mx.array([prompt]), model, None, None, max_tokens=tokens, temperature=0.0):
            yield token if isinstance(token, int) else int(token.item())

    return generate


def measure(generate: Generate, prompt: list[int], tokens: int) -> Run:
    """Prefill: prompt tokens over the time to the first one. Decode: from the second on, when both programs are a step
    ahead of what they yield."""
    started = time.perf_counter()
    ids: list[int] = []
    times: list[float] = []
    for token in generate(prompt, tokens):
        times.append(time.perf_counter())
        ids.append(token)
    return Run(len(prompt) / (times[0] - started), (len(ids) - 2) / (times[-1] - times[1]), tuple(ids))


def compare(directory: Path, prompt: list[int], tokens: int, rounds: int) -> dict[str, object]:
    """Alternate both programs. Returns medians and quartiles of the ratios within each round."""
    programs = {"ours": ours(directory), "peer": peer(directory)}
    for generate in programs.values():
        measure(generate, prompt, tokens)
    ratios: dict[str, list[float]] = {"prefill": [], "decode": []}
    same = True
    for number in range(rounds):
        order = list(programs) if number % 2 == 0 else list(programs)[::-1]
        runs = {name: measure(programs[name], prompt, tokens) for name in order}
        ratios["prefill"].append(runs["ours"].prefill / runs["peer"].prefill)
        ratios["decode"].append(runs["ours"].decode / runs["peer"].decode)
        same = same and runs["ours"].ids == runs["peer"].ids
        print(f"round {number + 1}: prefill {ratios['prefill'][-1]:.3f}, decode {ratios['decode'][-1]:.3f}")
    return {"same_ids": same, **{name: summary(values) for name, values in ratios.items()}}


def summary(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, _, high = statistics.quantiles(values, n=4)
    return {"median": round(statistics.median(values), 3), "q1": round(low, 3), "q3": round(high, 3)}


def environment() -> dict[str, str]:
    """Which BLAS MLX's CPU backend uses, as far as the environment tells, and on how many threads."""
    preload = os.environ.get("LD_PRELOAD", "")
    return {
        "blas": "openblas, preloaded" if "openblas" in preload else "as linked by the mlx wheel",
        "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS", "all"),
    }


def main() -> None:
    """Fabricate a checkpoint, compare, print and append one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", type=int, default=1024, help="prompt tokens")
    parser.add_argument("--tokens", type=int, default=96, help="tokens to generate, 3 or more")
    parser.add_argument("--rounds", type=int, default=11, help="alternations, 2 or more")
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    options = parser.parse_args()
    shape = Shape()
    with tempfile.TemporaryDirectory() as folder:
        parameters = write_checkpoint(Path(folder), shape)
        ids = np.random.default_rng(0).integers(20, shape.vocab_size, options.prompt).tolist()
        result = compare(Path(folder), ids, options.tokens, options.rounds)
    line = {
        "benchmark": "peer_speed",
        "command": "python -m gemma_mlx.benchmarks.peer_speed " + " ".join(sys.argv[1:]),
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, MLX on {mx.default_device()}",
        **environment(),
        "versions": {name: version(name) for name in ("gemma-mlx", "mlx", "mlx-vlm")},
        "shape": asdict(shape) | {"parameters": parameters},
        "prompt_tokens": options.prompt,
        "generated_tokens": options.tokens,
        "rounds": options.rounds,
        "ours_over_peer": result,
    }
    print(json.dumps(line, indent=1))
    if options.out is not None:
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
