"""Where recordings are cut, against the definition, and what becomes of their ends, of silence and of noise."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from gemma_mlx.capture import cutting
from gemma_mlx.transcription.clips import Clip, Piece, Rule, clips, cut, decibels, loudest, pieces, threshold
from tests.transcription import tones

FRAME = 640
RNG = np.random.default_rng(0)
USUAL = Rule()
SMALL = Rule(most=12, pause=5, breath=2, margin=1, click=1)


def sound(frames: int) -> np.ndarray:
    """Speech without any pause."""
    return RNG.uniform(-0.5, 0.5, frames * FRAME).astype(np.float32)


def silence(frames: int) -> np.ndarray:
    return np.zeros(frames * FRAME, np.float32)


def cut_up(samples: np.ndarray, rule: Rule = USUAL, chunk: int = 1000) -> list[Piece]:
    """The pieces of a recording that comes in chunks; fails unless they are all of it."""
    found = list(pieces((samples[at : at + chunk] for at in range(0, len(samples), chunk)), rule))
    joined = np.concatenate([np.empty(0, np.float32), *(piece.samples for piece in found)])
    np.testing.assert_array_equal(joined, samples)
    assert [piece.start for piece in found] == np.cumsum([0, *(len(piece.samples) for piece in found)])[:-1].tolist()
    assert all(0 < len(piece.samples) <= rule.most * FRAME for piece in found)
    assert all(len(piece.samples) % FRAME == 0 for piece in found[:-1])
    return found


def lengths(found: Sequence[Piece]) -> list[tuple[int, bool]]:
    """Frames of each piece, and whether it is a clip."""
    return [(-(-len(piece.samples) // FRAME), piece.heard) for piece in found]


def the_clips(*parts: np.ndarray, rule: Rule = USUAL) -> list[Clip]:
    return list(clips([np.concatenate(parts)], rule, "a.wav"))


def where_it_is_defined_to_be(silent: Sequence[bool], rule: Rule) -> int:
    """The cut, in words and loops."""
    length, energies = len(silent), np.arange(len(silent))
    first = next((i for i, quiet in enumerate(silent) if not quiet), None)
    if first is None:
        return min(length, rule.most)
    if first > rule.margin:
        return first - rule.margin
    starts = [i for i in range(first + 1, length) if silent[i] and not silent[i - 1]]
    runs = {i: next((j for j in range(i, length) if not silent[j]), length) - i for i in starts}
    cuts = {i: i + min(rule.margin, run // 2) for i, run in runs.items()}
    for i in starts:
        if runs[i] >= rule.pause and i < rule.most:
            return min(cuts[i], rule.most)
    if length <= rule.most:
        return min(starts[-1] + rule.margin, length) if silent[-1] else length
    breaths = [i for i in starts if runs[i] >= rule.breath and cuts[i] <= rule.most]
    near = [i for i in breaths if cuts[i] >= rule.most - rule.most // 6]
    if near:
        return cuts[max(near, key=lambda i: (runs[i], i))]
    return cuts[breaths[-1]] if breaths else cutting.cut(energies, rule.most, rule.most // 6)


@pytest.mark.parametrize("length", [1, 2, 6, 12, 13])
def test_every_pattern_of_silence_is_cut_where_it_is_defined_to_be(length: int) -> None:
    for silent in product((False, True), repeat=length):
        at = cut(np.arange(length), np.array(silent), SMALL)
        assert at == where_it_is_defined_to_be(silent, SMALL), silent
        assert 1 <= at <= min(length, SMALL.most)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rule", [Rule(), Rule(most=200, pause=10), Rule(most=40, pause=30)])
def test_no_word_is_cut_or_lost_where_there_are_pauses(seed: int, rule: Rule) -> None:
    said, parts = zip(*tones.spoken(np.random.default_rng(seed), 70), strict=True)
    found = cut_up(np.concatenate(parts), rule, chunk=4096)
    heard = [word for piece in found if piece.heard for word in tones.words_in(piece.samples)]
    assert heard == list(said)
    assert not any(tones.words_in(piece.samples) for piece in found if not piece.heard)


def test_what_has_no_pause_is_cut_as_live_speech_is() -> None:
    samples = sound(2000)
    expected = np.diff([0, *cutting.cuts(cutting.levels(samples)), 2000])
    assert lengths(cut_up(samples)) == [(length, True) for length in expected]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(0, []), (3, [3]), (749, [749]), (750, [750]), (1500, None), (751, None)],
)
def test_the_longest_clip_and_one_frame_more(frames: int, expected: list[int] | None) -> None:
    found = lengths(cut_up(sound(frames)))
    assert all(heard for _, heard in found)
    if expected is not None:
        assert [length for length, _ in found] == expected
    else:
        assert found[0][0] >= 625
        assert sum(length for length, _ in found) == frames


def test_a_recording_ends_anywhere() -> None:
    (clip,) = the_clips(sound(4)[:-639])
    assert (clip.start, clip.end, len(clip.audio.samples)) == (0, (3 * FRAME + 1) / 16000, 3 * FRAME + 1)
    assert lengths(cut_up(np.concatenate([sound(750), sound(1)[:1]])))[0][0] < 751


@pytest.mark.parametrize("frames", [1, 30, 750, 751, 2000])
@pytest.mark.parametrize("hiss", [0, 0.001, 0.004])
def test_silence_is_no_clip(frames: int, hiss: float) -> None:
    samples = RNG.normal(0, hiss, frames * FRAME).astype(np.float32)
    assert not any(piece.heard for piece in cut_up(samples))


def test_a_click_in_silence_is_no_clip_and_three_frames_are() -> None:
    assert the_clips(silence(60), sound(2), silence(60)) == []
    (clip,) = the_clips(silence(60), sound(3), silence(60))
    assert (clip.start, clip.end) == (52 * 0.04, 71 * 0.04)


def test_times_are_those_of_the_sound_and_a_little_silence() -> None:
    found = the_clips(silence(800), sound(50), silence(25), sound(40), silence(24), sound(30), silence(8))
    assert [(round(clip.start / 0.04), round(clip.end / 0.04)) for clip in found] == [(792, 858), (867, 977)]
    assert all(clip.audio.name == "a.wav" for clip in found)
    again = the_clips(sound(50), silence(4))
    assert [(clip.start, clip.end) for clip in again] == [(0, 54 * 0.04)]


def test_the_longest_pause_of_the_last_sixth_is_taken_else_the_last_of_all() -> None:
    near = the_clips(sound(640), silence(9), sound(40), silence(8), sound(300))
    assert near[0].end == pytest.approx(644 * 0.04)
    early = the_clips(sound(100), silence(9), sound(100), silence(5), sound(700))
    assert early[0].end == pytest.approx(211 * 0.04)


def test_room_noise_after_speech_is_silence_and_steady_sound_alone_is_not() -> None:
    room = RNG.normal(0, 0.02, 400 * FRAME).astype(np.float32)
    loud = sound(800)
    (only,) = the_clips(room)
    assert only.end == pytest.approx(16)
    found = cut_up(np.concatenate([loud + np.resize(room, len(loud)), np.resize(room, 1000 * FRAME)]))
    assert sum(length for length, heard in lengths(found) if not heard) >= 900


def test_speech_in_noise_has_pauses() -> None:
    said, parts = zip(*tones.spoken(np.random.default_rng(1), 60, hiss=0.02), strict=True)  # 20 dB
    found = [piece for piece in cut_up(np.concatenate(parts)) if piece.heard]
    assert [word for piece in found for word in tones.words_in(piece.samples)] == list(said)
    assert len(found) > 3


def test_a_faint_speaker_after_a_loud_one_is_heard() -> None:
    said, parts = zip(*tones.spoken(np.random.default_rng(2), 40, hiss=0.0003), strict=True)
    samples = np.concatenate(parts)
    found = [piece for piece in cut_up(np.concatenate([samples, silence(50), samples / 20])) if piece.heard]
    second = [piece.samples * 20 for piece in found if piece.start >= len(samples)]
    assert [word for one in second for word in tones.words_in(one)] == list(said)


def test_levels() -> None:
    assert decibels(np.array([640.0, 6.4, 0.0])).tolist() == [0, -20, -np.inf]
    assert loudest(np.array([-np.inf])) == loudest(np.empty(0)) == -70
    steady = np.full(100, -30.0)
    assert threshold(steady, -30) == -36  # nothing is below
    assert threshold(steady, -10) == -24  # all of it is
    assert threshold(np.array([-np.inf, -np.inf, -50, -20]), -20) == pytest.approx(-47 + 6)
    assert threshold(np.full(9, -120.0), -40) == -70
    assert loudest(np.array([*[-60.0] * 999, 0.0])) == -60


@pytest.mark.parametrize("bad", [{"most": 0}, {"most": 751}, {"pause": 0}, {"breath": 0}, {"margin": -1}])
def test_rules_that_are_none(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"a clip is 1 to 750|a frame or more"):
        Rule(**bad)
