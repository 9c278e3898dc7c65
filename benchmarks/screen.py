"""How soon an answer about the screen begins, where the picture is read while the question is typed.

    python -m gemma_mlx.benchmarks.screen --out result.jsonl

A picture is attached; three seconds later a question about it is asked, as by somebody who types `/screen` and then the
question. Against that, picture and question are given at once. Each pass of the demo model is held up as `throttle`
says, at the rates of `live`. A line of results for each rate and size.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemma_mlx.benchmarks.record import append, busy, command, line, spread
from gemma_mlx.benchmarks.throttle import Rate, throttled
from gemma_mlx.chat import Chat
from gemma_mlx.generation.events import Event, TextDelta
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Image
from gemma_mlx.loading import Gemma, LoadOptions, load
from gemma_mlx.worker import Worker

RATES = (Rate(70, 8), Rate(130, 13))
TYPING = 3.0  # seconds
QUESTION = "What do you see in the picture?"
_TOKENS = 4  # of an answer


@dataclass
class Desk:
    """What the model's thread owns: a conversation."""

    gemma: Gemma
    chat: Chat | None = None

    def attach(self, rate: Rate, picture: Image) -> None:
        """Attach it in a new conversation; it is read while nothing is asked for."""
        self.chat = Chat(throttled(self.gemma, rate))
        self.chat.add(picture, read=False)

    def rest(self, interrupted: Callable[[], bool]) -> None:
        if self.chat is not None:
            self.chat.read_ahead(interrupted)

    def answer(self) -> Iterator[Event]:
        assert self.chat is not None, "a picture was attached"
        return self.chat.reply(QUESTION, Sampler(temperature=0), max_tokens=_TOKENS, draft_depth=0)

    def answer_at_once(self, rate: Rate, picture: Image) -> Iterator[Event]:
        """Attach and answer, in a new conversation."""
        self.attach(rate, picture)
        return self.answer()


def first_text(begin: Callable[[], Iterator[Event]]) -> float:
    """Seconds until the first text of an answer."""
    asked, first = time.monotonic(), None
    for event in begin():
        if first is None and isinstance(event, TextDelta):
            first = time.monotonic() - asked
    assert first is not None, "every answer says something"
    return first


def measure(worker: Worker[Desk], rate: Rate, tokens: int, typing: float = TYPING) -> dict[str, float]:
    """Seconds to the first text: asked `typing` seconds after the picture was attached, and with it."""
    rows = round(tokens**0.5)
    pixels = np.random.default_rng(tokens).integers(0, 256, (48 * rows, 48 * (tokens // rows), 3), np.uint8)
    worker.run(lambda desk: desk.attach(rate, Image("screen", pixels)))
    time.sleep(typing)
    later = first_text(lambda: worker.stream(lambda desk: desk.answer()))
    at_once = first_text(lambda: worker.stream(lambda desk: desk.answer_at_once(rate, Image("screen", pixels.copy()))))
    return {"typed_later_s": round(later, 4), "at_once_s": round(at_once, 4)}


@contextmanager
def desk(worker: object) -> Iterator[Desk]:
    """The owner of the worker's thread."""
    yield Desk(load("demo", LoadOptions(dtype="float32", draft="off")))


def main() -> None:
    """Measure, print, and add to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[266, 550], help="soft tokens of the picture")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="file of JSON lines to append to")
    options = parser.parse_args()
    with Worker(desk, Desk.rest) as worker:
        measure(worker, Rate(10_000, 1000), 20, 0.0)  # warms up
        for rate in RATES:
            for tokens in options.tokens:
                found = [measure(worker, rate, tokens) for _ in range(options.rounds)]
                fields: dict[str, Any] = {
                    "prefill_tok_s": rate.prefill,
                    "decode_tok_s": rate.decode,
                    "image_tokens": tokens,
                    "typing_s": TYPING,
                    "ratio": spread([each["typed_later_s"] / each["at_once_s"] for each in found]),
                    "rounds": found,
                    "busy": busy(),
                }
                append(options.out, line("screen", command("gemma_mlx.benchmarks.screen", sys.argv[1:]), fields))


if __name__ == "__main__":
    main()
