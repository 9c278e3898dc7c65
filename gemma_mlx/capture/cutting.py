"""Where to cut sound that is longer than the model hears in one block: at its quietest.

The same rule while somebody speaks and for a file: whether and where to cut depends on nothing that comes later than
one frame after the longest block. Knows levels of frames: not samples' sources, no model. Source: a block is 750 frames
(30 s) at most; that a sixth of it (5 s) holds a pause is experience.
"""

from collections.abc import Sequence

import numpy as np

from gemma_mlx.capture.vad import FRAME_SAMPLES

MOST_FRAMES = 750
SEARCH_FRAMES = 125


def levels(samples: np.ndarray) -> np.ndarray:
    """Energy of each frame of int16 or float samples `(640 n,)`: float64 `(n,)`."""
    frames = samples.reshape(-1, FRAME_SAMPLES).astype(np.float64)
    return np.einsum("ij,ij->i", frames, frames)


def cut(levels: Sequence[float] | np.ndarray, most: int = MOST_FRAMES, search: int = SEARCH_FRAMES) -> int:
    """Frames of the first block of more than `most`: `most - search` … `most`, at least 1.

    The two frames beside the cut are together the quietest of that range, the last such two. Levels after `most` + 1
    do not matter. Raises ValueError where there is nothing to cut.
    """
    if not 0 <= search < most:
        raise ValueError(f"the search for a cut takes 0 to {most - 1} of {most} frames, got {search}")
    if len(levels) <= most:
        raise ValueError(f"{len(levels)} frames fit into a block of {most}: no cut")
    near = np.asarray(levels[most - search - 1 : most + 1], np.float64)
    beside = near[:-1] + near[1:]
    return most - int(np.argmin(beside[::-1]))


def cuts(levels: Sequence[float] | np.ndarray, most: int = MOST_FRAMES, search: int = SEARCH_FRAMES) -> list[int]:
    """Where the second and later blocks begin, in frames from the first; none if all fit into one block."""
    found, at = list[int](), 0
    while len(levels) - at > most:
        at += cut(levels[at : at + most + 1], most, search)
        found.append(at)
    return found
