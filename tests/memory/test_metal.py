"""The formulas for Metal, which no test can run here: against one public figure, and against sums by hand."""

from gemma_mlx.memory import metal
from gemma_mlx.memory.caches import Caches, Span
from gemma_mlx.memory.published import published_bytes

MODEL = published_bytes("4bit", 2)
TEXT = MODEL.config.text_config


def _caches(pieces: int, length: int) -> Caches:
    caches = Caches.empty(TEXT)
    for _ in range(pieces):
        caches = caches.append(length)
    return caches


def test_a_public_figure() -> None:
    """mlx-lm read 13,221 tokens in pieces of 2048 with a peak of 9.43 GB, of which 6.74 GB are weights."""
    before = _caches(5, 2048).append(13221 - 6 * 2048)
    found = metal.peak(MODEL, before, [Span("text", 2048)], last=True)
    assert 1.0 <= found / (9.43e9 - 6.74e9) <= 1.15


def test_scores_of_a_late_piece_dominate() -> None:
    before = _caches(64, 512)
    found = metal.peak(MODEL, before, [Span("text", 512)], last=True)
    held = before.append(512).nbytes(TEXT, 2)
    scores = 3 * 16 * 512 * (65 * 512)  # one and a half times two bytes
    assert 1.0 <= (found - held) / (scores + 3 * 512 * 15360 * 2) <= 1.1


def test_parts_of_a_piece_are_held_beside_the_whole_however_many_they_are() -> None:
    one, two, four = (metal.peak(MODEL, _caches(1, 512), [Span("text", 256 // n)] * n, last=True) for n in (1, 2, 4))
    assert two - one == 256 * 3840 * 2
    assert four == two


def test_a_picture_takes_its_patches_more_than_text_does() -> None:
    text, picture = (metal.peak(MODEL, _caches(1, 512), [Span(kind, 280)], last=True) for kind in ("text", "image"))
    assert picture - text == 280 * 6912 * (1 + 4 + 4 + 2 + 2)
