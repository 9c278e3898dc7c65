"""Train the demo model's drafter: `python -m tests.demo_model.drafting POOLS --work DIRECTORY`, after `train`.

The target is frozen, its weights rounded to 4 bits as they ship. The drafter learns from the target's hidden states,
keys and values: at every slot of a reply it drafts three tokens, each from the true one before it. Source of the step:
`reference.draft_step`, the reference implementation's.
"""

import argparse
import sys
import time
from collections import deque
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.kv_sharing import corrected_sharing

from . import reference
from .examples import Collator
from .fake_quant import packed
from .lean import Lean
from .mixture import Mixture
from .muon import Muon
from .reference import Batch, Drafter, Target
from .schedule import STAGES
from .shapes import drafter_config, target_config
from .train import ahead, quick_in_bfloat16

DEPTH = 3


def load_target(collate: Collator, work: Path) -> Target:
    """The trained model of `work`, its matrices rounded as 4 bits round them."""
    model = reference.build_target(target_config(collate.specials, collate.vocab_size))
    model.load_state_dict(torch.load(work / "state.pt", weights_only=True)["model"], strict=False)
    model.requires_grad_(False)
    for name, value in model.named_parameters():
        inner = value.ndim == 2 and ".language_model." in name
        value.copy_(packed(value) if inner else value.bfloat16())
    return model


def draft_loss(lean: Lean, drafter: Drafter, batch: Batch) -> Tensor:
    """Mean cross entropy of the drafter's guesses at every slot of a reply, fed with the true tokens; 0 without any."""
    if not batch.targets.any():
        return torch.zeros(())
    with torch.no_grad():
        hidden, shared, _ = lean(batch)
        embeddings = lean.model.model.language_model.embed_tokens(batch.ids)
    given = {kind: (keys.float(), values.float()) for kind, (keys, values) in shared.items()}
    rows, last = torch.arange(len(batch.ids))[:, None], batch.ids.shape[1] - 1
    first = batch.targets.int().argmax(1, keepdim=True) - 1
    slots = (first + torch.arange(int(batch.targets.sum(1).max()))).clamp(max=last)
    loss, state = torch.zeros(()), hidden[rows, slots]
    for step in range(1, DEPTH + 1):
        newest, wanted = (slots + step).clamp(max=last), (slots + step + 1).clamp(max=last)
        guess, state = reference.draft_step(drafter, embeddings[rows, newest], state, slots, given)
        counted = batch.targets[rows, wanted] & (slots + step < last)
        if counted.any():
            loss = loss + cross_entropy(guess[counted], batch.ids[rows, wanted][counted])
    return loss / DEPTH


def main() -> None:
    """Train the drafter and leave its weights in `drafter.pt`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="directory of the trained target")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(5)
    collate = Collator(options.pools / "tokenizer")
    with corrected_sharing():
        drafter = reference.build_drafter(drafter_config(collate.specials, collate.vocab_size))
    kind = torch.bfloat16 if quick_in_bfloat16() else torch.float32
    lean = Lean(load_target(collate, options.work), lambda value: value.to(kind))
    named = list(drafter.named_parameters())
    inner = [value for name, value in named if value.ndim == 2 and "embed" not in name]
    rest = [value for name, value in named if value.ndim != 2 or "embed" in name]
    learners = (Muon([{"params": inner}], lr=0.02, weight_decay=0.01), torch.optim.AdamW(rest, lr=3e-3))
    groups = [(group, group["lr"]) for learner in learners for group in learner.param_groups]
    mixture, recent, start = Mixture(collate, options.pools, seed=3), deque[float](maxlen=50), time.monotonic()
    for number, step in enumerate(ahead(mixture, [STAGES[-1]] * options.steps)):
        for group, value in groups:
            group["lr"] = value * min(1.0, (number + 1) / 50, max(1.5 * (1 - number / options.steps), 0.01))
        loss = draft_loss(lean, drafter, step.batch)
        if not loss.requires_grad:
            continue
        loss.backward()
        torch.nn.utils.clip_grad_norm_(drafter.parameters(), 2.0)
        for learner in learners:
            learner.step()
            learner.zero_grad()
        recent.append(loss.item())
        if number % 50 == 49:
            mean = sum(recent) / len(recent)
            print(f"{number + 1} {time.monotonic() - start:.0f} s  {mean:.3f}", file=sys.stderr, flush=True)
            torch.save(drafter.state_dict(), options.work / "drafter.pt")


if __name__ == "__main__":
    main()
