"""A conversation's caches and what each of their positions holds.

`read(prompt)` is the only way forward: it keeps what the caches share with the prompt, goes back exactly where they
differ and reads the rest in pieces. So a warm conversation equals a cold one by construction. Knows prompts as
positions: not messages, turns or text.
"""

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import mlx.core as mx

from gemma_mlx.context import state
from gemma_mlx.context.marks import Marks
from gemma_mlx.context.state import Expected, Key, State
from gemma_mlx.errors import ContextError
from gemma_mlx.generation.depth import MOST
from gemma_mlx.generation.events import Token
from gemma_mlx.generation.loop import DecodeOptions, decode
from gemma_mlx.generation.speculative import Drafting, decode_speculative
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.model.cache import STEP, Caches
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.stream import PIECE_TOKENS, EmbeddingStream

Admit = Callable[[int, int, int], None]  # positions in all, of the next pass, bytes held; raises `MemoryPlanError`


@dataclass(frozen=True)
class Read:
    """What `Context.read` did: the last position's hidden state (1, 1, hidden), positions kept and read."""

    hidden: mx.array | None
    cached: int
    read: int


def admit_all(positions: int, piece: int, held: int) -> None:
    """No bound on memory."""


def never() -> bool:
    """Nothing interrupts."""
    return False


