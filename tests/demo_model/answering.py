"""Tasks answered by the package itself: an example becomes a prompt, and its reply is generated.

Knows neither the tasks nor the figures. The oracle of the ids is `reference_agrees`.
"""

import itertools

import numpy as np
import torch

from gemma_mlx.context.context import Context
from gemma_mlx.generation.depth import Depths
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting
from gemma_mlx.inputs.prompt import Kind, Prompt, Segment
from gemma_mlx.loading import Gemma

from . import examples, reference
from .examples import Collator, Example
from .reference import Target

LONGEST = 96


def prompt_of(collate: Collator, one: Example) -> Prompt:
    """The example's prompt as segments, its media in order."""
    ids, _ = collate.ids(one)
    places = np.concatenate([np.zeros((0, 2), np.int32), *(part.positions.astype(np.int32) for part in one.media)])
    patches = np.concatenate([np.zeros((0, 6912), np.uint8), *(_whole(part) for part in one.media)])
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


def _whole(part: examples.Media) -> np.ndarray:
    """Every patch of a picture, those of one grey as black."""
    patches = np.zeros((len(part.positions), 6912), np.uint8)
    patches[part.places] = part.patches
    return patches


def answer(gemma: Gemma, prompt: Prompt, depths: Depths | None) -> tuple[int, ...]:
    """Greedy ids up to and with the stop token; drafted as `depths` says, or not at all."""
    context = Context(gemma.model, prompt.n_tokens + LONGEST)
    read = context.read(prompt)
    assert read.hidden is not None
    greedy = Sampler(temperature=0, suppress_tokens=gemma.sampler.suppress_tokens)
    drafting = Drafting(gemma.drafter, depths) if gemma.drafter and depths else None
    tokens = context.decode(read.hidden, DecodeOptions(greedy, LONGEST), drafting)
    ids = []
    for token in tokens:
        ids.append(token.id)
        if token.id in gemma.stop_ids:
            break
    tokens.close()
    return tuple(ids)


def reference_agrees(target: Target, collate: Collator, one: Example, ids: tuple[int, ...]) -> bool:
    """Whether greedy decoding by the reference gives these ids: each is its choice after the ones before it."""
    prompt, _ = collate.ids(one)
    batch = collate.batch([(prompt, list(ids))], [one.media])
    with torch.no_grad():
        hidden, _ = reference.run(target, batch)
        best = reference.logits(target, hidden[0, len(prompt) - 1 : -1]).argmax(-1)
    return bool((best == torch.tensor(ids)).all())
