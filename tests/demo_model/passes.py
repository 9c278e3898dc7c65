"""Target passes for each generated token, on tasks that the demo model was not trained on.

    python -m tests.demo_model.passes --out benchmarks/results/linux-x86_64-2-cores/draft_passes.jsonl

A pass is one forward of the target for one token or one block of drafts; the last pass over the prompt, which gives the
first token, counts as one. Answers are greedy and end with their stop token, which counts as generated. "adaptive"
chooses its depths as it would where a block of four costs 1.51 plain steps, for one task after the other.
"""

import argparse
import itertools
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from gemma_mlx.benchmarks.record import append, command, line
from gemma_mlx.context.context import Context
from gemma_mlx.generation.adaptive import Adaptive
from gemma_mlx.generation.depth import Depths, Fixed, Round
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting
from gemma_mlx.inputs.prompt import Kind, Prompt, Segment
from gemma_mlx.loading import Gemma, load

from . import conversations, examples, sounds
from .answers import FALLBACK, FALLBACK_THOUGHT
from .conversations import Conversation, Turn
from .examples import Example
from .words import HELD_OUT

LONGEST = 64
FIXED = (0, 1, 2, 3, 4, 6, 8)
DRAFT_COST = 0.51 / 3  # plain steps: a block of four costs 1.51 on an M3 Ultra
SEED = 99  # not the one of `check`


@dataclass
class Passes:
    """Depths as they are chosen, counted, and told what they would cost on a larger machine."""

    depths: Depths
    rounds: list[Round] = field(default_factory=list)

    def choose(self, position: int) -> int:
        return self.depths.choose(position)

    def record(self, done: Round) -> None:
        self.rounds.append(done)
        self.depths.record(replace(done, seconds=1 + DRAFT_COST * done.depth))


def tasks(count: int) -> dict[str, list[Example]]:
    """Held-out prompts by kind: unknown questions, drawn conversations, pictures, videos."""
    rng = random.Random(SEED)
    strange = [Turn(conversations.fallback_question(rng, HELD_OUT), FALLBACK, FALLBACK_THOUGHT) for _ in range(count)]
    return {
        "questions": [examples.example(Conversation((turn,))) for turn in strange],
        "conversations": [examples.text_example(rng) for _ in range(count)],
        "pictures": [examples.picture_example(rng, 70) for _ in range(count)],
        "videos": [examples.video_example(rng) for _ in range(count)],
    }


def spoken(count: int) -> dict[str, list[Example]]:
    """Held-out recordings, some of them spoken by espeak-ng."""
    rng, bank = random.Random(SEED), sounds.speech_bank()
    return {"sounds": [examples.sound_example(rng, bank) for _ in range(count)]}


def prompt_of(gemma: Gemma, one: Example) -> Prompt:
    """The example's prompt as segments, its media in order."""
    collate = examples.Collator(gemma.path)
    ids = collate.encode(one.prompt)
    patches = np.concatenate([np.zeros((0, 6912), np.uint8), *(part.patches for part in one.media)])
    places = np.concatenate([np.zeros((0, 2), np.int32), *(part.positions for part in one.media)])
    frames = np.concatenate([np.zeros((0, 640), np.float32), *(part.frames for part in one.media)])
    segments: list[Segment] = []
    for kind, run in itertools.groupby(ids, lambda token: collate.types.get(token, 0)):
        tokens = np.array(list(run), np.int32)
        n = len(tokens)
        if kind == 0:
            segments.append(Segment("text", tokens))
        elif kind == 3:
            segments.append(Segment("audio", tokens, frames[:n], None, f"sound-{len(segments)}"))
            frames = frames[n:]
        else:
            name: Kind = "image" if kind == 1 else "video"
            segments.append(Segment(name, tokens, patches[:n], places[:n], f"{name}-{len(segments)}"))
            patches, places = patches[n:], places[n:]
    return Prompt(tuple(segments))


def answer(gemma: Gemma, prompt: Prompt, depths: Depths) -> tuple[int, Passes]:
    """Generated tokens, and the passes that they took."""
    assert gemma.drafter is not None, "the demo has its drafter beside it"
    context, passes = Context(gemma.model, prompt.n_tokens + LONGEST), Passes(depths)
    read = context.read(prompt)
    assert read.hidden is not None
    greedy = Sampler(temperature=0, suppress_tokens=gemma.sampler.suppress_tokens)
    tokens = context.decode(read.hidden, DecodeOptions(greedy, LONGEST), Drafting(gemma.drafter, passes))
    count = 0
    for token in tokens:
        count += 1
        if token.id in gemma.stop_ids:
            break
    tokens.close()
    return count, passes


def figures(gemma: Gemma, depths: Callable[[], Depths], groups: dict[str, list[Example]]) -> dict[str, float]:
    """Passes per token of each kind of task, and of all."""
    found: dict[str, list[tuple[int, int]]] = {}
    for name, group in groups.items():
        for one in group:
            count, passes = answer(gemma, prompt_of(gemma, one), depths())
            found.setdefault(name, []).append((1 + len(passes.rounds), count))
    found["all"] = list(itertools.chain.from_iterable(found.values()))
    return {name: round(sum(p for p, _ in pairs) / sum(t for _, t in pairs), 3) for name, pairs in found.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="tasks of each kind")
    parser.add_argument("--out", type=Path, help="file of JSON lines to append to")
    chosen = parser.parse_args(arguments)
    gemma, groups = load("demo"), tasks(chosen.count) | spoken(chosen.count)
    by_depth = {str(depth): figures(gemma, partial(Fixed, depth), groups) for depth in FIXED}
    adaptive = Adaptive()
    by_depth["adaptive"] = figures(gemma, lambda: adaptive, groups)
    lengths = [answer(gemma, prompt_of(gemma, one), Fixed(0))[0] for group in groups.values() for one in group]
    fields = {"tasks": len(lengths), "mean_tokens": round(statistics.mean(lengths), 1), "passes_per_token": by_depth}
    typed = ["--count", str(chosen.count), *(["--out", str(chosen.out)] if chosen.out else [])]
    append(chosen.out, line("draft_passes", command("tests.demo_model.passes", typed), fields))


if __name__ == "__main__":
    main()
