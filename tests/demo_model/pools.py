"""Pools of pictures and of utterances on disk: rendered once by `pictures` and `speech`, drawn from in training.

Arrays in one directory, memory-mapped. A picture holds only those patches that are not of one grey; an utterance is
clean, with the place of every word.
"""

import random
from pathlib import Path

import numpy as np

from .examples import GLYPH_SLOTS, IMAGE, Media


def _load(directory: Path, name: str) -> np.ndarray:
    array: np.ndarray = np.load(directory / f"{name}.npy", mmap_mode="r")
    return array


class PicturePool:
    """Pictures: `patches`, `places`, `glyphs` and `first` by patch; `starts`, `grids` and `texts` by picture."""

    def __init__(self, directory: Path) -> None:
        self.patches = _load(directory, "patches")
        by_patch = ("places", "glyphs", "first")
        self.places, self.glyphs, self.first = (np.array(_load(directory, name)) for name in by_patch)
        by_picture = ("starts", "grids", "texts")
        self.starts, self.grids, self.texts = (np.array(_load(directory, name)) for name in by_picture)

    def __len__(self) -> int:
        return len(self.texts)

    def draw(self, rng: random.Random, moved: bool) -> tuple[Media, str]:
        """A picture, its colours changed, and its text; `moved`: from the corner as well."""
        i = rng.randrange(len(self))
        patches = self.patches[self.starts[i] : self.starts[i + 1]]
        patches = _recoloured(rng, patches)
        corner = (rng.randint(0, 24), rng.randint(0, 16)) if moved else (0, 0)
        return self.media(i, patches, corner), self.texts[i].decode()

    def media(self, i: int, patches: np.ndarray, corner: tuple[int, int] = (0, 0)) -> Media:
        """Picture `i` with these patches."""
        width, height = (int(side) for side in self.grids[i])
        rows, columns = np.divmod(np.arange(width * height), width)
        at = self.places[self.starts[i] : self.starts[i + 1]].astype(np.int64)
        places = at[:, 1] * width + at[:, 0]
        labels = np.zeros((width * height, GLYPH_SLOTS + 1), np.int64)
        span = slice(self.starts[i], self.starts[i + 1])
        labels[places] = np.concatenate([self.glyphs[span], self.first[span][:, None]], 1)
        positions = np.stack([columns + corner[0], rows + corner[1]], 1)
        text = f"<|image>{IMAGE}<image|>"
        return Media(text, (width * height,), positions=positions, patches=patches, places=places, labels=labels)


class LinePool:
    """Lines from easy to hard: `patches`, `places` and `bins` by patch; `starts` and `grids` by line."""

    def __init__(self, directory: Path) -> None:
        by_patch = ("places", "bins")
        self.places, self.bins = (np.array(_load(directory, name)) for name in by_patch)
        self.starts, self.grids = np.array(_load(directory, "starts")), np.array(_load(directory, "grids"))
        self.patches = np.memmap(directory / "patches.raw", np.uint8, "r", shape=(len(self.places), 6912))

    def __len__(self) -> int:
        return len(self.grids)

    def draw(self, rng: random.Random) -> Media:
        """A line, its colours changed, from a random corner."""
        i = rng.randrange(len(self))
        span = slice(self.starts[i], self.starts[i + 1])
        width, height = (int(side) for side in self.grids[i])
        rows, columns = np.divmod(np.arange(width * height), width)
        at = self.places[span].astype(np.int64)
        places = at[:, 1] * width + at[:, 0]
        labels = np.zeros((width * height, self.bins.shape[1]), np.int64)
        labels[places] = self.bins[span]
        positions = np.stack([columns + rng.randint(0, 40), rows + rng.randint(0, 40)], 1)
        patches = _recoloured(rng, self.patches[span])
        text = f"<|image>{IMAGE}<image|>"
        return Media(text, (width * height,), positions=positions, patches=patches, places=places, labels=labels)


def _recoloured(rng: random.Random, patches: np.ndarray) -> np.ndarray:
    """The channels in another order, and sometimes the negative."""
    order = rng.sample(range(3), 3)
    patches = patches.reshape(-1, 48 * 48, 3)[:, :, order].reshape(-1, 48 * 48 * 3)
    return 255 - patches if rng.random() < 0.4 else patches


class SpeechPool:
    """Utterances: `samples` and by utterance `starts`, `words`, `bounds` and `questions`."""

    def __init__(self, directory: Path) -> None:
        self.samples = _load(directory, "samples")
        by_utterance = ("starts", "words", "bounds", "questions")
        self.starts, self.words, self.bounds, self.questions = (np.array(_load(directory, n)) for n in by_utterance)
        self.asked, self.said = np.flatnonzero(self.questions >= 0), np.flatnonzero(self.questions < 0)

    def __len__(self) -> int:
        return len(self.questions)

    def clean(self, i: int) -> np.ndarray:
        """Utterance `i`, float32 (n,) in [-1, 1]."""
        return self.samples[self.starts[i] : self.starts[i + 1]].astype(np.float32) / 32768

    def draw(self, rng: random.Random, questions: bool) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
        """Samples, bounds (5, 2), the question (or -1) and word ids (5,) of a spoken question or of words."""
        i = int(rng.choice(self.asked if questions else self.said))
        return self.clean(i), self.bounds[i], int(self.questions[i]), self.words[i]
