"""When a conversation takes most memory: reading its last piece, a picture at its end, or writing.

Knows pieces and caches: not machines, limits or what to do about them.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gemma_mlx.memory import cpu, metal
from gemma_mlx.memory.caches import Caches, Span, length_of, snapshot_bytes
from gemma_mlx.memory.values import Backend, Knobs, ModelBytes

# As in `stream.py`, which cannot be imported without MLX.
PIECE_TOKENS, LONG_PIECE_TOKENS, LONG_CONTEXT, MAX_SCORES = 512, 256, 8192, 2**22
_PEAKS = {"cpu": cpu.peak, "metal": metal.peak}
# Bytes for each entry of the vocabulary while a token is drawn: seven float32 arrays, three of booleans, and one of
# suppressed tokens, with the published top-k and top-p.
_CHOICE = 35


@dataclass(frozen=True)
class Moment:
    """Bytes alive at once beside the weights: keys and values, what is needed to compute, points to come back to."""

    name: str
    caches: int
    working: int
    snapshots: int = 0

    @property
    def nbytes(self) -> int:
        return self.caches + self.working + self.snapshots


def worst(model: ModelBytes, backend: Backend, knobs: Knobs, earlier: Knobs | None = None) -> Moment:
    """The worst moment of any conversation that fills the context. `earlier`: what it was read with so far, if those
    are other knobs; sliding layers keep the buffers of the longest piece."""
    text, context = model.config.text_config, knobs.context
    picture = _picture(model, knobs)
    longest = max(_longest(model, knobs), _longest(model, earlier or knobs))
    found = [_writing(model, backend, before) for before in Caches.crowded(text, context - 1, longest)]
    for end in {context, min(context, LONG_CONTEXT + PIECE_TOKENS - 1)}:  # the last place of the longest pieces
        for spans in _fullest(_piece(knobs, end), picture):
            for before in Caches.crowded(text, end - length_of(spans), longest):
                found.append(_reading(model, backend, before, spans))
    return max(found, key=_size)


def _picture(model: ModelBytes, knobs: Knobs) -> int:
    return min(knobs.image_tokens, knobs.context) if model.config.vision_config is not None else 0


def _longest(model: ModelBytes, knobs: Knobs) -> int:
    """Tokens of the longest piece, text or a picture."""
    return max(_picture(model, knobs), min(knobs.piece_tokens, PIECE_TOKENS, knobs.context))


def _fullest(piece: int, picture: int) -> Iterator[list[Span]]:
    """Pieces that take most: of two parts, which are held beside the whole; a picture; a piece full of pictures."""
    halves = (piece // 2, piece - piece // 2)
    yield [Span("text", length) for length in halves]
    if picture:
        yield [Span("image", picture)]
        yield [Span("image", length) for length in halves]


def of_run(
    model: ModelBytes, backend: Backend, pieces: Iterable[Sequence[Span]], marks: Collection[int] = (), written: int = 0
) -> Moment:
    """The worst moment while these pieces are read, snapshots taken at some positions, and so many tokens written."""
    text = model.config.text_config
    caches, snapshots, found = Caches.empty(text), 0, []
    for spans in pieces:
        found.append(replace(_reading(model, backend, caches, spans), snapshots=snapshots))
        caches = caches.append(length_of(spans))
        if caches.position in marks:
            snapshots += snapshot_bytes(text, caches.position, model.item)
    for step in range(max(1, written - 1)):
        if step == 0 or caches.full.grows(1) or caches.sliding.grows(1):
            found.append(replace(_writing(model, backend, caches), snapshots=snapshots))
        caches = caches.append(1)
    return max(found, key=_size)


def piece_tokens(knobs: Knobs, position: int) -> int:
    """Longest piece to read at a position."""
    longest = PIECE_TOKENS if position < LONG_CONTEXT else min(LONG_PIECE_TOKENS, max(1, MAX_SCORES // position))
    return min(longest, knobs.piece_tokens)


def _piece(knobs: Knobs, end: int) -> int:
    """Tokens of the longest text piece that ends at a position."""
    return min(end, piece_tokens(knobs, max(0, end - knobs.piece_tokens)))


def _reading(model: ModelBytes, backend: Backend, caches: Caches, spans: Sequence[Span]) -> Moment:
    length, peak = length_of(spans), _PEAKS[backend](model, caches, spans)
    what = "pictures" if any(span.kind == "image" for span in spans) else "a piece"
    return _moment(f"{what} of {length} tokens", model, caches, length, peak)


def _writing(model: ModelBytes, backend: Backend, caches: Caches) -> Moment:
    choice = _CHOICE * model.config.text_config.vocab_size
    return _moment("writing", model, caches, 1, _PEAKS[backend](model, caches, [Span("text", 1)]) + choice)


def _moment(name: str, model: ModelBytes, caches: Caches, length: int, peak: int) -> Moment:
    text = model.config.text_config
    kept = max(caches.nbytes(text, model.item), caches.append(length).nbytes(text, model.item))
    return Moment(name, kept, peak - kept)


def _size(moment: Moment) -> int:
    return moment.nbytes
