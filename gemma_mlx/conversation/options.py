"""How one reply is to be made, as the caller wants it and as it is done.

Knows settings: not models, prompts or history.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gemma_mlx.errors import InputError
from gemma_mlx.generation.depth import MOST
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler


@dataclass(frozen=True)
class ReplyOptions:
    """Settings of a reply. `sampler` None: the checkpoint's own; `draft_depth` None: whatever pays."""

    sampler: Sampler | None
    max_tokens: int
    stop: str | Sequence[str]
    draft_depth: int | None
    loop_guard: bool

    def __post_init__(self) -> None:
        if self.draft_depth is not None and not 0 <= self.draft_depth <= MOST:
            raise InputError(f"draft-depth is {self.draft_depth}, expected 0 (off) to {MOST}")

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the answer. One string is one text, though Python would take it for its characters."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def decoding(self, default: Sampler, number: int) -> DecodeOptions:
        """How to decode, also without what the checkpoint suppresses. A seed moves on by the `number` of the reply:
        otherwise each would draw with the same numbers. Raises `InputError` for a `max_tokens` below 1."""
        chosen = self.sampler
        if chosen is None:
            return DecodeOptions(default, self.max_tokens)
        seed = None if chosen.seed is None else (chosen.seed + number) % 2**64
        suppressed = (*chosen.suppress_tokens, *default.suppress_tokens)
        return DecodeOptions(replace(chosen, seed=seed, suppress_tokens=suppressed), self.max_tokens)