class Context:
    """Caches of one conversation, at most `limit` positions long, read in pieces of at most `piece_tokens`.

    `mark_bytes`: what copies of marked positions may take. `admit` is asked before a piece is read, and while decoding
    before the buffers grow.
    """

    def __init__(
        self,
        model: GemmaModel,
        limit: int,
        piece_tokens: int = PIECE_TOKENS,
        mark_bytes: int = sys.maxsize,
        admit: Admit = admit_all,
    ) -> None:
        self.model, self.limit = model, limit
        self.piece_tokens, self.admit = piece_tokens, admit
        self.caches = Caches(model.config.text_config)
        self.keys: list[Key] = []
        self.marks = Marks(mark_bytes)

    @property
    def nbytes(self) -> int:
        """Bytes of the caches and of the marks."""
        return self.caches.nbytes + self.marks.nbytes

    def read(
        self,
        prompt: Prompt,
        stop: int | None = None,
        interrupted: Callable[[], bool] = never,
        marks: Sequence[int] = (),
        most: int | None = None,
    ) -> Read:
        """Make the caches hold positions 0 … stop - 1 of `prompt` (default: all), in pieces of at most `most`.

        `interrupted` is asked before each piece; a read that it ends leaves a shorter, consistent prefix and no hidden
        state. `marks` are positions of the prompt to come back to. The last position is always read anew, so that its
        hidden state is known. Raises `ContextError` if the whole prompt is longer than the limit, `MemoryPlanError`
        before a piece that does not fit: what was read until then is kept.
        """
        if prompt.n_tokens > self.limit:
            raise ContextError(
                f"the prompt is {prompt.n_tokens} tokens long, the context holds {self.limit}: shorten it, "
                "attach less, or raise --context"
            )
        self._agree()
        wanted = keys_of(prompt.segments)[:stop]
        start = self._go_back(self._shared(prompt, wanted))
        for position in marks:
            self.marks.add(self.caches, position)
        hidden: mx.array | None = None
        longest = self.piece_tokens if most is None else min(most, self.piece_tokens)
        stream = EmbeddingStream(self.model, prompt.segments, start, len(wanted), longest)
        for piece in stream.pieces():
            if interrupted():
                hidden = None
                break
            self.admit(len(self.keys) + piece.length, piece.length, self.nbytes)
            self.marks.secure(self.caches, piece.length)
            with self._consistent():
                hidden = self.model(piece.embeddings, self.caches, piece.blocks, last=True)
                mx.eval(hidden, self.caches.arrays)  # one piece's scratch at a time, not the whole prompt's
                self.keys += wanted[len(self.keys) : len(self.keys) + piece.length]
            mx.clear_cache()
        return Read(hidden, start, len(self.keys) - start)

    def holds(self, prompt: Prompt, stop: int | None = None) -> bool:
        """Whether the caches hold positions 0 … stop - 1 of `prompt` (default: all), whatever follows."""
        wanted = keys_of(prompt.segments)[:stop]
        return self.keys[: len(wanted)] == wanted

    def lost(self, prompt: Prompt) -> int:
        """Positions that are held as `prompt` wants them, but will be read again: no way leads back to where it
        differs."""
        shared = self._shared(prompt, keys_of(prompt.segments))
        return shared - self.marks.way_back(self.caches, shared)

    def decode(self, hidden: mx.array, options: DecodeOptions, drafting: Drafting | None = None) -> Generator[Token]:
        """Generate after a `read`, with a drafter if one is given. Wherever the caller stops, keys and caches hold the
        same: all tokens that were yielded, or all but the last (see `generation.loop.decode`). Raises
        `MemoryPlanError` before the caches grow beyond what fits."""
        if drafting is None:
            ahead, tokens = 1, decode(self.model, hidden, self.caches, options)
        else:
            ahead, tokens = MOST + 1, decode_speculative(self.model, hidden, self.caches, options, drafting)
        with self._consistent(), closing(tokens):
            for number in count():
                if number % STEP == 0:  # and what is read before the question is asked again
                    self.admit(min(len(self.keys) + STEP + ahead, self.limit), ahead, self.nbytes)
                self.marks.secure(self.caches, 2 * ahead, at_once=False)
                token = next(tokens, None)
                if token is None:
                    break
                self.keys.append(token.id)
                yield token

    def mark(self, position: int | None = None) -> None:
        """Remember a position, this one or one just before it, as one to come back to beyond the slack."""
        self.marks.add(self.caches, len(self.keys) if position is None else position)

    def fork(self) -> "Context":
        """Another context that holds the same. Raises `MemoryPlanError` if the copies do not fit."""
        self._admit_copies()
        other = Context(self.model, self.limit, self.piece_tokens, self.marks.budget, self.admit)
        other.caches, other.keys = self.caches.copy(), [*self.keys]
        other.marks = self.marks.of(other.caches)
        return other

    def save(self, path: Path, fingerprint: str) -> None:
        """Write caches, keys and marks to one `.safetensors` file. `fingerprint` says of which model they are.

        Raises `CheckpointError` if it cannot be written, `MemoryPlanError` if there is no memory to do so.
        """
        self._admit_copies()
        state.save(path, State(self.caches, self.keys, self.marks.positions, self.marks.copies), fingerprint)

    def load(self, path: Path, fingerprint: str) -> None:
        """Take over what `save` wrote. Raises `CheckpointError` if it is missing, damaged or of something else, and
        `MemoryPlanError` if it does not fit: the context is then as it was."""
        config, dtype = self.model.config.text_config, self.model.language_model.norm.weight.dtype

        def admit(positions: int) -> None:
            self.admit(positions + 1, 1, self.nbytes)

        loaded = state.load(path, Expected(config, dtype, fingerprint, self.limit, admit))
        marks = Marks(self.marks.budget)
        marks.adopt(loaded.caches, loaded.marks, loaded.snapshots)
        self.caches, self.keys, self.marks = loaded.caches, loaded.keys, marks

    def _admit_copies(self) -> None:
        """Ask for the memory of another copy of what the caches keep."""
        self._agree()
        self.admit(len(self.keys) + 1, 1, self.marks.nbytes)  # as if somebody else held the caches
        self.marks.secure_all(self.caches)

    def _shared(self, prompt: Prompt, wanted: list[Key]) -> int:
        """Positions that a read need not read again if the caches can go back so far."""
        return _block_start(prompt.segments, max(0, min(common_prefix(self.keys, wanted), len(wanted) - 1)))

    def _go_back(self, position: int) -> int:
        """Cut the caches to `position`, or to the nearest point before it that can be restored. Returns where."""
        done = False
        try:
            if found := self.marks.way_back(self.caches, position):
                self.marks.go_back(self.caches, found)
            else:
                self._forget()
            done = True
        finally:
            if not done:  # an interrupt between two layers: only a cold start is certainly right
                self._forget()
            del self.keys[self.caches.offset :]
        return self.caches.offset

    def _forget(self) -> None:
        self.marks = Marks(self.marks.budget)
        self.caches = Caches(self.model.config.text_config)

    @contextmanager
    def _consistent(self) -> Iterator[None]:
        """Whatever ends the block, caches and keys end at the same position."""
        try:
            yield
        finally:
            self._agree()

    def _agree(self) -> None:
        """Cut caches and keys to what both hold. Done again before what relies on it: a second interrupt may have cut
        the first time short."""
        self.caches.realign()
        del self.keys[self.caches.offset :]
        self.caches.trim(self.caches.offset - len(self.keys))


def keys_of(segments: tuple[Segment, ...]) -> list[Key]:
    """What each position of the segments holds."""
    keys: list[Key] = []
    for segment in segments:
        if segment.features is None:
            keys += segment.ids.tolist()
        elif segment.row_digests:
            keys += [(digest, 0) for digest in segment.row_digests]
        else:
            keys += [(segment.digest, row) for row in range(len(segment.ids))]
    return keys


def common_prefix(held: list[Key], wanted: list[Key]) -> int:
    """Length of the common prefix."""
    for position, (a, b) in enumerate(zip(held, wanted, strict=False)):
        if a != b:
            return position
    return min(len(held), len(wanted))


def _block_start(segments: tuple[Segment, ...], position: int) -> int:
    """`position`, or the start of the image that it lies inside: images are read whole."""
    at = 0
    for segment in segments:
        if at < position < at + len(segment.ids) and segment.kind in ("image", "video"):
            return at
        at += len(segment.ids)
    return position
