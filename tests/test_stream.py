"""The stream: whatever the split, the decoder sees the same; pictures are never cut.

The oracle is one pass over everything, and row numbers counted by hand.
"""

import random
from collections.abc import Sequence
from itertools import pairwise

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.inputs.prompt import Segment
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.stream import (
    LONG_CONTEXT,
    LONG_PIECE_TOKENS,
    MAX_SCORES,
    PIECE_TOKENS,
    EmbeddingStream,
    cut,
    pack,
    piece_tokens,
)
from tests import tiny

WINDOW = tiny.WINDOW
MODEL = tiny.model()


def _mixture(seed: int) -> tuple[Segment, ...]:
    """Text, pictures (one longer than the window), frames and sound, over several windows."""
    rng = random.Random(seed)

    def words() -> Segment:
        return tiny.text([rng.randrange(100) for _ in range(rng.randrange(1, 30))])

    media = [tiny.image(4, 6, seed), tiny.image(2, 3, seed + 1), tiny.sound(21, seed), tiny.image(1, 2, seed, "video")]
    rng.shuffle(media)
    return (*(segment for medium in media for segment in (words(), medium)), words())


def _total(segments: Sequence[Segment]) -> int:
    return sum(len(segment.ids) for segment in segments)


def _embeddings(model: GemmaModel, segments: Sequence[Segment]) -> np.ndarray:
    """All rows at once, each segment through its embedder."""
    rows = []
    for segment in segments:
        if segment.features is None:
            rows.append(model.embed_text(mx.array(segment.ids)[None]))
        elif segment.positions is None:
            rows.append(model.embed_sound(mx.array(segment.features)))
        else:
            rows.append(model.embed_image(mx.array(segment.features), mx.array(segment.positions)))
    return np.array(mx.concatenate(rows, axis=1))


