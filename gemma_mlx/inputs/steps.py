"""Steps of brightness between neighbours in rows of pixels: letters are known by them. Knows nothing of text.

Source: written for this package.
"""

import numpy as np

_SHARP = 16.0  # grey levels, or this many medians of the picture's own steps where that is more: the edge of a letter
_SHARP_NOISE = 4.0
_FAINT, _FAINT_NOISE = 8.0, 3.0  # what level ground has none of


def grey(pixels: np.ndarray) -> np.ndarray:
    """Uint8 (h, w) of uint8 (h, w, 3): a quarter red, half green, a quarter blue."""
    mixed: np.ndarray = pixels[..., 1] >> 1
    mixed += pixels[..., 0] >> 2
    mixed += pixels[..., 2] >> 2
    return mixed


def halved(shades: np.ndarray) -> np.ndarray:
    """Means of squares of two; an odd last row or column is left out."""
    height, width = shades.shape[0] // 2 * 2, shades.shape[1] // 2 * 2
    rows = (shades[:height:2, :width] >> 1) + (shades[1:height:2, :width] >> 1)
    means: np.ndarray = (rows[:, ::2] >> 1) + (rows[:, 1::2] >> 1)
    return means


def sharp_and_faint(shades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where uint8 (h, w) has sharp steps to the pixel on the right, and where faint ones, which the sharp ones are too:
    bool (h, w - 1). Of at least one row and two columns."""
    ahead, behind = shades[:, 1:], shades[:, :-1]
    steps = np.maximum(ahead, behind) - np.minimum(ahead, behind)
    noise = float(np.median(steps[::8, ::8]))
    return steps > max(_SHARP, _SHARP_NOISE * noise), steps > max(_FAINT, _FAINT_NOISE * noise)
