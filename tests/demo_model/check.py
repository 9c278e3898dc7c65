"""Measure the shipped demo model on held-out tasks: `python -m tests.demo_model.check POOLS --work DIRECTORY`.

Every task is answered by the package as it is installed, greedily, drafting three tokens at a time; an answer is right
if it is the expected one to the letter, whatever was thought before. The loss by 4 bits compares the same forward in
torch with float32 weights and with packed ones, each token judged after the right ones. Agreement with the reference
decodes the float32 checkpoint. Appends one line to `results.jsonl`, from which README takes its table.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing import get_context
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
DEPTH, PROMPTS = 3, 200
ALL = 1000  # more than there are held-out tasks of these kinds
FINITE = ("pictures", "pictures_asked", "spoken", "questions")


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


@dataclass(frozen=True)
class Check:
    """What is measured: `count` tasks of each kind, all there are of the kinds in `whole`. What is lost by packing is
    so little that it takes `packed` of each kind to tell, where there are so many."""

    pools: Path
    model: str
    work: Path | None
    count: int
    packed: int
    whole: tuple[str, ...] = ()

    @property
    def collate(self) -> Collator:
        return Collator(self.pools / "tokenizer")

    def groups(self) -> dict[str, list[Example]]:
        every = tasks(self.pools, ALL) if self.whole else {}
        return tasks(self.pools, self.count) | {name: every[name] for name in self.whole}


def answered(check: Check, name: str) -> tuple[int, int, Counted]:
    """How many tasks of the group are answered right, how many there are, and what came of the drafts."""
    gemma, collate, counted, right = load(check.model), check.collate, Counted(), 0
    group = check.groups()[name]
    for one in group:
        ids = answer(gemma, prompt_of(collate, one), counted)
        right += _said(gemma, ids) == _said(gemma, collate.encode(one.reply))
    return right, len(group), counted


def _said(gemma: Gemma, ids: Sequence[int]) -> list[int]:
    """A reply without its thought."""
    said, end = list(ids), gemma.tokenizer.specials["<channel|>"]
    return said[len(said) - said[::-1].index(end) :] if end in said else said


def loss_by_packing(check: Check) -> dict[str, list[float]]:
    """Shares right with float32 weights and with packed ones, in torch."""
    assert check.work is not None
    collate = check.collate
    model = reference.build_target(target_config(collate.specials, collate.vocab_size))
    model.load_state_dict(torch.load(check.work / "state.pt", weights_only=True)["model"], strict=False)
    exact = Lean(model, lambda value: value, compiled=False)
    rounded = Lean(model, lambda value: packed(value), compiled=False)
    groups = replace(check, count=check.packed).groups()
    return {name: [share_right(lean, collate, group) for lean in (exact, rounded)] for name, group in groups.items()}


def agreement(check: Check) -> tuple[int, int]:
    """Of how many prompts of all kinds the greedy ids in float32 are the reference's, and how many there were."""
    assert check.work is not None
    collate, directory = check.collate, check.work / "float32" / "demo"
    every = [one for group in tasks(check.pools, check.count).values() for one in group]
    mixed = every[:: max(1, len(every) // PROMPTS)][:PROMPTS]
    gemma = load(str(directory), LoadOptions(dtype="float32", draft="off"))
    target = reference.Target.from_pretrained(directory, dtype=torch.float32)
    same = sum(reference_agrees(target, collate, one, answer(gemma, prompt_of(collate, one), None)) for one in mixed)
    return same, len(mixed)


def measured(check: Check, processes: int) -> dict[str, object]:
    """All figures; each group is answered in a process, so many at a time."""
    kinds = tuple(check.groups())
    names = sorted(kinds, key=lambda name: name not in check.whole)  # what takes longest begins
    with ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        parts = {name: pool.submit(answered, check, name) for name in names}
        others: dict[str, Future[object]] = {}
        if check.work:
            others["float32_and_packed"] = pool.submit(loss_by_packing, check)
            others["same_ids_as_reference"] = pool.submit(agreement, check)
        for name, part in parts.items():
            print(f"{name}: {part.result()[0]} of {part.result()[1]}", file=sys.stderr, flush=True)
        found = {name: parts[name].result() for name in kinds}
        drafted, accepted = (sum(getattr(part[2], kind) for part in found.values()) for kind in ("drafted", "accepted"))
        right = {name: round(share / count, 4) for name, (share, count, _) in found.items()}
        result: dict[str, object] = {"tasks": {name: count for name, (_, count, _) in found.items()}}
        result["right"] = right | {"acceptance": round(accepted / max(1, drafted), 4)}
        return result | {name: part.result() for name, part in others.items()}


def main() -> None:
    """Measure, print and note the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path, help="directory of the held-out pools and of the tokenizer")
    parser.add_argument("--work", type=Path, help="directory of the trained model: also measure packing and agreement")
    parser.add_argument("--model", default="demo", help="what answers")
    parser.add_argument("--count", type=int, default=200, help="tasks of each kind")
    parser.add_argument("--packed", type=int, default=500, help="tasks of each kind for the loss by packing")
    parser.add_argument("--all", nargs="*", default=[], choices=FINITE, help="kinds of which all tasks are asked")
    parser.add_argument("--processes", type=int, default=2, help="groups that are answered at a time")
    options = parser.parse_args()
    check = Check(options.pools, options.model, options.work, options.count, options.packed, tuple(options.all))
    start = time.monotonic()
    arguments = ["--work WORK"] * bool(options.work) + [f"--count {options.count} --packed {options.packed}"]
    arguments += [f"--all {' '.join(options.all)}"] * bool(options.all)
    result: dict[str, object] = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python -m tests.demo_model.check POOLS {' '.join(arguments)}",
        **measured(check, options.processes),
        "seconds": round(time.monotonic() - start),
    }
    print(json.dumps(result, indent=1))
    with (HERE / "results.jsonl").open("a", encoding="utf-8") as results:
        results.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
