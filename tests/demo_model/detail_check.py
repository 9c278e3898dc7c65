"""What choosing the image budget saves and costs: `python -m tests.demo_model.detail_check --count 200`.

Held-out texts in held-out fonts on screens of usual sizes, with capitals 16 to 48 pixels high once the screen is
resized to 1120 soft tokens. Every picture is read twice by the package as it is installed, greedily: with 1120 tokens,
and with what `gemma_mlx.inputs.tiles` shows of it; an answer is right if it is the text to the letter. To be reached:
within 2 points of always 1120, at half its mean tokens.
"""

import argparse
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gemma_mlx.benchmarks.record import append, command, line
from gemma_mlx.inputs import detail, tiles
from gemma_mlx.inputs.detail import Limits
from gemma_mlx.loading import Gemma, LoadOptions, load

from . import asking, examples, fonts, pictures, strings
from .answering import answer, prompt_of
from .conversations import Conversation, Turn
from .examples import Collator, Example

SEED = 77
SCREENS = ((1280, 800), (1440, 900), (1920, 1080), (1024, 768), (1366, 768), (900, 1600))
"""Width and height."""
LARGEST = 1120
_SMALLEST = 9.0  # height of a capital as it is taken, below which fonts fall apart
_ROOM = 100_000


@dataclass(frozen=True, eq=False)
class Screen:
    """`pixels` uint8 (h, w, 3) as taken, the `text` on them, and a question about it."""

    pixels: np.ndarray
    text: str
    question: str


def screens(count: int, families: pictures.Families) -> Iterator[Screen]:
    """The same at every call."""
    for index in range(count):
        rng = random.Random(f"{SEED} {index}")
        font = rng.choice(families[rng.choice(sorted(families))])
        text = strings.draw(rng, "held_out", pictures.LONGEST["held_out"])
        width, height = rng.choice(SCREENS)
        scale = detail.scale((height, width), LARGEST)
        cap = max(_SMALLEST, rng.uniform(*pictures.CAPS) / scale)
        painting = pictures.paint(rng, text, pictures._style(rng, font, cap), (width, height))
        yield Screen(painting.pixels, text, asking.choose(rng, asking.PICTURE["read"]))


def always(screen: Screen) -> Example:
    """The question with the picture at the largest budget."""
    return _asked(screen, (examples.image(screen.pixels, LARGEST),))


def chosen(screen: Screen, legible: float) -> tuple[Example, bool]:
    """The question with what is shown of the picture if the budget is chosen, and whether any text was found."""
    seen = tiles.see(screen.pixels, Limits(_ROOM, legible=legible))
    media = tuple(examples.image(view.pixels, view.budget) for view in seen.views)
    return _asked(screen, media), seen.reason != detail.NO_TEXT


def _asked(screen: Screen, media: tuple[examples.Media, ...]) -> Example:
    question = "".join(part.text for part in media) + screen.question
    return examples.example(Conversation((Turn(question, screen.text, ""),)), media)


@dataclass
class Tally:
    """Answers of one way of showing pictures."""

    asked: int = 0
    right: int = 0
    tokens: int = 0

    def add(self, gemma: Gemma, collate: Collator, one: Example) -> bool:
        """Whether it was right."""
        right = list(answer(gemma, prompt_of(collate, one), None)) == collate.encode(one.reply)
        self.asked += 1
        self.right += right
        self.tokens += sum(sum(part.counts) for part in one.media)
        return right

    def figures(self) -> dict[str, float]:
        return {"right": round(self.right / self.asked, 4), "mean_tokens": round(self.tokens / self.asked, 1)}


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="what answers")
    parser.add_argument("--count", type=int, default=200, help="pictures")
    parser.add_argument(
        "--legible", type=float, default=detail.LEGIBLE, help="height of capitals at which one view will do"
    )
    parser.add_argument("--font", choices=("held_out", "built_in"), default="held_out", help="fonts to letter with")
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    options = parser.parse_args()
    families: pictures.Families = {"Pillow's": (None,)}
    if options.font == "held_out":
        families = fonts.available("held_out")
    gemma = load(options.model, LoadOptions(image_tokens=LARGEST, draft="off"))
    collate = Collator(gemma.path)
    largest, auto = Tally(), Tally()
    missed: list[bool] = []  # text that was not found: whether it is read at the largest budget
    for number, screen in enumerate(screens(options.count, families), 1):
        one, found = chosen(screen, options.legible)
        auto.add(gemma, collate, one)
        right = largest.add(gemma, collate, always(screen))
        missed += [] if found else [right]
        print(f"{number} of {options.count}: {largest.right} and {auto.right} right", file=sys.stderr, flush=True)
    points = round(100 * (largest.right - auto.right) / options.count, 2)
    share = round(auto.tokens / largest.tokens, 3)
    fields = {
        "pictures": options.count,
        "legible": options.legible,
        "always_1120": largest.figures(),
        "chosen": auto.figures(),
        "not_found": {"pictures": len(missed), "right_with_1120": sum(missed)},
        "points_lost": points,
        "share_of_tokens": share,
        "reached": points <= 2 and share <= 0.5,
    }
    append(options.out, line("detail", command("tests.demo_model.detail_check", sys.argv[1:]), fields))


if __name__ == "__main__":
    main()
