"""Predicted against measured peak memory: random models, contexts and attachments, on MLX's CPU backend.

    python -m gemma_mlx.benchmarks.memory --runs 20 --out result.jsonl

A run writes a random checkpoint, loads it, reads a random prompt of text, pictures and sound in pieces, takes snapshots
and writes tokens, all with the package's own code. The prediction is made before, from headers and lengths.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_map

from gemma_mlx.benchmarks.record import append, command, line
from gemma_mlx.config import FULL, SLIDING, DrafterConfig, ModelConfig
from gemma_mlx.context.context import Context
from gemma_mlx.doctor.measure import pieces_until
from gemma_mlx.generation.depth import Fixed
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.loading import load_drafter, load_model
from gemma_mlx.memory.caches import Span
from gemma_mlx.memory.moments import Written, of_run
from gemma_mlx.memory.plan import model_bytes
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel

_PATTERNS = ((SLIDING, FULL), (SLIDING, SLIDING, FULL, SLIDING), (SLIDING,) * 5 + (FULL,), (FULL, SLIDING, SLIDING))
_PICTURES = {70: (7, 10), 140: (10, 14), 280: (14, 20), 560: (20, 28), 1120: (28, 40)}  # rows and columns of patches
_PUBLISHED_SAMPLER = Sampler(temperature=1.0, top_k=64, top_p=0.95, seed=1, suppress_tokens=(6, 7))


@dataclass(frozen=True)
class Scenario:
    """A model and what happens to it. `bits`: of the packed language model, None: not packed. `marks`: positions.
    `depth`: drafts in a round, 0 without drafter."""

    seed: int
    text: dict[str, Any]
    stored: str
    bits: int | None
    depth: int
    segments: tuple[Segment, ...]
    marks: tuple[int, ...]
    piece_tokens: int
    written: int

    @property
    def tokens(self) -> int:
        return sum(len(segment.ids) for segment in self.segments)


@dataclass(frozen=True)
class Result:
    """Bytes predicted, part by part, and counted, in every round. A busy machine lets MLX's queue run dry: that makes a
    peak smaller, never larger."""

    moment: str
    parts: dict[str, int]
    rounds: tuple[int, ...]
    measured_weights: int
    seconds: float

    @property
    def measured(self) -> int:
        return max(self.rounds)

    @property
    def predicted(self) -> int:
        return sum(self.parts.values())

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.measured


def scenario(seed: int, tokens: int, widths: Sequence[int]) -> Scenario:
    """Random, but the same for a seed: about `tokens` tokens, a hidden size out of `widths`."""
    rng = np.random.default_rng(seed)
    segments, marks, position = [], [], 0
    while position < tokens:
        kind = rng.choice(["text", "text", "sound", "picture"])
        segments.append(_segment(rng, str(kind), tokens))
        position += len(segments[-1].ids)
        if rng.random() < 0.2:
            marks.append(position)
    segments.append(_text(rng, int(rng.integers(2, 40))))
    return Scenario(
        seed=seed,
        text=_text_config(rng, int(rng.choice(widths))),
        stored=str(rng.choice(["float32", "bfloat16"])),
        bits=(None, None, 4, 8)[rng.integers(4)],
        depth=int(rng.choice([0, 0, 1, 3, 8])),
        segments=tuple(segments),
        marks=tuple(marks[-2:]),
        piece_tokens=int(rng.choice([512, 512, 256, 128])),
        written=int(rng.integers(1, 24)),
    )


def _text_config(rng: np.random.Generator, hidden: int) -> dict[str, Any]:
    heads = int(rng.choice([2, 4, 8]))
    types = [kind for _ in range(rng.integers(1, 3)) for kind in _PATTERNS[rng.integers(len(_PATTERNS))]][:6]
    return {
        "model_type": "gemma4_unified_text",
        "hidden_size": hidden,
        "intermediate_size": hidden * int(rng.choice([1, 2, 4])),
        "num_hidden_layers": len(types),
        "layer_types": types,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // int(rng.choice([1, 2])),
        "num_global_key_value_heads": int(rng.choice([1, 2])),
        "head_dim": int(rng.choice([32, 64])),
        "global_head_dim": int(rng.choice([64, 128])),
        "attention_k_eq_v": bool(rng.random() < 0.8),
        "sliding_window": int(rng.choice([64, 200, 512])),
        "vocab_size": int(rng.choice([1024, 8192, 32768])),
        "max_position_embeddings": 65536,
        "final_logit_softcapping": 30.0,
        "num_kv_shared_layers": 0,
    }


def _segment(rng: np.random.Generator, kind: str, tokens: int) -> Segment:
    if kind == "picture":
        sizes = [size for size in _PICTURES if size <= tokens]
        rows, columns = _PICTURES[sizes[rng.integers(len(sizes))]]
        patches = rng.integers(0, 256, (rows * columns, 6912), np.uint8)
        places = np.array([(x, y) for y in range(rows) for x in range(columns)], np.int32)
        return Segment("image", np.full(rows * columns, 4, np.int32), patches, places, f"picture {rng.random()}")
    if kind == "sound":
        frames = rng.uniform(-1, 1, (int(rng.integers(5, 250)), 640)).astype(np.float32)
        return Segment("audio", np.full(len(frames), 5, np.int32), frames, None, f"sound {rng.random()}")
    return _text(rng, int(rng.integers(10, 700)))


def _text(rng: np.random.Generator, length: int) -> Segment:
    return Segment("text", rng.integers(16, 1000, length).astype(np.int32))


def measure(run: Scenario, folder: Path, rounds: int = 1) -> Result:
    """Write the checkpoint into an empty folder, predict, load, read and write a few times, and count."""
    target, drafter = folder / "target", folder / "drafter" if run.depth else None
    _write(target, GemmaModel(ModelConfig.from_dict(raw_config(run))), raw_config(run), run)
    if drafter is not None:
        raw = _raw_drafter_config(run)
        _write(drafter, Drafter(DrafterConfig.from_dict(raw)), raw, run)
    sizes = model_bytes(target, drafter, 4)
    moment = of_run(sizes, "cpu", pieces_of(run), run.marks, Written(run.written, run.depth))
    started = time.perf_counter()
    with _counting() as base:
        model = load_model(target, dtype="float32")
        kept = None if drafter is None else load_drafter(drafter, dtype="float32")
        weights = mx.get_active_memory() - base
        drafting = None if kept is None else Drafting(kept, Fixed(run.depth))
        measured = tuple(_peak(model, drafting, run) - base for _ in range(rounds))
        del model, kept, drafting
    parts = {
        "weights": sizes.weights,
        "drafter": sizes.drafter_weights,
        "keys and values": moment.caches,
        "snapshots": moment.snapshots,
        "working space": moment.working,
    }
    return Result(moment.name, parts, measured, weights, round(time.perf_counter() - started, 2))


@contextmanager
def _counting() -> Iterator[int]:
    """Bytes in use before; freed buffers leave at once, so that a peak is what was in use."""
    gc.collect()
    limit = mx.set_cache_limit(0)
    mx.clear_cache()
    try:
        yield mx.get_active_memory()
    finally:
        mx.set_cache_limit(limit)


def _peak(model: GemmaModel, drafting: Drafting | None, run: Scenario) -> int:
    """Most bytes in use while the conversation is read and a reply written."""
    mx.reset_peak_memory()
    context, prompt = Context(model, run.tokens + run.written, run.piece_tokens), Prompt(run.segments)
    for stop in (*run.marks, run.tokens):
        read = context.read(prompt, stop)
        if stop in run.marks:
            context.mark()
    assert read.hidden is not None
    for _ in context.decode(read.hidden, DecodeOptions(_PUBLISHED_SAMPLER, run.written), drafting):
        pass
    return mx.get_peak_memory()


def pieces_of(run: Scenario) -> Iterator[list[Span]]:
    """What the stream will cut the prompt into."""
    return pieces_until(run.segments, (*run.marks, run.tokens), run.piece_tokens)


def raw_config(run: Scenario) -> dict[str, Any]:
    """The model's `config.json`, in the published spelling."""
    width = run.text["hidden_size"]
    raw: dict[str, Any] = {
        "model_type": "gemma4_unified",
        "text_config": run.text,
        "vision_config": {"mm_embed_dim": width, "output_proj_dims": width, "mm_posemb_size": 64},
        "audio_config": {"audio_embed_dim": 640},
    }
    return raw if run.bits is None else raw | {"quantization": {"group_size": 32, "bits": run.bits}}


