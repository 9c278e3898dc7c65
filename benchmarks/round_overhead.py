"""What a speculative round costs beside the networks: host work, and choosing among logits that are there.

    python -m gemma_mlx.benchmarks.round_overhead --out result.jsonl

Runs the decode loop with as many layers as published, so that taking back as many caches counts, and hardly any width.
Calls of target and drafter are evaluated on the spot and taken out. Of the rest, `host` is all that Python does, the
graphs of drafts and acceptance included; `acceptance`, a part of it, is accepting, taking back caches, reading the ids
and finding what the drafter may see; `device` is the time in `mx.eval` and `mx.async_eval`, where nothing is left
to evaluate but argmax and acceptance. The plain loop pays for the same argmax once a token.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import mlx.core as mx

from gemma_mlx.benchmarks.layout import TINY, Size, assistant_config, target_config
from gemma_mlx.benchmarks.record import append, busy, command, line, spread
from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.generation import speculative
from gemma_mlx.generation.acceptance import accept_greedy
from gemma_mlx.generation.depth import Round
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting, decode_speculative
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.drafter import Drafter, target_memory
from gemma_mlx.model.gemma import GemmaModel

SIZE = replace(TINY, layers=48, hidden=64, intermediate=128, draft_hidden=64, draft_intermediate=128)
PUBLISHED_VOCABULARY = 262144
PROMPT = 32


class Watch:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent = {"networks": 0.0, "device": 0.0, "acceptance": 0.0}

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time counted."""

        def counted(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return work(*arguments)
            finally:
                self.spent[name] += time.perf_counter() - started

        return counted


@dataclass(frozen=True)
class Spent:
    """Milliseconds of one round."""

    host: float
    device: float
    acceptance: float


class Rounds:
    """A fixed depth; takes the time from round to round."""

    def __init__(self, depth: int, watch: Watch) -> None:
        self._depth, self._watch = depth, watch
        self.spent: list[Spent] = []
        self._at, self._before = time.perf_counter(), dict(watch.spent)

    def choose(self, position: int) -> int:
        return self._depth

    def record(self, done: Round) -> None:
        now, spent = time.perf_counter(), dict(self._watch.spent)
        took = {name: 1e3 * (seconds - self._before[name]) for name, seconds in spent.items()}
        host = 1e3 * (now - self._at) - took["networks"] - took["device"]
        self.spent.append(Spent(host, took["device"], took["acceptance"]))
        self._at, self._before = now, spent


@contextmanager
def watched(model: GemmaModel, watch: Watch) -> Iterator[None]:
    """Networks are evaluated where they are called; what `mx` evaluates later is the choice alone."""

    def evaluated(work: Callable[..., Any]) -> Callable[..., Any]:
        evaluate = mx.eval

        def call(*arguments: Any) -> Any:
            result = work(*arguments)
            evaluate(result)
            return result

        return watch.timed("networks", call)

    with (
        mock.patch.object(GemmaModel, "__call__", evaluated(GemmaModel.__call__)),
        mock.patch.object(GemmaModel, "logits", evaluated(GemmaModel.logits)),
        mock.patch.object(GemmaModel, "embed_text", evaluated(GemmaModel.embed_text)),
        mock.patch.object(Drafter, "__call__", evaluated(Drafter.__call__)),
        mock.patch.object(Caches, "trim", watch.timed("acceptance", Caches.trim)),
        mock.patch.object(speculative, "target_memory", watch.timed("acceptance", target_memory)),
        mock.patch.object(speculative, "accept_greedy", watch.timed("acceptance", accept_greedy)),
        mock.patch.object(speculative, "_tokens", watch.timed("acceptance", speculative._tokens)),
        mock.patch.object(mx, "eval", watch.timed("device", mx.eval)),
        mock.patch.object(mx, "async_eval", watch.timed("device", mx.async_eval)),
    ):
        yield


def measure(size: Size, depth: int, rounds: int) -> list[Spent]:
    """Greedy rounds of a random model; its drafter is right now and then, as chance will have it."""
    mx.random.seed(0)
    model = GemmaModel(ModelConfig.from_dict(target_config(size)))
    drafter = Drafter(DrafterConfig.from_dict(assistant_config(size)))
    mx.eval(model.parameters(), drafter.parameters())
    caches, watch = Caches(model.config.text_config), Watch()
    hidden = model(model.embed_text(mx.arange(PROMPT)[None]), caches)[:, -1:]
    mx.eval(hidden, caches.arrays)
    noted = Rounds(depth, watch)
    options = DecodeOptions(Sampler(temperature=0), 4 + (depth + 1) * (rounds + 4))
    with watched(model, watch):
        for _ in decode_speculative(model, hidden, caches, options, Drafting(drafter, noted)):
            if len(noted.spent) == rounds + 4:
                break
    return noted.spent[4:]  # the first ones compile


def figures(spent: Sequence[Spent]) -> dict[str, dict[str, float]]:
    """Milliseconds a round."""
    return {
        "host": spread([each.host for each in spent]),
        "acceptance": spread([each.acceptance for each in spent]),
        "device": spread([each.device for each in spent]),
        "both": spread([each.host + each.device for each in spent]),
    }


def main() -> None:
    """Measure several depths, print and append one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="rounds to measure")
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    options = parser.parse_args()
    found = {
        f"vocabulary {vocabulary}": {
            f"depth {depth}": figures(measure(replace(SIZE, vocabulary=vocabulary), depth, options.rounds))
            for depth in (1, 4, 8)
        }
        for vocabulary in (SIZE.vocabulary, PUBLISHED_VOCABULARY)
    }
    fields = {
        "layers": SIZE.layers,
        "rounds": options.rounds,
        "device": str(mx.default_device()),
        "busy": busy(),
        "milliseconds_a_round": found,
    }
    append(options.out, line("round_overhead", command("gemma_mlx.benchmarks.round_overhead", sys.argv[1:]), fields))


if __name__ == "__main__":
    main()
