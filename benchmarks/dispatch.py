"""The two programs as `profile_step` drives them: one model and its drafter, decoding and drafting greedily.

Both decode in the loops that their users run. A block of drafts is begun as their rounds begin it, on caches that hold
the prompt. Facts about mlx-vlm from its 0.7.10: `generate_step`, `_mtp_rounds`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma_mlx.benchmarks.peers.common import hide, make_resident
from gemma_mlx.benchmarks.schema import OURS
from gemma_mlx.errors import GemmaError
from gemma_mlx.generation.loop import DecodeOptions, Step, Steps, decode
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import propose
from gemma_mlx.loading import load_drafter, load_model
from gemma_mlx.model.cache import Caches

PEER = "mlx-vlm"


class Stepped(Protocol):
    """A program with a model, and a drafter if it was given one, in memory."""

    name: str

    def decode(self, ids: list[int], tokens: int) -> Iterator[int]:
        """So many greedy ids after `ids`, with new caches."""

    def read(self, ids: list[int]) -> None:
        """Fill the caches that drafts are made with."""

    def draft(self, depth: int) -> mx.array:
        """Begin `depth` drafts after what was read, (1, depth)."""

    def bytes_read(self) -> tuple[int, int]:
        """By a token and by a draft after what was read: weights, and keys and values in reach; 0 without a drafter.
        Embeddings of single tokens are left out."""


class Ours:
    """gemma-mlx."""

    name = OURS

    def __init__(self, directory: Path, drafter: Path | None, dtype: str) -> None:
        self._model = load_model(directory, dtype=dtype)
        self._drafter = None if drafter is None else load_drafter(drafter, dtype=dtype, target=self._model.config)
        self._steps: Steps | None = None
        self._newest: Step | None = None

    def decode(self, ids: list[int], tokens: int) -> Iterator[int]:
        caches, hidden = self._read(ids)
        for token in decode(self._model, hidden, caches, _greedy(tokens)):
            yield token.id

    def read(self, ids: list[int]) -> None:
        caches, hidden = self._read(ids)
        self._steps = Steps(self._model, caches, _greedy(1))
        self._newest = self._steps.choose(hidden)
        mx.eval(self._newest.id)

    def draft(self, depth: int) -> mx.array:
        assert self._steps is not None, "nothing was read"
        assert self._newest is not None
        assert self._drafter is not None
        return propose(self._steps, self._drafter, self._newest, depth).ids

    def bytes_read(self) -> tuple[int, int]:
        assert self._steps is not None, "nothing was read"
        caches = self._steps.caches
        token = nbytes(self._model.language_model) + _of([rows for layer in caches.layers for rows in layer.view()])
        if self._drafter is None:
            return token, 0
        rows = [caches.shared(kind) for kind in self._drafter.config.text_config.layer_types]
        return token, nbytes(self._drafter) + _of([array for pair in rows for array in pair])

    def _read(self, ids: list[int]) -> tuple[Caches, mx.array]:
        caches = Caches(self._model.config.text_config)
        hidden = self._model(self._model.embed_text(mx.array([ids])), caches)[:, -1:]
        mx.eval(hidden, caches.arrays)
        return caches, hidden


class Vlm:
    """mlx-vlm. Importing it, torch is hidden from this process: it needs none, but would import it."""

    name = PEER

    def __init__(self, directory: Path, drafter: Path | None, dtype: str) -> None:
        hide("torch", "torchvision")
        try:
            from mlx_vlm.speculative.drafters import load_drafter as load_assistant
            from mlx_vlm.utils import load_model as load_peer
        except ImportError as fault:
            raise GemmaError(f"{PEER} cannot be imported ({fault}): pip install 'mlx-vlm==0.7.10'") from fault
        self._model: Any = load_peer(directory, lazy=True)
        make_resident(self._model, dtype)
        self._drafter: Any = None
        if drafter is not None:
            self._drafter, _ = load_assistant(str(drafter), lazy=True)
            make_resident(self._drafter, dtype)
        self._cache: list[Any] = []
        self._state: _Read | None = None

    def decode(self, ids: list[int], tokens: int) -> Iterator[int]:
        from mlx_vlm.generate import generate_step

        steps = generate_step(mx.array([ids]), self._model, None, None, max_tokens=tokens, temperature=0.0)
        for token, _ in steps:
            yield int(token)

    def read(self, ids: list[int]) -> None:
        language = self._model.language_model
        self._cache = language.make_cache()
        out = language(mx.array([ids]), cache=self._cache, return_hidden=True, return_shared_kv=True)
        hidden = language.speculative_draft_hidden(out.hidden_states[-1][:, -1:])
        shared = out.shared_kv_states
        mx.eval(hidden, shared, out.logits)
        newest = mx.argmax(out.logits[0, -1]).item()
        assert isinstance(newest, int)
        self._state = _Read(newest, hidden, shared, len(ids))
        if self._drafter is not None:
            self._drafter.reset(self._model)

    def draft(self, depth: int) -> mx.array:
        from mlx_vlm.sample_utils import make_sampler

        assert self._state is not None, "nothing was read"
        state, sampler = self._state, make_sampler(temp=0.0)
        self._drafter.set_shared_kv(state.shared, state.held, position=state.held - 1, kv_valid_len=state.held)
        block = depth + 1, sampler, mx.int32
        ids: mx.array = self._drafter.draft_block(state.newest, state.hidden, None, *block, greedy=True)
        mx.async_eval(ids)
        return ids

    def bytes_read(self) -> tuple[int, int]:
        token = nbytes(self._model.language_model) + _of([rows for each in self._cache for rows in each.state[:2]])
        if self._drafter is None:
            return token, 0
        assert self._state is not None, "nothing was read"
        rows = [self._state.shared[layer.layer_type] for layer in self._drafter.model.layers]
        return token, nbytes(self._drafter) + _of([array for pair in rows for array in pair])


@dataclass(frozen=True, eq=False)
class _Read:
    """What mlx-vlm drafts with: the newest token, the state that it follows from, keys and values, their positions."""

    newest: int
    hidden: mx.array
    shared: dict[str, Any]
    held: int


def nbytes(module: nn.Module) -> int:
    """Of all its arrays."""
    return _of(list(dict(tree_flatten(module.parameters())).values()))


def _of(arrays: list[mx.array]) -> int:
    return sum(array.nbytes for array in arrays)


def _greedy(tokens: int) -> DecodeOptions:
    return DecodeOptions(Sampler(temperature=0), tokens)
