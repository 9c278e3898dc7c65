"""Conversations that go on: the second turn of a long one, and one that was saved.

The second turn is asked for over a pipe, each program in a process of its own (`talkers`); resuming is compared with
reading the conversation again, in this process. Other programs keep no caches on a disk: afterwards they read the whole
prompt, in processes of their own, and are timed to their first token, before it is text.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import mlx.core as mx

from gemma_mlx.benchmarks.peers.link import Generated, Linked
from gemma_mlx.benchmarks.resume import MODEL, answer, resume
from gemma_mlx.benchmarks.schema import OURS, Result
from gemma_mlx.benchmarks.second_turn import Talker, Turns, converse, question
from gemma_mlx.benchmarks.suites.bench import VLM, Bench, programs
from gemma_mlx.chat import Chat
from gemma_mlx.device import memory_limits
from gemma_mlx.inputs.tokenizer import load_tokenizer
from gemma_mlx.loading import load

TOKENS, QUICK = 2000, 300  # of the first question
AGAIN = "gemma-mlx, read again"
_ROOM = 600  # positions for the rest of the conversation
_WRITTEN = 16


def turn(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `turn`: seconds to the first text of a first turn and of a short second one."""
    tokens, tokenizer = _tokens(bench), load_tokenizer(bench.model)
    options = bench.prepared.options
    words = {OURS: ["ours", str(bench.model), str(bench.drafter or "off"), options.dtype, str(options.memory or "")]}
    for name in bench.peers:
        if name != VLM:
            bench.skip(f"turn, {name}", "conversations are held with mlx-vlm only")
    if bench.has_vlm("turn", models=2):
        words[VLM] = ["mlx-vlm", str(bench.model), options.dtype]
    found: dict[str, list[Turns]] = {name: [] for name in words}
    with ExitStack() as stack:
        talking = {name: Talker(each, bench.folder / f"{name} talking.log") for name, each in words.items()}
        for talker in talking.values():
            stack.callback(talker.close)
        for number in range(bench.repetitions + 1):
            bench.tell(f"turn: a question of {tokens:,} tokens, then a short one")
            for name in list(talking) if number % 2 else list(talking)[::-1]:
                found[name].append(converse(talking[name], question(tokenizer, tokens, number), _WRITTEN))
    for name, turns in found.items():
        kept = turns[1:]  # the first one warms up
        same = [a.second.text == b.second.text for a, b in zip(found[OURS], turns, strict=True)]
        details = {"prompt_tokens": kept[0].second.prompt_tokens, "same_answers": all(same)}
        details |= {"cached_tokens": kept[0].second.cached} if kept[0].second.cached is not None else {}
        first, second = tuple(each.first.first_s for each in kept), tuple(each.second.first_s for each in kept)
        yield Result("turn", f"the first, {tokens:,} tokens", name, "s", first, x=1)
        yield Result("turn", f"the second, after {tokens:,} tokens", name, "s", second, x=2, details=details)


def resuming(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `resume`: seconds to the first text of a conversation that was saved."""
    tokens = _tokens(bench)
    bench.tell(f"resume: a conversation of {tokens:,} tokens")
    file = bench.folder / "context.safetensors"
    ways = {OURS: file, AGAIN: None}
    times: dict[str, list[float]] = {name: [] for name in ways}
    texts, ids = set(), list[int]()
    with memory_limits(bench.prepared.plan, bench.prepared.weights_bytes):
        gemma = load(bench.prepared)
        chat = Chat(gemma)
        answer(chat, question(gemma.tokenizer, tokens, 0))
        chat.settle()
        chat.context.save(file, MODEL)
        for number in range(bench.repetitions + 1):
            for name in list(ways) if number % 2 else list(ways)[::-1]:
                resumed = resume(gemma, chat.history, ways[name])
                times[name].append(resumed.first_s)
                texts.add(resumed.text)
                ids = resumed.prompt
        del gemma, chat
        mx.clear_cache()  # what comes next has processes of its own
    for name, seconds in times.items():
        details = {"same_answers": len(texts) == 1, "file_bytes": file.stat().st_size}
        yield Result("resume", f"a conversation of {tokens:,} tokens", name, "s", tuple(seconds[1:]), details=details)
    if not bench.peers:
        return

    def take(linked: Linked) -> Generated:
        return linked.generate(ids, 2)

    with programs(bench, bench.settings()) as running:
        found = running.alternate(take, bench.repetitions)
    for name, runs in found.items():
        if name != OURS:  # ours is there to compare what is written
            details = {"prompt_tokens": len(ids), "same_ids": all(run.ids == found[OURS][0].ids for run in runs)}
            waits = tuple(run.first for run in runs)
            yield Result("resume", f"a conversation of {tokens:,} tokens", name, "s", waits, details=details)


def _tokens(bench: Bench) -> int:
    """Of the first question: what the context has room for."""
    return min(QUICK if bench.quick else TOKENS, bench.longest - _ROOM)
