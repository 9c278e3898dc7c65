"""What the demo model hears in training: the words lie where they should, and noise is as loud as asked."""

import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from . import espeak, sounds, speech
from .pools import SpeechPool


@pytest.fixture
def speaker() -> None:
    try:
        espeak.engine()
    except OSError as fault:
        pytest.skip(str(fault))


def _power(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).mean())


def test_numbers_are_written_as_digits() -> None:
    assert speech.written([10, 7, 18]) == "red 7 stop"
    assert speech.written(np.array([0, 9, 31, -1, -1], np.int8)) == "0 9 down"
    assert speech.written([]) == ""
    assert len(set(speech.WORDS)) == 32


def test_the_splits_share_no_voice() -> None:
    train, held_out = (set(speech.VARIANTS[split]) for split in speech.SPLITS)
    assert len(held_out) >= 12
    assert not train & held_out
    assert set(speech.ACCENTS["held_out"]) - set(speech.ACCENTS["train"])
    for split in speech.SPLITS:
        voices = [speech.drawn(1, split, i).voice for i in range(400)]
        assert {voice.variant for voice in voices} == set(speech.VARIANTS[split])
        assert {voice.accent for voice in voices} == set(speech.ACCENTS[split])


def test_utterances_follow_from_the_seed() -> None:
    plans = [speech.drawn(3, "train", i) for i in range(20)]
    assert plans == [speech.drawn(3, "train", i) for i in range(20)]
    assert all(one != other for one, other in pairwise(plans))
    assert plans != [speech.drawn(4, "train", i) for i in range(20)]


@pytest.mark.usefixtures("speaker")
def test_a_pause_belongs_to_no_word() -> None:
    say = "espeak.say('red, seven stop', espeak.Voice('en-us', 'm3', 150))"
    code = f"import pickle, sys; from tests.demo_model import espeak; spoken = {say}; "
    code += "pickle.dump((spoken.samples, spoken.bounds), sys.stdout.buffer)"
    fresh = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)  # later ones may be cut
    samples, bounds = pickle.loads(fresh.stdout)
    (first, red), (seven, _), (stop, last) = bounds
    pause, words = samples[red:seven], samples[first:last]
    assert len(pause) > 0.1 * espeak.RATE
    assert _power(pause) < 1e-4 * _power(words)
    assert stop - seven > 0.2 * espeak.RATE
    assert _power(samples[last:]) < 1e-3 * _power(words)


@pytest.mark.usefixtures("speaker")
def test_a_word_among_others_sounds_as_alone() -> None:
    """Its spectrum is nearer to that of the same word alone than to those of its neighbours."""
    voice = espeak.Voice("en-us", "klatt2", 140, gap=4)
    said = ("yes", "no", "six")
    spoken = espeak.say(" ".join(said), voice)
    among = [_spectrum(spoken.samples[first:end]) for first, end in spoken.bounds]
    for i, word in enumerate(said):
        alone = espeak.say(word, voice)
        distances = [np.abs(_spectrum(alone.samples[slice(*alone.bounds[0])]) - other).sum() for other in among]
        assert int(np.argmin(distances)) == i


def _spectrum(samples: np.ndarray) -> np.ndarray:
    """Energy of 16 bands by quarter of the word, sum 1."""
    bands = [np.square(np.abs(np.fft.rfft(part, 4096))) for part in np.array_split(samples, 4)]
    coarse = np.array([[part.sum() for part in np.array_split(band[:1600], 16)] for band in bands])
    return coarse / coarse.sum()


@pytest.mark.usefixtures("speaker")
def test_what_espeak_joins_is_refused_and_avoided() -> None:
    with pytest.raises(ValueError, match="no one"):
        espeak.say("no one", espeak.Voice())
    code = "from tests.demo_model import espeak; espeak.say('no', espeak.Voice('en-nowhere'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)  # it may leave espeak-ng mute
    assert "ValueError: espeak-ng has no voice 'en-nowhere+m1'" in done.stderr
    ids = tuple(map(speech.WORDS.index, ("no", "one")))
    _, bounds = speech.render(speech.Utterance(ids, -1, espeak.Voice(), ("",), 0.1, 0.1))
    assert len(bounds) == 2


