"""The package's side of a comparison: a prompt read in given pieces, as numpy."""

from collections.abc import Sequence
from itertools import pairwise

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.stream import EmbeddingStream


def read(model: GemmaModel, prompt: Prompt, caches: Caches, cuts: Sequence[int] = ()) -> mx.array:
    """Read the prompt, cut at these positions. Returns hidden states (1, n_tokens, hidden)."""
    bounds = [0, *cuts, prompt.n_tokens]
    hidden = []
    for start, stop in pairwise(bounds):
        for piece in EmbeddingStream(model, prompt.segments, start, stop).pieces():
            hidden.append(model(piece.embeddings, caches, piece.blocks))
    return mx.concatenate(hidden, axis=1)


def step(model: GemmaModel, tokens: Sequence[int], caches: Caches) -> mx.array:
    """Read tokens in one pass. Returns hidden states (1, len(tokens), hidden)."""
    return model(model.embed_text(mx.array([list(tokens)])), caches)


def array(value: mx.array) -> NDArray[np.float32]:
    """Without the batch axis."""
    return np.array(value[0])
