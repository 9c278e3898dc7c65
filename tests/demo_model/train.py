"""Train the built-in demo model: `python -m tests.demo_model.train POOLS --work DIRECTORY` in the repository root.

Seeds are fixed; what is learnt when is in `schedule`. A run that is begun again goes on where its last snapshot stands,
with other batches than an uninterrupted one would have. Losses that only training knows tell what each soft token shows
or sounds like: a reply depends on a few patches or frames, and these are found much sooner so. The last steps
see the weights as 4 bits will round them. `drafting` trains the drafter, `finish` converts. Needs torch, transformers,
and the pools that `lines`, `pictures` and `speech` render.
"""

import argparse
import json
import queue
import re
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from . import reference, schedule
from .examples import GLYPH_SLOTS, Collator
from .export import target_state
from .fake_quant import through
from .held_out import share_right, tasks
from .lean import Lean
from .lines import BINS
from .mixture import LINES, Mixture, Step
from .muon import Muon
from .reference import Target
from .schedule import STAGES, Stage
from .shapes import HIDDEN, target_config

TAP = 3  # the layer whose output must know what was seen and heard
GLYPHS, PLACES, WORDS, COUNTS = 37, 8, 33, 6
SWITCH = 2e-4  # seconds that the thread that draws may keep Python from the one that learns
BLANK = 0.2  # what it weighs to see that there is no character, against which one there is
SNAPSHOT, TEST, REPORT, TASKS = 250, 1000, 50, 60


class Heads(nn.Module):  # type: ignore[misc]  # torch is not followed
    """What a patch shows (characters and the place of the first; or by sixth) and a frame hears (word, count)."""

    def __init__(self) -> None:
        super().__init__()
        self.glyphs = nn.Linear(HIDDEN, GLYPH_SLOTS * GLYPHS + PLACES)
        self.words = nn.Linear(HIDDEN, WORDS + COUNTS)
        self.bins = nn.Linear(HIDDEN, BINS * GLYPHS)


@dataclass(frozen=True, eq=False)
class State:
    """Everything that a run changes."""

    model: Target
    heads: Heads
    optimizers: tuple[torch.optim.Optimizer, ...]


def losses(lean: Lean, heads: Heads, step: Step) -> dict[str, Tensor]:
    """Mean cross entropies: of the reply and, where there are any, of what is seen and of what is heard."""
    batch = step.batch
    wanted = batch.targets[:, 1:]
    if wanted.any():
        hidden, _, tapped = lean(batch, TAP)
        scores = lean.logits(hidden[:, :-1][wanted])
        found = {step.kind: cross_entropy(scores, batch.ids[:, 1:][wanted])}
    else:
        tapped, found = lean.begin(batch, TAP), {}
    assert tapped is not None
    if len(batch.places):
        at = tapped[(batch.types == 1) | (batch.types == 2)][batch.places]
        labels = step.glyphs[batch.places]
        if step.kind in LINES:
            return {step.kind: _seen(heads.bins(at), labels)}
        scores = heads.glyphs(at)
        glyphs, places = scores.split((GLYPH_SLOTS * GLYPHS, PLACES), -1)
        seen = _seen(glyphs, labels[:, :-1])
        where = labels[:, -1].masked_fill(labels[:, 0] <= 0, -100)
        found["glyphs"] = seen + 0.3 * cross_entropy(places, where) if (where >= 0).any() else seen
    if len(batch.frames):
        words, counts = heads.words(tapped[batch.types == 3]).split((WORDS, COUNTS), -1)
        if (step.words >= 0).any():
            found["words"] = cross_entropy(words, step.words[:, 0]) + 0.3 * cross_entropy(counts, step.words[:, 1])
    return found


