"""Minutes of synthetic speech through the demo model: `python -m tests.transcription.spoken_minutes --minutes 29`.

Utterances of one to five words of its vocabulary, by voices that it never heard, with 1.2 s and more between them and
noise at 15 dB, are transcribed as one long recording. Counts the words that are missing or too many, the longest block,
and the memory that MLX holds after each. Prints a line of results.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from gemma_mlx.benchmarks.record import append, command, line
from gemma_mlx.transcription.clips import Rule, clips
from gemma_mlx.transcription.passages import passages
from gemma_mlx.transcription.recogniser import Recogniser
from gemma_mlx.transcription.task import Task
from tests.chats import demo
from tests.demo_model import sounds, speech

RATE = 16000
SEED = 6
PAUSE = 1.2  # seconds at least between utterances


def utterances(noise: np.random.Generator, seconds: float) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What is said, samples with the pause behind them, and (words, 2) bounds; together at least so long."""
    made, index = 0.0, 0
    while made < seconds:
        one = speech.drawn(SEED, "held_out", index)
        index += 1
        if one.question < 0:
            samples, bounds = speech.render(one)
            samples = np.concatenate([samples, np.zeros(round(PAUSE * RATE), np.float32)])
            made += len(samples) / RATE
            yield speech.written(one.words), sounds.noise_at(samples, 15, noise), bounds


@dataclass(frozen=True)
class Transcribed:
    """Words that were said, of those not in the transcript, and in it beyond what was said; `longest` block in seconds;
    `noticed`: blocks with a notice, such as one cut short; `held`: least and most bytes of MLX's arrays after a block.
    """

    words: int
    missing: int
    added: int
    blocks: int
    longest: float
    noticed: int
    held: tuple[int, int]


def transcribed(minutes: float) -> Transcribed:
    """What becomes of that much speech."""
    said = list(utterances(np.random.default_rng(SEED), minutes * 60))
    parts = clips((samples for _, samples, _ in said), Rule(), "a.wav")
    heard, lengths, held, noticed = Counter[str](), list[float](), list[int](), 0
    for passage in passages(parts, Recogniser(demo(), Task()), Task()):
        heard.update(passage.text.split())
        lengths.append(passage.end - passage.start)
        noticed += bool(passage.notice)
        held.append(mx.get_active_memory())
    wanted = Counter(word for words, _, _ in said for word in words.split())
    missing, added = (wanted - heard).total(), (heard - wanted).total()
    return Transcribed(
        wanted.total(), missing, added, len(lengths), round(max(lengths), 2), noticed, (min(held), max(held))
    )


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=29.0)
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    options = parser.parse_args()
    started = time.perf_counter()
    fields = {"minutes": options.minutes, **asdict(transcribed(options.minutes))}
    fields["wall_s"] = round(time.perf_counter() - started, 1)
    append(options.out, line("minutes", command("tests.transcription.spoken_minutes", sys.argv[1:]), fields))


if __name__ == "__main__":
    main()
