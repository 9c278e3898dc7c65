"""Generated prompts: text over many windows, pictures, clips and videos in any mixture, and where they may be cut."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gemma_mlx.inputs.prompt import Kind, Prompt, Segment
from tests.parity.shapes import AUDIO, BOA, BOI, EOA, EOI, IMAGE, MEDIA_IDS, VIDEO, Shape

KINDS = ("short", "text", "picture", "wide_picture", "sound", "video", "mixture")


@dataclass(frozen=True, eq=False)
class Case:
    """A prompt and the ascending positions at which it is cut into pieces, 0 and its length not among them."""

    prompt: Prompt
    cuts: tuple[int, ...]


def random_case(shape: Shape, seed: int) -> Case:
    """The `seed`-th case; every seven of them go through all kinds."""
    rng = np.random.default_rng([seed, shape.hidden, shape.window])
    prompt = random_prompt(shape, KINDS[seed % len(KINDS)], rng)
    allowed = cutting_points(prompt)
    count = min(len(allowed), int(rng.integers(0, 9)))
    return Case(prompt, tuple(sorted(rng.choice(allowed, count, replace=False).tolist())) if count else ())


def random_prompt(shape: Shape, kind: str, rng: np.random.Generator) -> Prompt:
    """`short`: at most a window of text; `text`: up to 20 windows; the others: media between stretches of text."""
    window = shape.window
    if kind == "short":
        return Prompt((text(shape, int(rng.integers(1, window + 2)), rng),))
    if kind == "text":
        return Prompt((text(shape, int(rng.integers(window, 20 * window)), rng),))
    media: list[Segment] = []
    if kind in ("picture", "mixture"):
        media += [picture("image", _grid(rng), rng) for _ in range(rng.integers(1, 4))]
    if kind == "wide_picture":
        media += [picture("image", (4, window // 2 + int(rng.integers(0, 4))), rng)]
    if kind in ("sound", "mixture"):
        media += [sound(int(rng.integers(1, 2 * window)), rng) for _ in range(rng.integers(1, 3))]
    if kind in ("video", "mixture"):
        media += [picture("video", _grid(rng), rng) for _ in range(rng.integers(2, 6))]
    return woven(shape, [media[index] for index in rng.permutation(len(media))], rng)


def woven(shape: Shape, media: Sequence[Segment], rng: np.random.Generator) -> Prompt:
    """Media in this order, each between its begin and end token, with text before, between and behind."""
    segments: list[Segment] = []
    begin: list[int] = []
    for item in media:
        first, last = (BOA, EOA) if item.kind == "audio" else (BOI, EOI)
        words = text(shape, int(rng.integers(0, 2 * shape.window)), rng).ids.tolist()
        segments += [_text([*begin, *words, first]), item]
        begin = [last]
    return Prompt((*segments, _text([*begin, *text(shape, int(rng.integers(1, shape.window)), rng).ids.tolist()])))


def text(shape: Shape, length: int, rng: np.random.Generator) -> Segment:
    """Random ids, none of which stands for a medium."""
    plain = np.array([token for token in range(shape.vocab) if token not in MEDIA_IDS])
    return _text(rng.choice(plain, length).tolist())


def picture(kind: Kind, grid: tuple[int, int], rng: np.random.Generator) -> Segment:
    """Random patches of a grid of (rows, columns) in raster order, each of a different brightness."""
    height, width = grid
    bounds = rng.integers(1, 257, (height * width, 1))
    patches = rng.integers(0, bounds, (height * width, 6912)).astype(np.uint8)
    positions = np.array([(x, y) for y in range(height) for x in range(width)], np.int32)
    ids = np.full(len(patches), IMAGE if kind == "image" else VIDEO, np.int32)
    return Segment(kind, ids, patches, positions, hashlib.sha256(patches.tobytes()).hexdigest())


def sound(frames: int, rng: np.random.Generator) -> Segment:
    """Noise of a different loudness in each frame, one frame of it silent."""
    samples = (rng.uniform(-1, 1, (frames, 640)) * rng.uniform(0, 1, (frames, 1)) ** 4).astype(np.float32)
    samples[rng.integers(frames)] = 0
    digest = hashlib.sha256(samples.tobytes()).hexdigest()
    return Segment("audio", np.full(frames, AUDIO, np.int32), samples, None, digest)


def cutting_points(prompt: Prompt) -> list[int]:
    """Positions strictly inside the prompt that are not inside a picture or frame."""
    points, at = [], 0
    for segment in prompt.segments:
        inside = [] if segment.kind in ("image", "video") else range(at + 1, at + len(segment.ids))
        points += [at, *inside]
        at += len(segment.ids)
    return [point for point in points if point]


def _grid(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(1, 4)), int(rng.integers(1, 4))


def _text(ids: list[int]) -> Segment:
    return Segment("text", np.array(ids, np.int32))
