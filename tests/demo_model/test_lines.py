"""Lines of characters: labels lie where the characters are, and difficulty grows along the pool."""

import random

import numpy as np

from gemma_mlx.inputs.image import PATCH

from . import lines
from .strings import CHARACTERS


def test_the_easiest_line_has_one_character_in_the_middle_of_each_patch() -> None:
    for seed in range(5):
        line = lines.line(random.Random(seed), None, 0.0)
        assert line.grid[1] == 1
        assert len(line.patches) == line.grid[0]
        assert ((line.bins > 0).sum(1) == 1).all()
        assert set(np.nonzero(line.bins)[1]) <= {2, 3}


def test_hard_lines_put_characters_anywhere() -> None:
    drawn = [lines.line(random.Random(seed), None, 0.9) for seed in range(30)]
    bins = np.concatenate([line.bins for line in drawn])
    assert set(np.nonzero(bins)[1]) == set(range(lines.BINS))
    assert (bins > 0).sum(1).max() > 1


def test_characters_are_noted_in_the_sixth_that_holds_their_middle() -> None:
    pixels = np.zeros((2 * PATCH, 3 * PATCH, 3), np.uint8)
    pixels[::3] = 200
    centres = np.array([(1.0, 50.0), (47.9, 1.0), (100.0, 95.0), (150.0, 5.0), (-1.0, 5.0)])
    line = lines.cut(pixels, centres, "A0ZQQ", (3, 2))
    wanted = np.zeros((6, lines.BINS), np.uint8)
    for patch, sixth, character in ((3, 0, "A"), (0, 5, "0"), (5, 0, "Z")):
        wanted[patch, sixth] = 1 + CHARACTERS.index(character)
    assert np.array_equal(line.bins, wanted)


def test_patches_of_one_grey_are_left_out_unless_they_hold_a_character() -> None:
    line = lines.cut(np.full((PATCH, 2 * PATCH, 3), 9, np.uint8), np.array([(60.0, 20.0)]), "A", (2, 1))
    assert line.places.tolist() == [[1, 0]]
    assert line.bins.tolist() == [[0, 11, 0, 0, 0, 0]]


def test_a_line_depends_on_seed_and_index_alone() -> None:
    families = {"Pillow's": (None,)}
    one, two = (lines.render(10, 1, families, 7) for _ in range(2))
    assert np.array_equal(one.patches, two.patches)
    assert not np.array_equal(one.bins, lines.render(10, 2, families, 7).bins)