def _seen(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of characters, where there may be some; blanks, which are most of it, count less."""
    weights = torch.ones(GLYPHS)
    weights[0] = BLANK
    return cross_entropy(scores.reshape(-1, GLYPHS), labels.reshape(-1), weights)


def ahead(mixture: Mixture, stages: Sequence[Stage]) -> Iterator[Step]:
    """A batch of each of these stages, drawn on a thread while the model learns from the last ones."""
    waiting: queue.Queue[Step | None] = queue.Queue(4)

    def draw() -> None:
        try:
            for stage in stages:
                waiting.put(mixture.step(stage))
        finally:
            waiting.put(None)  # of a fault, the thread prints the traceback

    threading.Thread(target=draw, daemon=True).start()
    for _ in stages:
        step = waiting.get()
        if step is None:
            raise RuntimeError("a batch could not be drawn: see the traceback above")
        yield step


def optimizers(model: Target, heads: Heads) -> tuple[torch.optim.Optimizer, ...]:
    """Muon on the matrices inside layers, AdamW on the rest, slowly on projections of pixels and samples. Groups of
    what sees and hears, up to the tapped layer, are marked as `lower`."""
    pixels, samples = model.model.embed_vision.patch_dense.weight, model.model.embed_audio.embedding_projection.weight
    parts: dict[tuple[bool, bool], list[nn.Parameter]] = {(a, b): [] for a in (False, True) for b in (False, True)}
    for name, value in model.named_parameters():
        if value is not pixels and value is not samples:
            parts[value.ndim == 2 and ".layers." in name, _is_lower(name)].append(value)
    parts[False, False] += heads.parameters()
    inner = [{"params": parts[True, lower], "lower": lower} for lower in (True, False)]
    rest: list[dict[str, Any]] = [
        {"params": parts[False, lower], "lr": 3e-3, "lower": lower} for lower in (True, False)
    ]
    rest += [{"params": [pixels], "lr": 2e-4, "lower": True}, {"params": [samples], "lr": 6e-5, "lower": True}]
    return Muon(inner, lr=0.02, weight_decay=0.01), torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.0)


def _is_lower(name: str) -> bool:
    layer = re.search(r"\.layers\.(\d+)\.", name)
    return int(layer[1]) <= TAP if layer else "embed_vision" in name or "embed_audio" in name


def learn(state: State, mixture: Mixture, done: int, options: argparse.Namespace, collate: Collator) -> None:
    """Take the steps that are left; a snapshot every now and then, and the shares right on held-out tasks."""
    plain = Lean(state.model, lambda value: value.to(options.dtype), not options.plain)
    rounded = torch.compile(through) if not options.plain else through
    packed = Lean(state.model, lambda value: rounded(value).to(options.dtype), not options.plain)
    groups = [group for optimizer in state.optimizers for group in optimizer.param_groups]
    recent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=20))
    start, total = time.monotonic(), sum(stage.steps for stage in options.stages)
    coming = [schedule.at(number, options.stages) for number in range(done, total)]
    drawn = ahead(mixture, [stage for stage, _ in coming])
    for number, (stage, share), step in zip(range(done + 1, total + 1), coming, drawn, strict=True):
        for group in groups:
            group["lr"] = group["initial_lr"] * share * (stage.lower if group["lower"] else 1.0)
        lean = packed if stage.rounded else plain
        found = losses(lean, state.heads, step)
        weights = {name: stage.helping if step.kind in found and name != step.kind else 1.0 for name in found}
        sum(weights[name] * value for name, value in found.items()).backward()
        torch.nn.utils.clip_grad_norm_([*state.model.parameters(), *state.heads.parameters()], 2.0)
        for optimizer in state.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        for name, value in found.items():
            recent[name].append(value.item())
        if number % REPORT == 0:
            means = " ".join(f"{name} {sum(values) / len(values):.3f}" for name, values in sorted(recent.items()))
            print(f"{number} {time.monotonic() - start:.0f} s  {means}", file=sys.stderr, flush=True)
        if number % SNAPSHOT == 0 or number == total:
            snapshot(state, number, options.work)
        if number % TEST == 0 or number == total:
            right = judged(lean, collate, options.pools)
            note({"step": number, "seconds": round(time.monotonic() - start)} | right, options.work)


def quick_in_bfloat16() -> bool:
    """Whether this processor multiplies in 16 bits; others take six times as long for it as in 32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def judged(lean: Lean, collate: Collator, pools: Path) -> dict[str, float]:
    """Shares right on some held-out tasks, where their pools are."""
    known = tasks(pools, TASKS) if (pools / "pictures_held_out" / "READY").exists() else {}
    return {name: share_right(lean, collate, group) for name, group in known.items()}


def note(line: dict[str, float], work: Path) -> None:
    """Print a line of progress and keep it."""
    print(json.dumps(line), file=sys.stderr, flush=True)
    with (work / "progress.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def snapshot(state: State, done: int, work: Path) -> None:
    """Write everything that is needed to go on, in one go."""
    whole = {
        "done": done,
        "model": target_state(state.model),
        "heads": state.heads.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in state.optimizers],
    }
    torch.save(whole, work / "state.new")
    (work / "state.new").replace(work / "state.pt")


def begin(collate: Collator, work: Path) -> tuple[State, int]:
    """A new model, or the last snapshot in `work`, and the number of steps done."""
    torch.manual_seed(4)
    model, heads = reference.build_target(target_config(collate.specials, collate.vocab_size)), Heads()
    state, done = State(model, heads, optimizers(model, heads)), 0
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    if (work / "state.pt").exists():
        saved = torch.load(work / "state.pt", weights_only=True)
        model.load_state_dict(saved["model"], strict=False)
        heads.load_state_dict(saved["heads"])
        for optimizer, values in zip(state.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        done = saved["done"]
    return state, done


def main() -> None:
    """Train until all steps are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path, help="directory of crops, pictures, speech and the held-out pools")
    parser.add_argument("--work", type=Path, required=True, help="directory for snapshots and progress.jsonl")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plain", action="store_true", help="without torch.compile")
    parser.add_argument("--float32", action="store_true", help="in 32 bits, whatever this processor is quick in")
    options = parser.parse_args(namespace=argparse.Namespace(stages=STAGES))
    options.dtype = torch.float32 if options.float32 or not quick_in_bfloat16() else torch.bfloat16
    torch.set_num_threads(options.threads)
    sys.setswitchinterval(SWITCH)
    options.work.mkdir(parents=True, exist_ok=True)
    collate = Collator(options.pools / "tokenizer")
    started = time.process_time()
    mixture = Mixture(collate, options.pools, seed=1)
    state, done = begin(collate, options.work)
    if done:
        mixture = Mixture(collate, options.pools, seed=1 + done)
    count = sum(value.numel() for value in state.model.parameters())
    print(f"{count / 1e6:.2f} M parameters, {done} steps done", file=sys.stderr, flush=True)
    learn(state, mixture, done, options, collate)
    print(f"{time.process_time() - started:.0f} s of processor time", file=sys.stderr)


if __name__ == "__main__":
    main()
