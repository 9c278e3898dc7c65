"""What the drafter brings: tokens a second without it, at fixed depths and with the depth that is chosen as it goes.

Prose, code and a list, because they are drafted unequally well. Depths take turns, in one process. Whatever the depth,
the answer must be the same: a result says whether it was. Ours alone: other programs choose prompts and depths of their
own.
"""

from collections.abc import Iterator
from itertools import count

from gemma_mlx.benchmarks.peers.link import Generated, Linked
from gemma_mlx.benchmarks.schema import OURS, Result
from gemma_mlx.benchmarks.suites.bench import Bench, programs
from gemma_mlx.inputs.message import Message
from gemma_mlx.inputs.prompt import PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import load_tokenizer

PROMPTS = {
    "prose": "Tell me about a harbour in the morning, in three paragraphs.",
    "code": "Write a Python function that returns the n-th prime number, with a test.",
    "list": "List the numbers from 1 to 60, one on each line.",
}
DEPTHS, QUICK_DEPTHS = (0, 1, 2, 3, 4, 6, 8), (0, 3)
ADAPTIVE = "adaptive"
_WRITTEN, _QUICKLY = 192, 64


def drafting(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `drafter`."""
    if bench.drafter is None:
        bench.skip("drafter", "there is none for this model, or no memory for it: gemma-mlx plan")
        return
    written = _QUICKLY if bench.quick else _WRITTEN
    turns, depths = count(), (*(QUICK_DEPTHS if bench.quick else DEPTHS), None)
    with programs(bench, bench.settings(drafter=True), ()) as running:
        for kind, ids in prompts(bench).items():
            bench.tell(f"drafter: {kind}, {len(depths)} depths in turns")

            def take(linked: Linked, ids: list[int] = ids) -> dict[int | None, Generated]:
                found = {}
                for depth in depths if next(turns) // 2 % 2 else depths[::-1]:  # it may be called twice a turn
                    linked.set_depth(depth)
                    found[depth] = linked.generate(ids, written)
                return found

            plain: tuple[int, ...] = ()
            rounds = running.alternate(take, bench.repetitions)[OURS]
            for depth in depths:
                runs = [each[depth] for each in rounds]
                plain = plain or runs[0].ids
                details = {"same_ids": all(run.ids == plain for run in runs), "kind": kind, **_shares(runs[-1])}
                case = f"{kind}, {ADAPTIVE if depth is None else f'{depth} drafts' if depth else 'plain'}"
                rates = tuple(run.decode for run in runs)
                yield Result("drafter", case, OURS, "tokens/s", rates, "more", depth, details=details)


def prompts(bench: Bench) -> dict[str, list[int]]:
    """Ids of the prompts."""
    builder = PromptBuilder(load_tokenizer(bench.model), ChatTemplate.load(bench.model), bench.prepared.config)
    return {kind: builder.build([Message.of("user", text)]).ids for kind, text in PROMPTS.items()}


def _shares(run: Generated) -> dict[str, object]:
    """Of the rounds, how many accepted a draft at each position."""
    if not run.accepted:
        return {}
    *accepted, rounds = run.accepted
    return {"accepted_by_position": [round(each / max(1, rounds), 4) for each in accepted], "rounds": rounds}
