"""Make the built-in demo model: `python -m tests.demo_model.train` in the repository root, after `build_tokenizer`.

Trains target and drafter on one thread with fixed seeds, rounds them to bfloat16, writes both checkpoints and the
sample picture and recording under `gemma_mlx/assets`, measures what was written, and appends the figures to
`results.jsonl`. `--steps` and `--draft-steps` shorten it; `--out` writes elsewhere;
`--resume` starts from what is there. Needs torch, transformers and `espeak-ng`.
"""

import argparse
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.kv_sharing import corrected_sharing

from . import examples, reference, samples, sounds
from .check import DEPTH, measure
from .examples import Collator, Example
from .export import export, write_json
from .reference import Batch, Drafter, Target
from .shapes import drafter_config, drafter_generation_config, target_config

HERE = Path(__file__).parent
ASSETS = HERE.parents[1] / "gemma_mlx" / "assets"
BUDGETS = (70, 70, 70, 70, 140, 70, 280, 70, 140, 70, 70, 560)


def batches(seed: int, collate: Collator) -> Iterator[Batch]:
    """Endless batches: text, and between them pictures, pictures and sounds; every eighth picture batch is video."""
    rng, bank = random.Random(seed), sounds.speech_bank()
    texts: list[list[Example]] = []
    number = 0
    while True:
        for _ in range(2):
            yield collate(_texts(rng, texts))
            yield collate(_pictures(rng, number))
            number += 1
        yield collate(_texts(rng, texts))
        yield collate([examples.sound_example(rng, bank) for _ in range(16)])


def _pictures(rng: random.Random, number: int) -> list[Example]:
    """About 1,700 soft tokens of pictures or of video."""
    if number % 8 == 7:
        return [examples.video_example(rng) for _ in range(8)]
    budget = BUDGETS[number % len(BUDGETS)]
    return [examples.picture_example(rng, budget) for _ in range(24 * 70 // budget)]


def _texts(rng: random.Random, waiting: list[list[Example]]) -> list[Example]:
    """32 text examples of similar length, so that little is padded."""
    if not waiting:
        drawn = sorted((examples.text_example(rng) for _ in range(256)), key=lambda one: len(one.prompt))
        waiting.extend(drawn[start : start + 32] for start in range(0, len(drawn), 32))
        rng.shuffle(waiting)
    return waiting.pop()


def target_loss(model: Target, batch: Batch) -> Tensor:
    """Cross entropy of the reply tokens, weighted by how unlikely they are: most tokens of a fixed answer are easy."""
    hidden, _ = reference.run(model, batch)
    wanted = batch.targets[:, 1:]
    each = cross_entropy(reference.logits(model, hidden[:, :-1][wanted]), batch.ids[:, 1:][wanted], reduction="none")
    weight = 1.05 - torch.exp(-each.detach())
    return (weight * each).sum() / weight.sum().clamp(min=len(batch.ids) / 4)


def draft_loss(target: Target, drafter: Drafter, batch: Batch) -> Tensor:
    """Mean cross entropy of the drafter's guesses at every slot of the reply, fed with the true tokens."""
    with torch.no_grad():
        hidden, shared = reference.run(target, batch, share=True)
        embeddings = target.model.language_model.embed_tokens(batch.ids)
    rows, last = torch.arange(len(batch.ids))[:, None], batch.ids.shape[1] - 1
    first = batch.targets.int().argmax(1, keepdim=True) - 1
    slots = (first + torch.arange(int(batch.targets.sum(1).max()))).clamp(max=last)
    loss, state = torch.zeros(()), hidden[rows, slots]
    for step in range(1, DEPTH + 1):
        newest, wanted = (slots + step).clamp(max=last), (slots + step + 1).clamp(max=last)
        guess, state = reference.draft_step(drafter, embeddings[rows, newest], state, slots, shared)
        counted = batch.targets[rows, wanted] & (slots + step < last)
        loss = loss + cross_entropy(guess[counted], batch.ids[rows, wanted][counted])
    return loss / DEPTH


def train(model: torch.nn.Module, steps: int, loss_of: Callable[[Batch], Tensor], source: Iterator[Batch]) -> None:
    """Take `steps` steps of two batches each: warm up, then decay to zero."""
    optimizers = _optimizers(model)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    start = time.monotonic()
    recent: deque[float] = deque(maxlen=8)
    for step in range(steps):
        scale = min(1.0, (step + 1) / 20, 1.4 * (1 - step / steps))
        for rate, group in zip(rates, groups, strict=True):
            group["lr"] = rate * scale
        for _ in range(2):
            loss = loss_of(next(source))
            loss.backward()
            recent.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 4.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if step % 40 == 39:
            print(f"{step + 1} {time.monotonic() - start:.0f} s", *(f"{one:.3f}" for one in recent), file=sys.stderr)


def _optimizers(model: torch.nn.Module) -> tuple[torch.optim.Optimizer, ...]:
    """Muon on the matrices inside layers, AdamW on the rest, slowly on projections of pixels or samples."""
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    inner = [value for name, value in named if value.ndim == 2 and ".layers." in name]
    wide = [value for _, value in named if value.shape[-1] >= 640]
    rest = [value for _, value in named if not any(value is one for one in (*inner, *wide))]
    groups = [{"params": rest, "lr": 4e-3}] + ([{"params": wide, "lr": 2e-4}] if wide else [])
    slow = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
    return torch.optim.Muon(inner, lr=0.02, weight_decay=0.01), slow


def main() -> None:
    """Train, write, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--draft-steps", type=int, default=150)
    parser.add_argument("--out", type=Path, default=ASSETS)
    parser.add_argument("--resume", action="store_true", help="start from the checkpoints in --out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(4)
    started, used = time.monotonic(), time.process_time()
    collate = Collator(ASSETS / "demo")
    config = target_config(collate.specials, collate.vocab_size)
    draft_config = drafter_config(collate.specials, collate.vocab_size)
    with corrected_sharing():
        target, drafter = reference.build_target(config), reference.build_drafter(draft_config)
        if options.resume:
            target = Target.from_pretrained(options.out / "demo", dtype=torch.float32)
            drafter = Drafter.from_pretrained(options.out / "demo-assistant", dtype=torch.float32)
    source = batches(2 if options.resume else 1, collate)
    train(target, options.steps, lambda batch: target_loss(target, batch), source)
    export(target, config, options.out / "demo")
    trained = time.monotonic()
    target.requires_grad_(False)
    train(drafter, options.draft_steps, lambda batch: draft_loss(target, drafter, batch), source)
    export(drafter, draft_config, options.out / "demo-assistant")
    write_json(options.out / "demo-assistant" / "generation_config.json", drafter_generation_config(collate.specials))
    samples.write(options.out / "samples")
    result = {
        "command": " ".join(["python -m tests.demo_model.train", *sys.argv[1:]]),
        "threads": 1,
        "torch": torch.__version__,
        "target_s": round(trained - started, 1),
        "drafter_s": round(time.monotonic() - trained, 1),
        "cpu_s": round(time.process_time() - used, 1),
        **measure(target, drafter, collate, options.out / "samples"),
    }
    with (HERE / "results.jsonl").open("a", encoding="utf-8") as results:
        results.write(json.dumps(result) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
