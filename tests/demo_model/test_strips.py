"""Lines and crops that are put together: labels lie where characters are, and what is drawn follows from the seed."""

import random

import numpy as np
import pytest

from gemma_mlx.inputs.image import PATCH
from tests.demo_model import strips
from tests.demo_model.examples import GLYPH_SLOTS, Media
from tests.demo_model.lines import BINS
from tests.demo_model.strings import CHARACTERS
from tests.demo_model.strips import Strip, Strips

FAMILIES = {"Pillow's": (None,)}


@pytest.fixture(scope="module")
def made() -> Strips:
    return Strips(FAMILIES, seed=3, count=12)


def _shown(media: Media) -> np.ndarray:
    """A picture (h, w, 3); patches that were left out are of one."""
    columns, rows = media.positions[-1] - media.positions[0] + 1
    patches = np.full((len(media.positions), PATCH * PATCH * 3), 77, np.uint8)
    patches[media.places] = media.patches
    return patches.reshape(rows, columns, PATCH, PATCH, 3).swapaxes(1, 2).reshape(rows * PATCH, columns * PATCH, 3)


@pytest.mark.parametrize("corner", [(0, 0), (-31, 5), (70, 40), (130, 0)])
def test_characters_are_told_where_their_middles_are(made: Strips, corner: tuple[int, int]) -> None:
    one = made.strips[0]
    ink, bins = np.zeros((2 * PATCH, 4 * PATCH), np.uint8), np.zeros((8, BINS), np.int64)
    strips._put(ink, bins, one, corner)
    wanted, allowed = set(), set()
    for x, y, character in zip(one.x + corner[0], one.y + corner[1], one.text, strict=True):
        if 0 <= x < 4 * PATCH:
            wanted.add((int(y // 48) * 4 + int(x // 48), int(x % 48 // 8), 1 + CHARACTERS.index(character)))
        allowed |= {
            (int((y + up) // 48) * 4 + int((x + left) // 48), int((x + left) % 48 // 8))
            for up, left in ((0, -2), (0, 2), (-2, 0), (2, 0))
        }
    assert {(patch, place, bins[patch, place]) for patch, place in np.argwhere(bins > 0)} == wanted
    assert {(patch, place) for patch, place in np.argwhere(bins == -100)} <= allowed
    near = [min(x % 8, 8 - x % 8) < 2 for x in one.x + corner[0] if 0 <= x < 4 * PATCH]
    assert (bins == -100).any() == any(near)


def test_a_character_in_the_middle_of_a_sixth_is_told_once_only() -> None:
    one = Strip("A7", np.full((20, 48), 255, np.uint8), np.array([12.0, 36.0]), np.array([10.0, 10.0]), 20.0)
    ink, bins = np.zeros((PATCH, PATCH), np.uint8), np.zeros((1, BINS), np.int64)
    strips._put(ink, bins, one, (0, 14))
    assert bins.tolist() == [[0, 11, 0, 0, 8, 0]]
    strips._put(ink, bins[:] * 0, one, (0, 14))
    assert ink[14:34].min() == 255
    assert ink[:14].max() == ink[34:].max() == 0
    shifted = np.zeros((1, BINS), np.int64)
    strips._put(ink, shifted, one, (3, 14))  # the middles come to lie at 15 and 39, near the next sixths
    assert shifted.tolist() == [[0, 11, -100, 0, 8, -100]]


def test_crops_show_their_text_and_say_where_it_is(made: Strips) -> None:
    rng = random.Random(5)
    for _ in range(60):
        media, text = made.crop(rng)
        assert media.labels is not None
        seen = dict[int, str]()
        for *glyphs, first in media.labels:
            seen |= {first + i: CHARACTERS[label - 1] for i, label in enumerate(glyphs) if label}
        assert set(seen.items()) <= set(enumerate(text))
        told = (media.labels[:, :GLYPH_SLOTS] > 0).sum(1)
        assert len(seen) == told.sum() > 0
        assert len(seen) == len(text) or told.max() == GLYPH_SLOTS
        assert set(np.flatnonzero(told)) <= set(media.places)
        assert media.counts == (len(media.positions),) == (len(media.labels),)


def test_a_zoomed_text_is_small_in_the_picture_and_large_in_its_part(made: Strips) -> None:
    rng, legible = random.Random(7), set()
    for _ in range(60):
        overview, part, text = made.zoomed(rng)
        assert overview.labels is not None
        assert part.labels is not None
        assert (part.labels > 0).any()
        legible.add(told := bool((overview.labels > 0).any()))
        if not told:  # nothing is asked where a text is too small, nor is it called blank
            assert (overview.labels == -100).any()
        assert text in {one.text for one in made.texts}
        assert overview.counts[0] > 2
    assert legible == {True, False}


def test_a_shrunk_strip_keeps_its_characters_in_place(made: Strips) -> None:
    one = made.texts[0]
    half = one.shrunk(0.5)
    assert half.text == one.text
    assert half.ink.shape == tuple(round(side / 2) for side in one.ink.shape)
    assert np.abs(half.x - one.x / 2).max() <= 0.5
    assert np.abs(half.y - one.y / 2).max() <= 0.5
    assert half.cap == one.cap / 2


def test_lines_are_full_and_their_ink_is_legible(made: Strips) -> None:
    rng = random.Random(6)
    for _ in range(60):
        media = made.draw(rng)
        assert media.labels is not None
        assert (media.labels > 0).sum() >= 3
        assert set(np.flatnonzero((media.labels > 0).any(1))) <= set(media.places)
        assert np.ptp(_shown(media) @ np.array([0.299, 0.587, 0.114])) >= 55


def test_what_is_drawn_follows_from_the_seed(made: Strips) -> None:
    again = Strips(FAMILIES, seed=3, count=12)
    first, second = (each.draw(random.Random(9)) for each in (made, again))
    assert np.array_equal(first.patches, second.patches)
    assert first.labels is not None
    assert second.labels is not None
    assert np.array_equal(first.labels, second.labels)
    assert made.crop(random.Random(9))[1] == again.crop(random.Random(9))[1]