def _blocks(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    blocks, at = [], 0
    for segment in segments:
        if segment.kind in ("image", "video"):
            blocks.append((at, at + len(segment.ids)))
        at += len(segment.ids)
    return blocks


def _one_pass(segments: Sequence[Segment]) -> tuple[np.ndarray, Caches]:
    caches = Caches(MODEL.config.text_config)
    return np.array(MODEL(mx.array(_embeddings(MODEL, segments)), caches, _blocks(segments))), caches


def _in_pieces(streams: Sequence[EmbeddingStream], max_tokens: int | None) -> tuple[np.ndarray, Caches]:
    caches = Caches(MODEL.config.text_config)
    hidden = [
        MODEL(piece.embeddings, caches, piece.blocks) for stream in streams for piece in stream.pieces(max_tokens)
    ]
    return np.array(mx.concatenate(hidden, axis=1)), caches


def _same_state(a: Caches, b: Caches) -> None:
    assert a.offset == b.offset
    for one, other in zip(a.layers, b.layers, strict=True):
        for x, y in zip(one.view(), other.view(), strict=True):
            np.testing.assert_allclose(np.array(x), np.array(y), atol=1e-5)


@pytest.mark.parametrize("max_tokens", [1, 2, 7, WINDOW - 1, WINDOW, WINDOW + 1, 50, None])
@pytest.mark.parametrize("seed", [0, 1])
def test_any_piece_length_equals_one_pass(seed: int, max_tokens: int | None) -> None:
    segments = _mixture(seed)
    assert _total(segments) > 4 * WINDOW
    expected, held = _one_pass(segments)
    hidden, caches = _in_pieces([EmbeddingStream(MODEL, segments)], max_tokens)
    np.testing.assert_allclose(hidden, expected, atol=1e-5)
    _same_state(caches, held)


@pytest.mark.parametrize("seed", range(4))
def test_any_cuts_into_streams_equal_one_pass(seed: int) -> None:
    segments = _mixture(seed)
    rng = random.Random(seed)
    inside = {position for start, end in _blocks(segments) for position in range(start + 1, end)}
    bounds = sorted(rng.sample([p for p in range(1, _total(segments)) if p not in inside], 9))
    edges = [0, *bounds, _total(segments)]
    streams = [EmbeddingStream(MODEL, segments, start, stop) for start, stop in pairwise(edges)]
    hidden, _ = _in_pieces(streams, rng.choice([3, 11, None]))
    np.testing.assert_allclose(hidden, _one_pass(segments)[0], atol=1e-5)


def test_sound_frame_by_frame_equals_one_pass() -> None:
    segments = (tiny.text([5, 6, 7]), tiny.sound(50), tiny.text([8]))
    streams = [EmbeddingStream(MODEL, segments, at, at + 1) for at in range(_total(segments))]
    np.testing.assert_allclose(_in_pieces(streams, None)[0], _one_pass(segments)[0], atol=1e-5)


@pytest.mark.parametrize("max_tokens", [1, 9, None])
def test_every_placeholder_has_its_row(max_tokens: int | None) -> None:
    segments = _mixture(3)
    pieces = list(EmbeddingStream(MODEL, segments).pieces(max_tokens))
    rows = np.concatenate([np.array(piece.embeddings) for piece in pieces], axis=1)
    assert rows.shape == (1, _total(segments), 32)
    np.testing.assert_allclose(rows, _embeddings(MODEL, segments), atol=1e-6)
    at, blocks = 0, []
    for piece in pieces:
        blocks += [(at + start, at + end) for start, end in piece.blocks]
        at += piece.length
    assert blocks == _blocks(segments)


def _sizes(segments: Sequence[Segment], max_tokens: int | None, offset: int = 0) -> list[int]:
    return [sum(span.length for span in piece) for piece in pack(cut(segments), offset, max_tokens)]


@pytest.mark.parametrize(
    ("lengths", "max_tokens", "expected"),
    [
        ([8], 8, [8]),
        ([9], 8, [8, 1]),
        ([16], 8, [8, 8]),
        ([5, 4], 8, [8, 1]),
        ([3], 1, [1, 1, 1]),
        ([0, 3, 0], 8, [3]),
        ([], 8, []),
    ],
)
def test_text_fills_pieces_to_the_brim(lengths: list[int], max_tokens: int, expected: list[int]) -> None:
    assert _sizes([tiny.text([1] * length) for length in lengths], max_tokens) == expected


@pytest.mark.parametrize(
    ("before", "columns", "after", "max_tokens", "expected"),
    [
        (4, 4, 3, 8, [8, 3]),  # exactly full
        (5, 4, 3, 8, [5, 7]),  # one over: the picture starts the next piece
        (5, 8, 3, 8, [5, 8, 3]),
        (5, 9, 3, 8, [5, 9, 3]),  # longer than a piece: goes alone
        (0, 9, 0, 8, [9]),
        (0, 2, 0, 1, [2]),
        (2, 2, 2, 1, [1, 1, 2, 1, 1]),
    ],
)
def test_pictures_are_never_cut(before: int, columns: int, after: int, max_tokens: int, expected: list[int]) -> None:
    segments = [tiny.text([1] * before), tiny.image(1, columns), tiny.text([1] * after)]
    assert _sizes(segments, max_tokens) == expected


def test_pictures_share_a_piece_only_while_they_fit() -> None:
    assert _sizes([tiny.image(1, 3, seed) for seed in range(4)], 6) == [6, 6]
    assert _sizes([tiny.image(1, 3, seed) for seed in range(4)], 5) == [3, 3, 3, 3]


@pytest.mark.parametrize("seed", range(20))
def test_packing_loses_and_reorders_nothing(seed: int) -> None:
    segments = _mixture(seed)
    max_tokens = random.Random(seed).randrange(1, 40)
    pieces = list(pack(cut(segments), 0, max_tokens))
    order = [(id(span.segment), row) for piece in pieces for span in piece for row in range(span.start, span.stop)]
    assert order == [(id(segment), row) for segment in segments for row in range(len(segment.ids))]
    for piece in pieces:
        assert all(span.length == len(span.segment.ids) for span in piece if span.atomic)
        assert sum(span.length for span in piece) <= max_tokens or (len(piece) == 1 and piece[0].atomic)


def test_pieces_are_shorter_in_a_long_context() -> None:
    assert piece_tokens(LONG_CONTEXT - 1) == PIECE_TOKENS
    assert piece_tokens(LONG_CONTEXT) == LONG_PIECE_TOKENS
    assert _sizes([tiny.text([1] * 1100)], None, offset=LONG_CONTEXT - PIECE_TOKENS) == [512, 256, 256, 76]
    stream = EmbeddingStream(MODEL, [tiny.text([1] * (LONG_CONTEXT + 300))], LONG_CONTEXT - 1)
    assert [piece.length for piece in stream.pieces()] == [301]
    stream = EmbeddingStream(MODEL, [tiny.text([1] * (LONG_CONTEXT + 300))], LONG_CONTEXT)
    assert [piece.length for piece in stream.pieces()] == [256, 44]


def test_scores_of_a_piece_are_bounded_however_long_the_context() -> None:
    for offset in (2 * LONG_CONTEXT, 40_000, 131_072, 2 * MAX_SCORES):
        assert 1 <= piece_tokens(offset) <= LONG_PIECE_TOKENS
        assert piece_tokens(offset) == 1 or piece_tokens(offset) * offset <= MAX_SCORES
    assert piece_tokens(2 * LONG_CONTEXT) == LONG_PIECE_TOKENS
    assert piece_tokens(32_768) == 128


def test_start_and_stop() -> None:
    segments = (tiny.text([1, 2, 3]), tiny.image(1, 4), tiny.sound(5))
    for start in (0, 1, 3, 7, 9, 12):
        for stop in (0, 1, 3, 7, 9, 12, None):
            spans = cut(segments, start, stop)
            assert sum(span.length for span in spans) == max(0, (12 if stop is None else stop) - start)
    [words, picture] = cut(segments, 2, 7)
    assert (words.segment.kind, words.start, words.stop) == ("text", 2, 3)
    assert (picture.segment.kind, picture.start, picture.stop) == ("image", 0, 4)
    assert list(EmbeddingStream(MODEL, segments, 12).pieces()) == []


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (0, 6), (4, None), (6, 12)])
def test_a_bound_inside_a_picture_is_refused(start: int, stop: int | None) -> None:
    segments = (tiny.text([1, 2, 3]), tiny.image(1, 4), tiny.sound(5))
    with pytest.raises(ValueError, match="cut the image at 3 to 7"):
        EmbeddingStream(MODEL, segments, start, stop)
