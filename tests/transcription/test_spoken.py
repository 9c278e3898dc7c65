"""Words of a speech synthesiser, in noise: where they are cut, and minutes of them through the demo model."""

from collections import Counter
from collections.abc import Iterator

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.transcription.clips import Rule, clips, pieces
from gemma_mlx.transcription.passages import Passage, passages
from gemma_mlx.transcription.recogniser import Recogniser
from gemma_mlx.transcription.task import Task
from tests.chats import demo
from tests.demo_model import sounds, speech

RATE = 16000
SEED = 6
PAUSE = 1.2  # seconds at least between utterances, of one to five words each


def utterances(noise: np.random.Generator, seconds: float) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What is said, samples with the pause behind them, and (words, 2) bounds; together at least so long."""
    made, index = 0.0, 0
    while made < seconds:
        one = speech.drawn(SEED, "held_out", index)
        index += 1
        if one.question < 0:
            samples, bounds = speech.render(one)
            samples = np.concatenate([samples, np.zeros(round(PAUSE * RATE), np.float32)])
            made += len(samples) / RATE
            yield speech.written(one.words), sounds.noise_at(samples, 15, noise), bounds


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
    said = list(utterances(np.random.default_rng(SEED), minutes * 60))
    parts = clips((samples for _, samples, _ in said), Rule(), "a.wav")
    found, held = list[Passage](), list[int]()
    for passage in passages(parts, Recogniser(demo(), Task()), Task()):
        found.append(passage)
        held.append(mx.get_active_memory())
    assert max(held) <= 1.02 * min(held)
    assert all(passage.end - passage.start <= 30 for passage in found)
    assert not any(passage.notice for passage in found)
    wanted = Counter(word for words, _, _ in said for word in words.split())
    heard = Counter(word for passage in found for word in passage.text.split())
    assert (wanted - heard).total() <= 0.03 * wanted.total()
    assert (heard - wanted).total() <= 0.03 * wanted.total()
