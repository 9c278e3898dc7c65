"""Questions about a picture and a recording: how soon the first token of the answer comes.

The picture is of text, drawn here; the recording is the package's own, as often as needed. Programs get the files and
the question, and render their own prompt; a program whose prompt has another number of tokens is told with it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gemma_mlx.benchmarks.peers.link import Generated, Linked
from gemma_mlx.benchmarks.schema import OURS, Result
from gemma_mlx.benchmarks.spoken import recordings, utterance
from gemma_mlx.benchmarks.suites.bench import Bench, programs
from gemma_mlx.inputs.audio import SAMPLE_RATE
from gemma_mlx.inputs.image import target_size

BUDGETS, QUICK_BUDGETS = (280, 560, 1120), (280,)
SECONDS, QUICK_SECONDS = (5, 15, 29), (5,)
SIZE = (1600, 1000)  # of the picture, in pixels
_LOOK, _LISTEN = "What does it say?", "Transcribe this."
_WRITTEN = 8  # tokens


def image(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `image`."""
    file = bench.folder / "picture.png"
    picture().save(file)
    most = bench.prepared.plan.knobs.image_tokens
    for budget in QUICK_BUDGETS if bench.quick else BUDGETS:
        if budget > most:
            bench.skip(f"image, {budget} tokens", f"memory is planned for pictures of {most} tokens: --image-tokens")
            continue
        height, width = target_size(SIZE[1], SIZE[0], budget)
        case = f"{width} × {height} pixels, up to {budget:,} tokens"
        yield from _asked(bench, Result("image", case, OURS, "s", (0.0,), x=budget), _LOOK, file)


def audio(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `audio`."""
    for seconds in QUICK_SECONDS if bench.quick else SECONDS:
        file = bench.folder / f"{seconds}.wav"
        write_sound(file, seconds)
        yield from _asked(bench, Result("audio", f"{seconds} s", OURS, "s", (0.0,), x=seconds), _LISTEN, file)


def _asked(bench: Bench, like: Result, question: str, file: Path) -> Iterator[Result]:
    """Seconds to the first token with each program."""
    bench.tell(f"{like.suite}: {like.case}")
    budget = int(like.x or 0) if like.suite == "image" else 280
    with programs(bench, bench.settings(image_tokens=budget)) as running:

        def take(linked: Linked) -> Generated:
            return linked.ask(question, [file], _WRITTEN)

        found = running.alternate(take, bench.repetitions)
    for name, runs in found.items():
        same = all(run.ids == found[OURS][0].ids for run in runs)
        details = {"prompt_tokens": runs[0].prompt_tokens, "same_ids": same}
        yield Result(
            like.suite, like.case, name, like.unit, tuple(run.first for run in runs), x=like.x, details=details
        )


def picture() -> Image.Image:
    """A window full of text."""
    canvas = Image.new("RGB", SIZE, (236, 238, 241))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((60, 50, SIZE[0] - 60, SIZE[1] - 50), "white")
    for row in range(18):
        line = f"{row + 1:>3}  error E{400 + 7 * row}: the boats wait for a tide that is {row} metres high"
        pen.text((90, 80 + 46 * row), line, (30, 34, 40), ImageFont.load_default(26))
    return canvas


def write_sound(file: Path, seconds: float) -> None:
    """Speech of that length as a WAV file with 16 bits."""
    import wave

    samples = utterance(recordings([]), seconds, 0)
    with wave.open(str(file), "wb") as clip:
        clip.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        clip.writeframes((samples * 32767).astype(np.int16).tobytes())
