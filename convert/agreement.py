"""How far two checkpoints of one model agree on what comes next, where the memory allows to ask them.

One after the other is loaded, so that the larger one decides whether it fits. Knows models and a prompt: not tensors.
"""

from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from gemma_mlx.convert.recipes import size_text
from gemma_mlx.convert.source import Source
from gemma_mlx.device import free_memory
from gemma_mlx.errors import CheckpointError
from gemma_mlx.inputs.tokenizer import load_tokenizer
from gemma_mlx.loading import load_model
from gemma_mlx.memory.weights import resident
from gemma_mlx.model.cache import Caches
from gemma_mlx.weights import activation_dtype

_PROMPT = (
    "The river rises in the mountains, runs through three countries and reaches the sea after 1,230 kilometres. "
    "Its name comes from an old word for water. Ships can follow it up to the first falls; beyond them, the valley is"
)
_SPARE = 1.1  # what a model takes while it runs, besides its weights


@dataclass(frozen=True)
class Agreement:
    """Over the positions of a prompt: share of equal best tokens, and mean Kullback-Leibler divergence in nats."""

    positions: int
    top1: float
    divergence: float


def agreement(source: Source, output: Source) -> Agreement | str:
    """The agreement of two targets, or the reason why it cannot be measured."""
    if source.is_drafter or output.is_drafter:
        return "the assistant answers nothing without its target"
    needed, free = max(_loaded_bytes(each) for each in (source, output)), free_memory()
    if free is not None and needed > free:
        return f"{size_text(needed)} of memory are needed, {size_text(free)} are free"
    try:
        tokenizer = load_tokenizer(output.directory)
    except CheckpointError as fault:
        return str(fault)
    ids = [tokenizer.specials["<bos>"], *tokenizer.encode(_PROMPT)]
    return _compared(_logits(source.directory, ids), _logits(output.directory, ids))


def _logits(directory: Path, ids: list[int]) -> mx.array:
    """Logarithms of the probabilities after each token, (tokens, vocabulary) in float32."""
    model = load_model(directory)
    hidden = model(model.embed_text(mx.array([ids])), Caches(model.config.text_config))
    logits = model.logits(hidden)[0].astype(mx.float32)
    found = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    mx.eval(found)  # before the model goes away and the next one comes
    return found


def _compared(wanted: mx.array, got: mx.array) -> Agreement:
    same = mx.argmax(wanted, axis=-1) == mx.argmax(got, axis=-1)
    divergence = (mx.exp(wanted) * (wanted - got)).sum(axis=-1)
    return Agreement(len(wanted), float(np.array(same).mean()), float(np.array(divergence).mean()))


def _loaded_bytes(source: Source) -> int:
    """Memory that the model takes while it runs: floating-point tensors get the type of activations."""
    item = activation_dtype("auto", source.weights).size
    return int(_SPARE * sum(resident(tensor, item) for tensor in source.weights.tensors.values()))