def _raw_drafter_config(run: Scenario) -> dict[str, Any]:
    layers = {"num_hidden_layers": 2, "num_kv_shared_layers": 2, "layer_types": [SLIDING, FULL]}
    text = run.text | layers | {"hidden_size": 64, "intermediate_size": 256}
    width = run.text["hidden_size"]
    return {"model_type": "gemma4_unified_assistant", "backbone_hidden_size": width, "text_config": text}


def _write(directory: Path, model: nn.Module, raw: dict[str, Any], run: Scenario) -> None:
    """`config.json` and one file of weights, the language model packed if it is to be."""
    directory.mkdir()
    model.update(tree_map(lambda array: array.astype(getattr(mx, run.stored)), model.parameters()))
    if run.bits is not None and isinstance(model, GemmaModel):
        nn.quantize(model.language_model, group_size=32, bits=run.bits)
    mx.save_safetensors(str(directory / "model.safetensors"), dict(tree_flatten(model.parameters())))
    (directory / "config.json").write_text(json.dumps(raw))


def main() -> None:
    """Measure, print and append one JSON line a run, and say the extremes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="random models and prompts")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--tokens", type=int, default=3000, help="about how long prompts are")
    parser.add_argument("--rounds", type=int, default=2, help="conversations with each model; the largest peak counts")
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    options = parser.parse_args()
    ratios = []
    for seed in range(options.first, options.first + options.runs):
        run = scenario(seed, options.tokens, (128, 256, 384))
        with tempfile.TemporaryDirectory() as folder:
            result = measure(run, Path(folder), options.rounds)
        fields = {
            "seed": seed,
            "text_config": run.text,
            "stored": run.stored,
            "bits": run.bits,
            "segments": [(segment.kind, len(segment.ids)) for segment in run.segments],
            "marks": run.marks,
            "piece_tokens": run.piece_tokens,
            "written": run.written,
            "depth": run.depth,
            **asdict(result),
            "measured": result.measured,
            "predicted": result.predicted,
            "predicted_over_measured": round(result.ratio, 4),
        }
        append(options.out, line("memory", command("gemma_mlx.benchmarks.memory", sys.argv[1:]), fields))
        ratios.append(result.ratio)
    print(f"predicted over measured: {min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} runs")


if __name__ == "__main__":
    main()
