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

from gemma_mlx.benchmarks.record import append, command, line
from gemma_mlx.generation.adaptive import Adaptive
from gemma_mlx.generation.depth import Depths, Fixed, Round
from gemma_mlx.loading import Gemma, load

from . import asking, calling, conversations, examples, pictures, speech, strings
from .answering import answer, prompt_of
from .conversations import Conversation, Turn
from .examples import Collator, Example

FIXED = (0, 1, 2, 3, 4, 6, 8)
DRAFT_COST = 0.51 / 3  # plain steps: a block of four costs 1.51 on an M3 Ultra
SEED = 99  # not the one of `held_out`


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
    """Held-out prompts by kind: questions, conversations, tool calls, pictures."""
    rng = random.Random(SEED)
    questions = rng.sample(conversations.held_out_questions(), count)
    return {
        "questions": [examples.example(Conversation((Turn(asked, reply, ""),))) for asked, reply in questions],
        "conversations": [examples.example(conversations.draw(rng, "held_out")) for _ in range(count)],
        "calls": [calling.draw(rng, "held_out") for _ in range(count)],
        "pictures": [_picture(rng) for _ in range(count)],
    }


def spoken(count: int) -> dict[str, list[Example]]:
    """Held-out recordings, spoken by espeak-ng."""
    drawn = [speech.drawn(SEED, "held_out", i) for i in range(2 * count)]
    words = [one for one in drawn if one.question < 0][:count]
    return {"sounds": [_recording(one) for one in words]}


def _picture(rng: random.Random) -> Example:
    text = strings.draw(rng, "held_out", 6)
    media = examples.image(pictures.whole(rng, text, None, 70).pixels, 70)
    turn = Turn(media.text + "what does it say?", text, asking.PICTURE_THOUGHT)
    return examples.example(Conversation((turn,)), (media,))


def _recording(said: speech.Utterance) -> Example:
    media = examples.audio(speech.render(said)[0])
    turn = Turn("transcribe" + media.text, speech.written(said.words), asking.SOUND_THOUGHT)
    return examples.example(Conversation((turn,)), (media,))


def figures(gemma: Gemma, depths: Callable[[], Depths], groups: dict[str, list[Example]]) -> dict[str, float]:
    """Passes per token of each kind of task, and of all."""
    collate = Collator(gemma.path)
    found: dict[str, list[tuple[int, int]]] = {}
    for name, group in groups.items():
        for one in group:
            passes = Passes(depths())
            count = len(answer(gemma, prompt_of(collate, one), passes))
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
    collate = Collator(gemma.path)
    lengths = [len(answer(gemma, prompt_of(collate, one), None)) for group in groups.values() for one in group]
    fields = {"tasks": len(lengths), "mean_tokens": round(statistics.mean(lengths), 1), "passes_per_token": by_depth}
    typed = ["--count", str(chosen.count), *(["--out", str(chosen.out)] if chosen.out else [])]
    append(chosen.out, line("draft_passes", command("tests.demo_model.passes", typed), fields))


if __name__ == "__main__":
    main()
