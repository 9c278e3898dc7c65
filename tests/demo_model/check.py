"""Measure the shipped demo model on held-out tasks: `python -m tests.demo_model.check POOLS --work DIRECTORY`.

Every task is answered by the package as it is installed, greedily, drafting three tokens at a time; an answer is right
if it is the expected one to the letter, whatever was thought before. The loss by 4 bits compares the same forward with
float32 weights and with packed ones on more tasks. Agreement with the reference decodes the float32 checkpoint. Appends
one line to `results.jsonl`, from which README takes its table.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from gemma_mlx.generation.depth import Depths, Fixed, Round
from gemma_mlx.loading import Gemma, LoadOptions, load

from . import reference
from .answering import answer, prompt_of, reference_agrees
from .examples import Collator, Example
from .fake_quant import packed
from .held_out import share_right, tasks
from .lean import Lean
from .shapes import target_config

HERE = Path(__file__).parent
DEPTH = 3


@dataclass
class Counted:
    """Fixed depths, and what came of the drafts."""

    depths: Depths = field(default_factory=lambda: Fixed(DEPTH))
    drafted: int = 0
    accepted: int = 0

    def choose(self, position: int) -> int:
        return self.depths.choose(position)

    def record(self, done: Round) -> None:
        self.drafted += done.depth
        self.accepted += done.accepted
        self.depths.record(done)


def answered(gemma: Gemma, collate: Collator, groups: dict[str, list[Example]]) -> dict[str, float]:
    """Share answered right of each group, and of drafts accepted over all."""
    found, counted = {}, Counted()
    for name, group in groups.items():
        right = 0
        for one in group:
            ids = answer(gemma, prompt_of(collate, one), counted)
            right += _said(gemma, ids) == _said(gemma, collate.encode(one.reply))
        found[name] = round(right / len(group), 4)
        print(f"{name}: {right} of {len(group)}", file=sys.stderr, flush=True)
    return found | {"acceptance": round(counted.accepted / max(1, counted.drafted), 4)}


def _said(gemma: Gemma, ids: Sequence[int]) -> list[int]:
    """A reply without its thought."""
    said, end = list(ids), gemma.tokenizer.specials["<channel|>"]
    return said[len(said) - said[::-1].index(end) :] if end in said else said


def loss_by_packing(collate: Collator, work: Path, groups: dict[str, list[Example]]) -> dict[str, list[float]]:
    """Shares right with float32 weights and with packed ones, in torch."""
    model = reference.build_target(target_config(collate.specials, collate.vocab_size))
    model.load_state_dict(torch.load(work / "state.pt", weights_only=True)["model"], strict=False)
    whole = Lean(model, lambda value: value, compiled=False)
    rounded = Lean(model, lambda value: packed(value), compiled=False)
    shares = {name: [share_right(lean, collate, group) for lean in (whole, rounded)] for name, group in groups.items()}
    print(json.dumps(shares), file=sys.stderr, flush=True)
    return shares


def agreement(collate: Collator, work: Path, group: Sequence[Example]) -> tuple[int, int]:
    """Of how many prompts the greedy ids in float32 are the reference's, and how many there were."""
    directory = work / "float32" / "demo"
    gemma = load(str(directory), LoadOptions(dtype="float32", draft="off"))
    target = reference.Target.from_pretrained(directory, dtype=torch.float32)
    same = sum(reference_agrees(target, collate, one, answer(gemma, prompt_of(collate, one), None)) for one in group)
    return same, len(group)


def main() -> None:
    """Measure, print and note the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path, help="directory of the held-out pools and of the tokenizer")
    parser.add_argument("--work", type=Path, help="directory of the trained model: also measure packing and agreement")
    parser.add_argument("--model", default="demo", help="what answers")
    parser.add_argument("--count", type=int, default=200, help="tasks of each kind")
    options = parser.parse_args()
    collate, start = Collator(options.pools / "tokenizer"), time.monotonic()
    groups = tasks(options.pools, options.count)
    result: dict[str, object] = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python -m tests.demo_model.check POOLS --work WORK --count {options.count}",
        "tasks": {name: len(group) for name, group in groups.items()},
        "right": answered(load(options.model), collate, groups),
    }
    if options.work:
        result["float32_and_packed"] = loss_by_packing(collate, options.work, tasks(options.pools, 2 * options.count))
        mixed = [one for group in groups.values() for one in group[:: max(1, 9 * options.count // 200)]][:200]
        same, count = agreement(collate, options.work, mixed)
        result["same_ids_as_reference"] = [same, count]
    result["seconds"] = round(time.monotonic() - start)
    print(json.dumps(result, indent=1))
    with (HERE / "results.jsonl").open("a", encoding="utf-8") as results:
        results.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
