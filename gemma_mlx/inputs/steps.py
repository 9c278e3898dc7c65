"""Steps of brightness between neighbours in rows of pixels: letters are known by them. Knows nothing of text.

Source: written for this package.
"""

import numpy as np

_SHARP = 16.0  # grey levels, or this many medians of the picture's own steps where that is more: the edge of a letter
_SHARP_NOISE = 4.0
_FAINT, _FAINT_NOISE = 8.0, 3.0  # what level ground has none of
LARGEST = 2**24
"""Pixels of a picture above which text is looked for in half of its size."""


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


def sharp(shades: np.ndarray) -> np.ndarray:
    """Where uint8 (h, w), of two columns at least, has sharp steps to the pixel on the right: bool (h, w - 1)."""
    steps, noise = _steps(shades)
    found: np.ndarray = steps > max(_SHARP, _SHARP_NOISE * noise)
    return found


def sharp_and_faint(shades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same, and where there are faint steps, which the sharp ones are too."""
    steps, noise = _steps(shades)
    return steps > max(_SHARP, _SHARP_NOISE * noise), steps > max(_FAINT, _FAINT_NOISE * noise)


def _steps(shades: np.ndarray) -> tuple[np.ndarray, float]:
    """Differences of neighbours, and the median of some of them."""
    ahead, behind = shades[:, 1:], shades[:, :-1]
    steps = np.maximum(ahead, behind) - np.minimum(ahead, behind)
    return steps, float(np.median(steps[::8, ::8]))
