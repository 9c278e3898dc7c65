"""Greys, halves and steps, pixel by pixel."""

from itertools import pairwise

import numpy as np
import pytest

from gemma_mlx.inputs import steps


def test_grey_is_a_quarter_a_half_and_a_quarter() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (7, 9, 3), np.uint8)
    pixels[0, 0] = 255
    for row, ours in zip(pixels.tolist(), steps.grey(pixels).tolist(), strict=True):
        assert ours == [red // 4 + green // 2 + blue // 4 for red, green, blue in row]


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (8, 7), (1, 6)])
def test_halves_are_means_of_four(shape: tuple[int, int]) -> None:
    shades = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    ours = steps.halved(shades)
    assert ours.shape == (shape[0] // 2, shape[1] // 2)
    for (y, x), mean in np.ndenumerate(ours):
        assert abs(mean - shades[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()) <= 2


@pytest.mark.parametrize("most", [1, 12, 40, 255])
def test_steps_stand_out_from_the_pictures_own(most: int) -> None:
    shades = np.random.default_rng(most).integers(0, most + 1, (20, 31), np.uint8)
    rows = shades.astype(int).tolist()
    differences = np.array([[abs(b - a) for a, b in pairwise(row)] for row in rows])
    noise = float(np.median(differences[::8, ::8]))
    sharp, faint = steps.sharp_and_faint(shades)
    assert np.array_equal(sharp, differences > max(16, 4 * noise))
    assert np.array_equal(faint, differences > max(8, 3 * noise))
    assert np.array_equal(steps.sharp(shades), sharp)
