"""What was said in a turn, as the recordings that the model is given: one for each block of at most 30 s.

Knows samples and where to cut them: not where they come from, nor what is read of them.
"""

from itertools import pairwise

import numpy as np

from gemma_mlx.capture import cutting
from gemma_mlx.capture.vad import FRAME_SAMPLES
from gemma_mlx.inputs.message import SPOKEN, Audio


class Recording:
    """A growing recording of whole frames, int16 at 16 kHz."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._levels = np.empty(0)
        self._whole: dict[tuple[int, int], Audio] = {}  # blocks that more sound does not change, by their frames

    @property
    def samples(self) -> int:
        return len(self._bytes) // 2

    def append(self, samples: np.ndarray) -> None:
        """Add int16 `(640 n,)`."""
        self._bytes += samples.tobytes()
        self._levels = np.concatenate([self._levels, cutting.levels(samples)])

    def parts(self, stop: int) -> tuple[Audio, ...]:
        """The first `stop` samples, a multiple of 640, as recordings; a whole block is the same value each time."""
        frames = stop // FRAME_SAMPLES
        bounds = [0, *cutting.cuts(self._levels[:frames]), frames]
        pairs = list(pairwise(bounds))
        for pair in pairs[:-1]:
            if pair not in self._whole:
                self._whole[pair] = self._audio(*pair)
        last = (self._audio(*pairs[-1]),) if frames else ()
        return (*(self._whole[pair] for pair in pairs[:-1]), *last)

    def _audio(self, first: int, last: int) -> Audio:
        part = np.frombuffer(self._bytes, np.int16, (last - first) * FRAME_SAMPLES, 2 * first * FRAME_SAMPLES)
        return Audio(SPOKEN, part.astype(np.float32) / 32768)
