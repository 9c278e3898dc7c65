"""When a conversation takes most memory: reading its last piece, a picture at its end, or writing, where with a drafter
all drafts of a round are read and chosen from at once.

Knows pieces and caches: not machines, limits or what to do about them.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gemma_mlx.memory import cpu, metal
from gemma_mlx.memory.caches import SLACK, Caches, Span, length_of, snapshot_bytes
from gemma_mlx.memory.values import Backend, Knobs, ModelBytes

# As in `stream.py`, which cannot be imported without MLX.
PIECE_TOKENS, LONG_PIECE_TOKENS, LONG_CONTEXT, MAX_SCORES = 512, 256, 8192, 2**22
_PEAKS = {"cpu": cpu.peak, "metal": metal.peak}
ROWS = 9  # of a round: the newest token and as many drafts as `generation/depth.py` allows
# Bytes for each entry of the vocabulary while tokens are drawn with the published top-k and top-p. One token: seven
# float32 arrays, three of booleans, suppressed tokens and logits without them. A round: arrays of all its rows, both
# models' probabilities among them, and suppressed tokens once.
_CHOICE, _CHOICE_OF_ROW, _SUPPRESSED = 39, 34, 4


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
    rows = min(context, ROWS) if knobs.drafter else 1
    found = [_writing(model, backend, before, rows) for before in Caches.crowded(text, context - rows, longest)]
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


@dataclass(frozen=True)
class Written:
    """Tokens of an answer, and drafts in a round; 0: without drafter."""

    tokens: int = 1
    depth: int = 0


def of_run(
    model: ModelBytes,
    backend: Backend,
    pieces: Iterable[Sequence[Span]],
    marks: Collection[int] = (),
    written: Written = Written(),
) -> Moment:
    """The worst moment while these pieces are read, positions marked to come back to, and an answer written of whose
    drafts none stands: then there are most rounds."""
    text = model.config.text_config
    caches, copies, found = Caches.empty(text), _Copies(model, marks), []
    for spans in pieces:
        snapshots = copies.before(caches, length_of(spans))
        found.append(replace(_reading(model, backend, caches, spans), snapshots=snapshots))
        caches = caches.append(length_of(spans))
    first, last = caches.position, caches.position + max(1, written.tokens - 1)  # the last token is not read
    while caches.position < last:
        rows = min(1 + written.depth, last - caches.position)
        snapshots = copies.before(caches, 2 * (ROWS if written.depth else 1))
        if caches.position == first or caches.full.grows(rows) or caches.sliding.grows(rows):
            found.append(replace(_writing(model, backend, caches, rows), snapshots=snapshots))
        caches = caches.append(rows).trim(rows - 1)
    return max(found, key=_size)


class _Copies:
    """What is copied of marked positions, which is done when their rows are about to be dropped: see `marks.py`."""

    def __init__(self, model: ModelBytes, marks: Collection[int]) -> None:
        self._model, self._waiting, self._nbytes = model, set(marks), 0

    def before(self, caches: Caches, length: int) -> int:
        """Bytes of all copies when so many positions are about to be appended."""
        if caches.sliding.drops(length):
            due = {mark for mark in self._waiting if caches.position - mark > SLACK}
            text = self._model.config.text_config
            self._nbytes += sum(snapshot_bytes(text, mark, self._model.item) for mark in due)
            self._waiting -= due
        return self._nbytes


def piece_tokens(knobs: Knobs, position: int) -> int:
    """Longest piece to read at a position."""
    longest = PIECE_TOKENS if position < LONG_CONTEXT else min(LONG_PIECE_TOKENS, max(1, MAX_SCORES // position))
    return min(longest, knobs.piece_tokens)


def _piece(knobs: Knobs, end: int) -> int:
    """Tokens of the longest text piece that ends at a position."""
    return min(end, piece_tokens(knobs, max(0, end - knobs.piece_tokens)))


def _reading(model: ModelBytes, backend: Backend, caches: Caches, spans: Sequence[Span]) -> Moment:
    length, peak = length_of(spans), _PEAKS[backend](model, caches, spans, last=True)
    what = "pictures" if any(span.kind == "image" for span in spans) else "a piece"
    return _moment(f"{what} of {length} tokens", model, caches, length, peak)


def _writing(model: ModelBytes, backend: Backend, caches: Caches, rows: int) -> Moment:
    """The target's pass over so many rows, and what is chosen from them; the drafter's own pass over one takes less."""
    peak = _PEAKS[backend](model, caches, [Span("text", rows)], last=False)
    return _moment("writing", model, caches, rows, peak + _choice(rows) * model.config.text_config.vocab_size)


def _choice(rows: int) -> int:
    """Bytes for each entry of the vocabulary."""
    return _CHOICE if rows == 1 else _CHOICE_OF_ROW * rows + _SUPPRESSED


def _moment(name: str, model: ModelBytes, caches: Caches, length: int, peak: int) -> Moment:
    text = model.config.text_config
    kept = max(caches.nbytes(text, model.item), caches.append(length).nbytes(text, model.item))
    return Moment(name, kept, peak - kept)


def _size(moment: Moment) -> int:
    return moment.nbytes
