"""How far two checkpoints of one model agree on what comes next, where the memory allows to ask them.

One after the other is loaded, so that the larger one decides whether it fits. A CPU takes seconds for a token of the
12B: the prompt is read in short pieces, between which Ctrl-C is heard, and no further than a time allows. Knows models
and a prompt: not tensors.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from gemma_mlx.convert.source import Source
from gemma_mlx.device import free_memory
from gemma_mlx.errors import CheckpointError
from gemma_mlx.inputs.tokenizer import load_tokenizer
from gemma_mlx.loading import load_model
from gemma_mlx.memory.sizes import file_size
from gemma_mlx.memory.weights import resident
from gemma_mlx.model.cache import Caches
from gemma_mlx.weights import activation_dtype

_PROMPT = (
    "The river rises in the mountains, runs through three countries and reaches the sea after 1,230 kilometres. "
    "Its name comes from an old word for water. Ships can follow it up to the first falls; beyond them, the valley is"
)
_SPARE = 1.1  # what a model takes while it runs, besides its weights
_PIECE = 8  # tokens
SECONDS = 120.0  # for each model, loading not counted; what both have read by then is compared


@dataclass(frozen=True)
class Agreement:
    """Over the positions of a prompt: share of equal best tokens, and mean Kullback-Leibler divergence in nats."""

    positions: int
    top1: float
    divergence: float

    def __str__(self) -> str:
        return (
            f"same best token at {100 * self.top1:.1f} % of {self.positions} positions, "
            f"mean divergence {self.divergence:.4f} nats"
        )


def obstacle(source: Source, output: Source) -> str | None:
    """Why the two cannot be asked, None if they can."""
    if source.is_drafter or output.is_drafter:
        return "the assistant answers nothing without its target"
    needed, free = max(_loaded_bytes(each) for each in (source, output)), free_memory()
    if free is not None and needed > free:
        return f"{file_size(needed)} of memory are needed, {file_size(free)} are free"
    try:
        load_tokenizer(output.directory)
    except CheckpointError as fault:
        return str(fault)
    return None


def agreement(source: Source, output: Source, seconds: float = SECONDS) -> Agreement:
    """The agreement of two targets without an `obstacle`. The slower one decides how much of the prompt is compared."""
    tokenizer = load_tokenizer(output.directory)
    ids = [tokenizer.specials["<bos>"], *tokenizer.encode(_PROMPT)]
    wanted = _logits(source.directory, ids, seconds)
    got = _logits(output.directory, ids[: len(wanted)], seconds)
    return _compared(wanted[: len(got)], got)


def _logits(directory: Path, ids: list[int], seconds: float) -> mx.array:
    """Logarithms of the probabilities after each token, (tokens, vocabulary) in float32; fewer if time runs out."""
    mx.clear_cache()  # of another model that went away
    model = load_model(directory)
    caches = Caches(model.config.text_config)
    started, found = time.monotonic(), []
    for first in range(0, len(ids), _PIECE):
        hidden = model(model.embed_text(mx.array([ids[first : first + _PIECE]])), caches)
        logits = model.logits(hidden)[0].astype(mx.float32)
        found.append(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
        mx.eval(found, caches.arrays)
        if time.monotonic() - started >= seconds:
            break
    return mx.concatenate(found)


def _compared(wanted: mx.array, got: mx.array) -> Agreement:
    same = mx.argmax(wanted, axis=-1) == mx.argmax(got, axis=-1)
    divergence = (mx.exp(wanted) * (wanted - got)).sum(axis=-1)
    return Agreement(len(wanted), float(np.array(same).mean()), float(np.array(divergence).mean()))


def _loaded_bytes(source: Source) -> int:
    """Memory that the model takes while it runs: floating-point tensors get the type of activations."""
    item = activation_dtype("auto", source.weights).size
    return int(_SPARE * sum(resident(tensor, item) for tensor in source.weights.tensors.values()))
