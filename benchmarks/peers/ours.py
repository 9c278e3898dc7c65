"""gemma-mlx as it is measured: what its command loads, reads and decodes with, told by ids instead of text.

The plan's memory limits hold, as under the command. Adaptive drafting learns from call to call, as in a conversation,
and remembers nothing between processes. Knows no other program.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from gemma_mlx.benchmarks.peers.common import by_position, until
from gemma_mlx.benchmarks.peers.program import Asked, Settings
from gemma_mlx.benchmarks.schema import OURS
from gemma_mlx.context.context import Context
from gemma_mlx.device import memory_limits
from gemma_mlx.errors import GemmaError
from gemma_mlx.generation.adaptive import Adaptive
from gemma_mlx.generation.depth import MOST, Depths, Fixed, Round
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting
from gemma_mlx.inputs.attachment import Reading, open_attachments
from gemma_mlx.inputs.message import Message, Text
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.loading import Gemma, LoadOptions, load, prepare


class Ours:
    """Implements `Program`."""

    name = OURS

    def __init__(self) -> None:
        self._limits = ExitStack()  # until the process ends
        self._gemma: Gemma | None = None
        self._adaptive = Adaptive()
        self._depths: Depths | None = None
        self._image_tokens = Settings().image_tokens
        self._log: _Log | None = None

    def load(self, directory: Path, settings: Settings) -> None:
        """Raises `GemmaError`s of `gemma_mlx.loading` and of `set_depth`."""
        self.set_depth(settings.depth)
        prepared = prepare(
            directory,
            LoadOptions(settings.dtype, settings.context, settings.image_tokens, settings.drafter, settings.memory),
        )
        self._limits.enter_context(memory_limits(prepared.plan, prepared.weights_bytes))
        self._gemma, self._image_tokens = load(prepared), settings.image_tokens

    def generate(self, ids: list[int], tokens: int) -> Iterator[int]:
        yield from self._decoded(Prompt((Segment("text", np.array(ids, np.int32)),)), tokens, Sampler(temperature=0))

    def ask(self, question: str, files: list[Path], tokens: int) -> Asked:
        """Raises `InputError` for a file that cannot be read."""
        gemma, reading = self._loaded, Reading(self._image_tokens)
        parts = [part for file in files for part in open_attachments(file, reading)]
        prompt = gemma.prompts.build([Message("user", (*parts, Text(question)))])
        sampler = Sampler(temperature=0, suppress_tokens=gemma.sampler.suppress_tokens)
        return Asked(prompt.n_tokens, until(self._decoded(prompt, tokens, sampler), gemma.stop_ids))

    def set_depth(self, depth: int | None) -> None:
        """Raises `GemmaError` for a depth that is out of range."""
        if depth is not None and not 0 <= depth <= MOST:
            raise GemmaError(f"depth is {depth}, expected 0 to {MOST}")
        self._depths = self._adaptive if depth is None else Fixed(depth) if depth else None

    def drafted(self) -> tuple[int, ...]:
        return () if self._log is None else by_position(self._log.rounds)

    def elsewhere(self) -> int:
        return 0

    @property
    def _loaded(self) -> Gemma:
        assert self._gemma is not None, "load comes first"
        return self._gemma

    def _decoded(self, prompt: Prompt, tokens: int, sampler: Sampler) -> Iterator[int]:
        gemma = self._loaded
        context = Context(gemma.model, prompt.n_tokens + tokens, gemma.plan.knobs.piece_tokens)
        read = context.read(prompt)
        assert read.hidden is not None, "an uninterrupted read ends in a hidden state"
        drafting = self._log = None
        if gemma.drafter is not None and self._depths is not None:
            self._log = _Log(self._depths)
            drafting = Drafting(gemma.drafter, self._log)
        for token in context.decode(read.hidden, DecodeOptions(sampler, tokens), drafting):
            yield token.id


class _Log:
    """Any `Depths`, and each round that it was told of as (drafts, accepted ones)."""

    def __init__(self, depths: Depths) -> None:
        self._depths = depths
        self.rounds: list[tuple[int, int]] = []

    def choose(self, position: int) -> int:
        return self._depths.choose(position)

    def record(self, done: Round) -> None:
        self.rounds.append((done.depth, done.accepted))
        self._depths.record(done)
