"""Warm reads against cold ones: whatever was read, cut, interrupted or generated before, the caches end up the same."""

import random
from collections.abc import Callable, Sequence
from itertools import islice

import mlx.core as mx
import pytest

from gemma_mlx.context.context import Context, Key, Read, keys_of
from gemma_mlx.errors import ContextError
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.model.cache import SLACK
from gemma_mlx.stream import EmbeddingStream
from tests import tiny
from tests.states import equals_cold, failing, read_equals_cold, read_ids

MODEL = tiny.model(seed=2)
LAYERS = len(MODEL.language_model.layers)
PIECE = 9
LIMIT = 2000
OPTIONS = DecodeOptions(Sampler(temperature=0), 12)


def _text(length: int, seed: int = 0) -> Segment:
    rng = random.Random(seed)
    return tiny.text([rng.randrange(100) for _ in range(length)])


def _context(*segments: Segment) -> Context:
    context = Context(MODEL, LIMIT, PIECE)
    if segments:
        context.read(Prompt(segments))
    return context


def _after(count: int) -> Callable[[], bool]:
    """False `count` times, then True."""
    answers = iter([False] * count)
    return lambda: next(answers, True)


def _shared(held: Sequence[Key], segments: Sequence[Segment], stop: int | None) -> int:
    """Positions that a read may keep: a common prefix, not the last position, no part of a picture."""
    wanted = keys_of(tuple(segments))[:stop]
    count = 0
    while count < min(len(held), len(wanted) - 1) and held[count] == wanted[count]:
        count += 1
    at = 0
    for segment in segments:
        if segment.kind in ("image", "video") and at < count < at + len(segment.ids):
            return at
        at += len(segment.ids)
    return count


def _edited(segments: Sequence[Segment], rng: random.Random) -> list[Segment]:
    """A prompt that differs: longer, shorter, or with one segment replaced, removed or inserted."""
    seed = rng.randrange(3)  # few seeds, so that the same media return
    media = (tiny.image(2, 3, seed), tiny.image(4, 5, seed), tiny.sound(7, seed), tiny.image(1, 3, seed, "video"))
    new = rng.choice([_text(rng.randrange(1, 40), seed), *media])
    at = rng.randrange(len(segments) + 1)
    cut = rng.choice([at, at, len(segments), max(0, len(segments) - 1)])
    return [*segments[:cut], new, *segments[cut + rng.randrange(2) :]]


@pytest.mark.parametrize("seed", range(5))
def test_random_edits_equal_cold_reads(seed: int) -> None:
    rng = random.Random(seed)
    context, segments, mark = _context(), [_text(30)], 0
    for _ in range(14):
        segments = _edited(segments, rng)[-12:]
        held = list(context.keys)
        if rng.random() < 0.3:
            context.read(Prompt(tuple(segments)), interrupted=_after(rng.randrange(4)))
            assert context.keys == keys_of(tuple(segments))[: context.caches.offset]
            held = list(context.keys)
        shared = _shared(held, segments, None)
        read = read_equals_cold(context, segments)
        assert read.cached in (shared, mark, 0)
        assert read.cached == shared or len(held) - shared > SLACK
        if rng.random() < 0.4:
            context.mark()
            mark = len(context.keys)
        if rng.random() < 0.3:
            generated = [token.id for token in islice(context.decode(_hidden(read), OPTIONS), rng.randrange(12))]
            equals_cold(context, [*segments, tiny.text(read_ids(generated, OPTIONS.max_tokens))])


def _hidden(read: Read) -> mx.array:
    assert read.hidden is not None
    return read.hidden


MIXED = (_text(20), tiny.image(2, 4), _text(5, 1), tiny.sound(11), tiny.image(5, 4), _text(9, 2))


def test_stop_at_every_position_outside_a_picture() -> None:
    length = Prompt(MIXED).n_tokens
    inside = {*range(21, 28), *range(45, 64)}
    context = _context()
    for stop in (1, 2, *random.Random(0).sample(range(3, length), 30), length, length + 5):
        if stop not in inside:
            read_equals_cold(context, MIXED, stop)


def test_the_same_prompt_again_reads_one_position() -> None:
    context = _context(*MIXED)
    read = read_equals_cold(context, MIXED)
    assert (read.cached, read.read) == (len(context.keys) - 1, 1)


def test_a_prompt_that_ends_in_a_picture_reads_the_whole_picture_again() -> None:
    segments = (_text(10), tiny.image(2, 4))
    read = read_equals_cold(_context(*segments), segments)
    assert (read.cached, read.read) == (10, 8)


@pytest.mark.parametrize(
    ("position", "kept"),
    [
        (0, 0),
        (1, 1),
        (19, 19),
        (20, 20),
        (27, 20),
        (28, 28),
        (32, 32),
        (33, 33),
        (43, 33),
        (44, 44),
        (63, 44),
        (72, 72),
    ],
)
def test_reading_begins_at_the_token_or_medium_that_changed(position: int, kept: int) -> None:
    changed, at = [], 0
    for segment in MIXED:
        inside = at <= position < at + len(segment.ids)
        changed.append(_another(segment, position - at) if inside else segment)
        at += len(segment.ids)
    assert read_equals_cold(_context(*MIXED), changed).cached == kept


