"""A conversation's caches and what each of their positions holds.

`read(prompt)` is the only way forward: it keeps what the caches share with the prompt, goes back exactly where they
differ and reads the rest in pieces. So a warm conversation equals a cold one by construction. Knows prompts as
positions: not messages, turns or text.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mlx.core as mx

from gemma_mlx.errors import ContextError
from gemma_mlx.generation.events import Token
from gemma_mlx.generation.loop import DecodeOptions, decode
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.model.cache import STEP, Caches, Snapshot
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.stream import PIECE_TOKENS, EmbeddingStream

Admit = Callable[[int, int, int], None]  # positions in all, of the next pass, bytes held; raises `MemoryPlanError`
Key = int | tuple[str, int]  # what a position holds: a token id, or the row of a medium known by its content


@dataclass(frozen=True)
class Read:
    """What `Context.read` did: the last position's hidden state (1, 1, hidden), positions kept and read."""

    hidden: mx.array | None
    cached: int
    read: int


def admit_all(positions: int, piece: int, held: int) -> None:
    """No bound on memory."""


class Context:
    """Caches of one conversation, at most `limit` positions long, read in pieces of at most `piece_tokens`.

    `snapshots`: how many marks are kept at most. `admit` is asked before a piece is read, and while decoding before
    the buffers grow.
    """

    def __init__(
        self,
        model: GemmaModel,
        limit: int,
        piece_tokens: int = PIECE_TOKENS,
        snapshots: int = 1,
        admit: Admit = admit_all,
    ) -> None:
        self.model, self.limit = model, limit
        self.piece_tokens, self.snapshots, self.admit = piece_tokens, snapshots, admit
        self.caches = Caches(model.config.text_config)
        self.keys: list[Key] = []
        self._marks: list[Snapshot] = []  # oldest first

    @property
    def nbytes(self) -> int:
        """Bytes of the caches and of the marks."""
        return self.caches.nbytes + sum(mark.nbytes for mark in self._marks)

    def read(self, prompt: Prompt, stop: int | None = None, interrupted: Callable[[], bool] = lambda: False) -> Read:
        """Make the caches hold positions 0 … stop - 1 of `prompt` (default: all), in pieces.

        `interrupted` is asked between pieces; a read that it ends leaves a shorter, consistent prefix and no hidden
        state. The last position is always read anew, so that its hidden state is known. Raises `ContextError` if the
        whole prompt is longer than the limit, `MemoryPlanError` before a piece that does not fit: what was read
        until then is kept.
        """
        if prompt.n_tokens > self.limit:
            raise ContextError(
                f"the prompt is {prompt.n_tokens} tokens long, the context holds {self.limit}: shorten it, "
                "attach less, or raise --context"
            )
        wanted = keys_of(prompt.segments)[:stop]
        shared = max(0, min(common_prefix(self.keys, wanted), len(wanted) - 1))
        start = self._go_back(_block_start(prompt.segments, shared))
        hidden: mx.array | None = None
        stream = EmbeddingStream(self.model, prompt.segments, start, len(wanted), self.piece_tokens)
        for piece in stream.pieces():
            if interrupted():
                hidden = None
                break
            self.admit(len(self.keys) + piece.length, piece.length, self.nbytes)
            with self._consistent():
                hidden = self.model(piece.embeddings, self.caches, piece.blocks)[:, -1:]
                mx.eval(hidden, self.caches.arrays)  # one piece's scratch at a time, not the whole prompt's
                self.keys += wanted[len(self.keys) : len(self.keys) + piece.length]
            mx.clear_cache()
        return Read(hidden, start, len(self.keys) - start)

    def decode(self, hidden: mx.array, options: DecodeOptions) -> Generator[Token]:
        """Generate after a `read`. Wherever the caller stops, keys and caches hold the same: all tokens that were
        yielded, or all but the last (see `generation.loop.decode`). Raises `MemoryPlanError` before the caches grow
        beyond what fits."""
        with self._consistent():
            for count, token in enumerate(decode(self.model, hidden, self.caches, options)):
                if count % STEP == 0:  # one more, which is read before the question is asked again
                    self.admit(min(len(self.keys) + STEP + 1, self.limit), 1, self.nbytes)
                self.keys.append(token.id)
                yield token

    def mark(self) -> None:
        """Remember this position as one to come back to beyond the slack; the oldest mark makes room for it."""
        self._marks = [each for each in self._marks if self.caches.can_restore(each) and each.offset < len(self.keys)]
        if self.snapshots:
            del self._marks[: len(self._marks) + 1 - self.snapshots]  # freed before the next one is made
            self._marks.append(self.caches.snapshot())

    def _go_back(self, position: int) -> int:
        """Cut the caches to `position`, or to the nearest point before it that can be restored. Returns where."""
        marks = [each for each in self._marks if each.offset <= position and self.caches.can_restore(each)]
        done = False
        try:
            if len(self.keys) - position <= self.caches.trimmable:
                self.caches.trim(len(self.keys) - position)
            elif marks:
                self.caches.restore(marks[-1])
            else:
                self._forget()
            done = True
        finally:
            if not done:  # an interrupt between two layers: only a cold start is certainly right
                self._forget()
            del self.keys[self.caches.offset :]
        return self.caches.offset

    def _forget(self) -> None:
        self.caches, self._marks = Caches(self.model.config.text_config), []

    @contextmanager
    def _consistent(self) -> Iterator[None]:
        """Whatever ends the block, caches and keys end at the same position."""
        try:
            yield
        finally:
            self.caches.realign()
            del self.keys[self.caches.offset :]
            self.caches.trim(self.caches.offset - len(self.keys))


def keys_of(segments: tuple[Segment, ...]) -> list[Key]:
    """What each position of the segments holds."""
    keys: list[Key] = []
    for segment in segments:
        if segment.features is None:
            keys += segment.ids.tolist()
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