def test_resampling_keeps_a_tone_and_drops_what_16_khz_cannot_hold() -> None:
    time = np.arange(22050) / 22050
    kept = espeak.resample(np.sin(2 * np.pi * 1000 * time), 22050)
    assert len(kept) == 16000
    np.testing.assert_allclose(kept, np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000), atol=1e-5)
    assert np.abs(espeak.resample(np.sin(2 * np.pi * 9000 * time), 22050)).max() < 1e-5
    assert len(espeak.resample(time[:1001], 22050)) == round(1001 * 16000 / 22050)


@pytest.mark.usefixtures("speaker")
def test_a_pool_holds_what_was_drawn(tmp_path: Path) -> None:
    speech.write_pool(tmp_path, 20, 5, "held_out")
    pool = SpeechPool(tmp_path)
    assert (tmp_path / "READY").exists()
    assert len(pool) == 20
    assert pool.samples.dtype == np.int16
    assert len(pool.samples) == pool.starts[-1]
    assert 0 < len(pool.asked) < 20
    for i in range(20):
        utterance, clean = speech.drawn(5, "held_out", i), pool.clean(i)
        count = len(utterance.words)
        assert tuple(pool.words[i, :count]) == utterance.words
        assert (pool.words[i, count:] == -1).all()
        assert not pool.bounds[i, count:].any()
        assert pool.questions[i] == utterance.question
        assert np.abs(clean).max() == pytest.approx(0.9, abs=1e-3)
        assert not clean[: round(utterance.lead * espeak.RATE)].any()
        edges = pool.bounds[i, :count].ravel()
        assert (np.diff(edges) >= 0).all()
        inside = np.zeros(len(clean), bool)
        for first, end in pool.bounds[i, :count]:
            assert end - first > 0.08 * espeak.RATE
            assert _power(clean[first:end]) > 1e-3
            inside[first:end] = True
        if count:
            assert _power(clean[~inside]) < 0.01 * _power(clean[inside])


def test_noise_is_as_loud_as_asked() -> None:
    rng = np.random.default_rng(0)
    clean = np.zeros(32000, np.float32)
    clean[8000:16000] = 0.1 * np.sin(np.arange(8000) * 0.3)
    for decibel in (15.0, 40.0):
        added = sounds.noise_at(clean, decibel, rng) - clean
        ratio = _power(clean[8000:16000]) / _power(added[8000:16000])
        assert 10 * np.log10(ratio) == pytest.approx(decibel, abs=0.05)
        assert _power(added[:8000]) == pytest.approx(_power(added[8000:16000]), rel=0.1)  # over the whole clip
    loud = sounds.noise_at(9 * clean, 0, rng)
    assert np.abs(loud).max() <= 1


def test_disturbed_speech_stays_in_place_and_in_range() -> None:
    clean = np.zeros(32000, np.float32)
    clean[8000:16000] = np.random.default_rng(1).normal(0, 0.2, 8000)
    before = clean.copy()
    peaks, ratios = [], []
    for seed in range(200):
        heard = sounds.disturb(np.random.default_rng(seed), clean)
        assert heard.dtype == np.float32
        assert heard.shape == clean.shape
        assert np.isfinite(heard).all()
        peaks.append(np.abs(heard).max())
        ratios.append(10 * np.log10(_power(heard[8000:16000]) / max(_power(heard[:8000]), 1e-12)))
    np.testing.assert_array_equal(clean, before)
    assert max(peaks) <= 1
    assert 0.009 < min(peaks) < 0.05
    assert min(ratios) > 8  # at 10 dB, with the noise of the speech part counted on both sides
    assert max(ratios) > 60  # some without noise
    one, other = (sounds.disturb(np.random.default_rng(7), clean) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("count", [1, 100, 4000, 40000])
def test_recordings_without_speech(count: int) -> None:
    made = [sounds.no_speech(np.random.default_rng(seed), count) for seed in range(60)]
    assert all(one.shape == (count,) and one.dtype == np.float32 for one in made)
    assert all(np.isfinite(one).all() and np.abs(one).max() <= 1 for one in made)
    assert any(not one.any() for one in made)  # exact silence