def _another(segment: Segment, row: int) -> Segment:
    if segment.kind == "audio":
        return tiny.sound(len(segment.ids), seed=9)
    if segment.kind == "image":
        return tiny.image(1, len(segment.ids), seed=9)
    ids = segment.ids.tolist()
    ids[row] = (ids[row] + 1) % 100
    return tiny.text(ids)


def test_one_pixel_or_sample_makes_another_medium() -> None:
    for one, other in ((tiny.image(2, 3, seed=0), tiny.image(2, 3, seed=1)), (tiny.sound(6, 0), tiny.sound(6, 1))):
        context = _context(_text(4), one, _text(4, 1))
        assert read_equals_cold(context, (_text(4), other, _text(4, 1))).cached == 4


@pytest.mark.parametrize("pieces", range(8))
def test_an_interrupted_read_leaves_a_prefix_and_goes_on_there(pieces: int) -> None:
    context = _context()
    sizes = [piece.length for piece in EmbeddingStream(MODEL, MIXED, most=PIECE).pieces()]
    read = context.read(Prompt(MIXED), interrupted=_after(pieces))
    assert read.hidden is None
    assert (read.cached, read.read) == (0, sum(sizes[:pieces]))
    equals_cold(context, MIXED, sum(sizes[:pieces]))
    assert read_equals_cold(context, MIXED).cached == read.read


def test_asked_before_every_piece_and_not_after() -> None:
    count = len(list(EmbeddingStream(MODEL, MIXED, most=PIECE).pieces()))
    assert _context().read(Prompt(MIXED), interrupted=_after(count)).hidden is not None
    assert _context().read(Prompt(MIXED), interrupted=_after(count - 1)).hidden is None


def test_the_limit_is_the_last_length_that_is_read() -> None:
    context = Context(MODEL, 20, PIECE)
    context.read(Prompt((_text(20),)))
    caches = context.caches
    with pytest.raises(ContextError, match="the prompt is 21 tokens long, the context holds 20"):
        context.read(Prompt((_text(5, 9), tiny.sound(16))), stop=3)  # the whole prompt has to fit
    assert context.caches is caches
    equals_cold(context, (_text(20),))


FRONT, LATER, OTHER = _text(60), _text(400, 1), _text(30, 2)  # no buffer holds 400 rows of the past


def test_a_mark_brings_back_what_lies_beyond_the_slack() -> None:
    context = _context(FRONT)
    context.mark()
    context.read(Prompt((FRONT, LATER)))
    assert read_equals_cold(context, (FRONT, OTHER)).cached == 60
    context.read(Prompt((FRONT, LATER)))  # and once more
    assert read_equals_cold(context, (FRONT, OTHER, LATER)).cached == 60


def test_without_a_mark_everything_is_read_again() -> None:
    context = _context(FRONT, LATER)
    assert read_equals_cold(context, (FRONT, OTHER)).cached == 0


def test_a_mark_of_what_was_overwritten_is_not_used() -> None:
    context = _context(FRONT)
    context.mark()
    shorter = tiny.text(FRONT.ids[:50].tolist())
    context.read(Prompt((shorter, OTHER)))  # positions 50 … 59 are others now
    context.read(Prompt((shorter, OTHER, LATER)))
    assert read_equals_cold(context, (shorter, OTHER, _text(5))).cached == 0


def test_a_mark_of_another_beginning_is_not_used() -> None:
    context = _context(FRONT)
    context.mark()
    context.read(Prompt((FRONT, LATER)))
    assert read_equals_cold(context, (_text(100, 5), LATER)).cached == 0
    assert read_equals_cold(context, (_text(100, 5), OTHER)).cached == 0


def test_going_back_takes_what_the_caches_hold_and_no_more() -> None:
    for beyond in (0, 1):
        context = _context(FRONT, LATER)
        kept = len(context.keys) - context.caches.trimmable - beyond
        shorter = (FRONT, tiny.text(LATER.ids[: kept - 60].tolist()), tiny.text([101]))
        assert read_equals_cold(context, shorter).cached == (0 if beyond else kept)


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("call", [0, 3])
def test_an_exception_inside_a_piece_takes_the_piece_back(layer: int, call: int) -> None:
    context = _context(_text(20), tiny.sound(3))
    sizes = [piece.length for piece in EmbeddingStream(MODEL, MIXED, 20, most=PIECE).pieces()]
    with failing(MODEL, layer, call, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        context.read(Prompt(MIXED))
    equals_cold(context, MIXED, 20 + sum(sizes[:call]))
    read_equals_cold(context, MIXED)
