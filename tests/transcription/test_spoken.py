"""Words of a speech synthesiser, in noise: where they are cut, and minutes of them through the demo model."""

import numpy as np
import pytest

from gemma_mlx.transcription.clips import Rule, pieces
from tests.transcription.spoken_minutes import SEED, transcribed, utterances


@pytest.mark.parametrize(("rule", "spare"), [(Rule(), 0), (Rule(most=200, pause=10), 400)])  # 25 ms of a last "t"
def test_no_spoken_word_is_cut_or_left_out(rule: Rule, spare: int) -> None:
    parts, words, at = list[np.ndarray](), list[tuple[int, int]](), 0
    for _, samples, bounds in utterances(np.random.default_rng(SEED), 100):
        parts.append(samples)
        words += [(at + int(first), at + int(end)) for first, end in bounds]
        at += len(samples)
    found = [piece for piece in pieces(parts, rule) if piece.heard]
    heard = [(piece.start, piece.start + len(piece.samples)) for piece in found]
    missed = [word for word in words if not any(first <= word[0] and word[1] <= end + spare for first, end in heard)]
    assert missed == []
    assert len(words) > 60


@pytest.mark.parametrize("minutes", [4, pytest.param(29, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_a_long_recording_of_the_vocabulary(minutes: int) -> None:
    """Every word once, as far as the model hears single utterances: within three points of what it must."""
    found = transcribed(minutes)
    assert found.held[1] <= 1.02 * found.held[0]
    assert found.longest <= 30
    assert not found.noticed
    assert found.missing <= 0.03 * found.words
    assert found.added <= 0.03 * found.words
