"""Where inputs meet the model: segments of ids, patches and frames become pieces of one stream of embeddings.

Text and audio may be cut anywhere; an image or video frame is atomic, because its tokens attend forward inside their
block. Embeddings are made piece by piece, so a long prompt never holds all of its own. Knows segments and the model's
embedders: not caches, files or conversations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx

from gemma_mlx.inputs.prompt import Segment
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.model.masks import Block

PIECE_TOKENS = 512
LONG_PIECE_TOKENS = 256  # beyond LONG_CONTEXT
LONG_CONTEXT = 8192
MAX_SCORES = 2**22  # query × key pairs of one piece: 128 MB of attention scores on the 12B, in bfloat16


@dataclass(frozen=True)
class Span:
    """Positions start … stop - 1 of one segment: a part of text or sound, a whole image."""

    segment: Segment
    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    @property
    def atomic(self) -> bool:
        return self.segment.kind in ("image", "video")


@dataclass(frozen=True)
class Piece:
    """What goes through the decoder in one pass: embeddings (1, length, hidden) and the images inside."""

    embeddings: mx.array
    blocks: tuple[Block, ...]

    @property
    def length(self) -> int:
        return self.embeddings.shape[1]


def piece_tokens(offset: int, most: int = PIECE_TOKENS) -> int:
    """Longest piece to read at a position, `most` at the beginning; a longer image is a piece of its own."""
    return most if offset < LONG_CONTEXT else min(most, LONG_PIECE_TOKENS, max(1, MAX_SCORES // offset))


class EmbeddingStream:
    """Positions start … stop - 1 of a prompt as embeddings. `start` and `stop` never lie inside an image."""

    def __init__(
        self,
        model: GemmaModel,
        segments: Sequence[Segment],
        start: int = 0,
        stop: int | None = None,
        most: int = PIECE_TOKENS,
    ) -> None:
        self.model = model
        self.start, self.most = start, most
        self.spans = cut(segments, start, stop)

    def pieces(self, max_tokens: int | None = None) -> Iterator[Piece]:
        """The stream in pieces of at most `max_tokens` (default: `piece_tokens` of the position and of `most`)."""
        for spans in pack(self.spans, self.start, max_tokens, self.most):
            embeddings = [self._embed(span) for span in spans]
            blocks, at = [], 0
            for span in spans:
                if span.atomic:
                    blocks.append((at, at + span.length))
                at += span.length
            yield Piece(embeddings[0] if len(spans) == 1 else mx.concatenate(embeddings, axis=1), tuple(blocks))

    def _embed(self, span: Span) -> mx.array:
        segment, rows = span.segment, slice(span.start, span.stop)
        if segment.features is None:
            return self.model.embed_text(mx.array(segment.ids[rows])[None])
        features = mx.array(segment.features[rows])
        if segment.positions is None:
            return self.model.embed_sound(features)
        return self.model.embed_image(features, mx.array(segment.positions[rows]))


def cut(segments: Sequence[Segment], start: int = 0, stop: int | None = None) -> list[Span]:
    """The spans of positions start … stop - 1. Raises ValueError if a bound lies inside an image."""
    spans, at = [], 0
    for segment in segments:
        length = len(segment.ids)
        first, last = max(0, start - at), length if stop is None else min(length, stop - at)
        if first < last:
            span = Span(segment, first, last)
            if span.atomic and span.length != length:
                raise ValueError(f"positions {start} to {stop} cut the {segment.kind} at {at} to {at + length}")
            spans.append(span)
        at += length
    return spans


def pack(
    spans: Sequence[Span], offset: int, max_tokens: int | None = None, most: int = PIECE_TOKENS
) -> Iterator[list[Span]]:
    """Fill pieces of at most `max_tokens` with spans, cutting all but images; an image that is longer goes alone."""
    piece: list[Span] = []
    used = 0
    for span in spans:
        while span.length:
            room = (max_tokens or piece_tokens(offset, most)) - used
            take = span.length if span.atomic else min(span.length, room)
            if piece and (room <= 0 or take > room):
                yield piece
                offset, piece, used = offset + used, [], 0
                continue
            piece.append(Span(span.segment, span.start, span.start + take))
            used += take
            span = Span(span.segment, span.start + take, span.stop)
    if piece:
        yield piece
