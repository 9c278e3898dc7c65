"""Flashes and beeps at known times: in which order a video and its sound are read."""

import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gemma_mlx.inputs import audio, film, video
from gemma_mlx.inputs.message import Audio, Part, Text, Video
from tests.inputs.films import RATE, Clip, beeps, every, heard, kinds, make, noise, stamps

FORMATS = {
    "a.mp4": ("mpeg4", "aac"),
    "a.mov": ("libx264", "aac"),
    "a.webm": ("libvpx", "libopus"),
    "a.mkv": ("libx264", "pcm_s16le"),
    "a.ts": ("libx264", "aac"),
    "a.avi": ("mpeg4", "libmp3lame"),
}


def spans(parts: Sequence[Part]) -> list[tuple[list[float], list[float]]]:
    """Seconds of the flashes, and of the beeps, in each span: the pictures before a block of sound, and that block."""
    found: list[tuple[list[float], list[float]]] = []
    flashes: list[float] = []
    position = 0
    for part in parts:
        if isinstance(part, Video):
            frames = zip(part.frames, part.timestamps, strict=True)
            flashes += [seconds for frame, seconds in frames if frame.mean() > 150]
        elif isinstance(part, Audio):
            loud = np.abs(part.samples.reshape(-1, 640)).max(axis=1) > 0.2
            starts = np.flatnonzero(loud & ~np.roll(loud, 1))
            found.append((flashes, [(position + int(start)) / 25 for start in starts]))
            position += len(loud)
            flashes = []
    return found if not flashes else [*found, (flashes, [])]


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_seen_and_heard_together_is_in_one_span(name: str, tmp_path: Path) -> None:
    moments = [3.0, 33.0, 50.0, 71.0, 93.0]
    path = make(tmp_path / name, Clip(every(0.25, 95), [beeps(95, moments)], moments=moments, codecs=FORMATS[name]))
    parts = film.read(path, fps=1, max_frames=100)
    assert kinds(parts) == "VA" * 4
    assert all(len(part.blocks()) == 1 for part in parts if isinstance(part, Audio))
    assert stamps(parts) == sorted(stamps(parts))
    found = [(set(map(round, flashes)), set(map(round, sounds))) for flashes, sounds in spans(parts)]
    assert [seen for seen, _ in found] == [{3}, {33, 50}, {71}, {93}]
    assert all(seen == sounds for seen, sounds in found)
    for seen, sounds in spans(parts):
        for second in sounds:
            assert min(abs(second - flash) for flash in seen) < 0.3


def test_frames_and_sound_are_those_of_the_file_read_alone(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Clip(every(0.1, 35), [noise(35)]))
    frames, times = video.read(path)
    parts = film.read(path)
    assert {part.name for part in parts if not isinstance(part, Text)} == {str(path)}
    np.testing.assert_array_equal([f for part in parts if isinstance(part, Video) for f in part.frames], frames)
    assert stamps(parts) == pytest.approx(times)
    assert len(frames) == 32
    np.testing.assert_array_equal(heard(parts), audio.frames(audio.decode(path)))
    again = film.read(path.read_bytes(), name=str(path))
    assert stamps(again) == stamps(parts)
    np.testing.assert_array_equal(heard(again), heard(parts))


def test_sound_is_cut_in_its_pause_and_frames_at_that_time(tmp_path: Path) -> None:
    sound = noise(40)
    sound[round(27.2 * RATE) : round(27.8 * RATE)] = 0
    path = make(tmp_path / "a.mkv", Clip(every(0.5, 40), [sound], codecs=FORMATS["a.mkv"]))
    parts = film.read(path, fps=2, max_frames=100)
    assert kinds(parts) == "VAVA"
    assert isinstance(parts[1], Audio)
    assert 27.2 <= len(parts[1].samples) / 16000 <= 27.8
    cut = len(parts[1].samples) / 16000
    assert stamps(parts[:1]) == [seconds for seconds in every(0.5, 40) if seconds < cut]
    assert stamps(parts[2:]) == [seconds for seconds in every(0.5, 40) if seconds >= cut]


@pytest.mark.parametrize("seed", range(20))
def test_order_is_that_of_sorting_by_span_and_kind(seed: int) -> None:
    rng = random.Random(seed)
    blocks = [np.zeros((rng.randint(1, 750), 640), np.float32) for _ in range(rng.randint(1, 4))]
    stops = np.cumsum([len(block) for block in blocks])
    ticks = sorted(rng.sample(range(int(stops[-1]) + 200), rng.randint(0, 40)))
    if seed == 0:
        ticks = [int(stops[0]) - 1, int(stops[0]), int(stops[-1]) - 1, int(stops[-1])]
    frames = [np.full((48, 48, 3), index, np.uint8) for index in range(len(ticks))]
    found = film.interleaved("a", frames, [Fraction(tick, 25) for tick in ticks], blocks)
    order: list[object] = []
    for part in found:
        if isinstance(part, Audio):
            order.append(part.samples.size)
        else:
            order += zip(part.timestamps, part.frames, strict=True)
    expected: list[tuple[int, int, int, object]] = [(span, 1, 0, block.size) for span, block in enumerate(blocks)]
    for tick, frame in zip(ticks, frames, strict=True):
        expected.append((sum(int(stop) <= tick for stop in stops), 0, tick, (tick / 25, frame)))
    expected.sort(key=lambda entry: entry[:3])
    assert len(order) == len(expected)
    for one, (*_, other) in zip(order, expected, strict=True):
        if isinstance(one, tuple) and isinstance(other, tuple):
            assert one[0] == other[0]
            assert one[1] is other[1]
        else:
            assert one == other


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_sound_that_begins_later_follows_silence(name: str, tmp_path: Path) -> None:
    moments = [4.0, 6.0]
    clip = Clip(every(0.1, 8), [beeps(5, [1, 3])], starts=[3.0], moments=moments, codecs=FORMATS[name])
    path = make(tmp_path / name, clip)
    parts = film.read(path, fps=10, max_frames=100)
    assert kinds(parts) == "VA"
    assert stamps(parts)[0] == 0
    sound = heard(parts)
    assert not sound[:70].any()
    np.testing.assert_array_equal(sound[-100:], audio.frames(audio.decode(path))[-100:])
    [(seen, sounds)] = spans(parts)
    assert [min(seen), *sounds] == pytest.approx([4, 4, 6], abs=0.15)


def test_pictures_that_begin_later_keep_their_time(tmp_path: Path) -> None:
    shown = [33 + seconds for seconds in every(0.5, 5)]
    clip = Clip(shown, [beeps(38, [2, 34])], moments=[34], codecs=FORMATS["a.mkv"])
    parts = film.read(make(tmp_path / "a.mkv", clip), fps=2)
    assert kinds(parts) == "AVA"
    assert stamps(parts) == pytest.approx(shown)
    seen, sounds = spans(parts)[1]
    assert [*seen, *sounds] == pytest.approx([34, 34], abs=0.05)


def test_a_clock_that_does_not_start_at_zero(tmp_path: Path) -> None:
    shown = [100 + seconds for seconds in every(0.04, 3)]
    clip = Clip(shown, [beeps(3, [1])], starts=[100], moments=[101], codecs=FORMATS["a.ts"])
    path = make(tmp_path / "a.ts", clip)
    with av.open(path) as container:
        assert (container.start_time or 0) > 99_000_000
    parts = film.read(path, fps=25)
    assert stamps(parts)[0] == pytest.approx(0, abs=0.1)
    [(seen, sounds)] = spans(parts)
    assert seen[0] == pytest.approx(1, abs=0.1)
    assert sounds == pytest.approx([1], abs=0.1)


def test_a_rate_that_changes(tmp_path: Path) -> None:
    shown = [*every(0.1, 4), 40.0, 41.0, 42.0]
    clip = Clip(shown, [beeps(43, [2, 40])], moments=[2, 40], codecs=FORMATS["a.mkv"])
    parts = film.read(make(tmp_path / "a.mkv", clip), fps=100, max_frames=100)
    assert stamps(parts) == pytest.approx(shown)
    (seen, sounds), (late, last) = spans(parts)
    assert [min(seen), *sounds, *late, *last] == pytest.approx([2, 2, 40, 40], abs=0.05)


def test_sound_that_breaks_off_and_goes_on(tmp_path: Path) -> None:
    clip = Clip(every(0.1, 12), [beeps(2, [1]), beeps(2, [1])], starts=[0, 9], moments=[1, 10], codecs=FORMATS["a.mkv"])
    [(seen, sounds)] = spans(film.read(make(tmp_path / "a.mkv", clip), fps=10, max_frames=200))
    assert sounds == pytest.approx([1, 10], abs=0.05)
    assert {round(seconds) for seconds in seen if seconds % 1 < 0.05} == {1, 10}


def test_pictures_longer_than_sound_and_sound_longer_than_pictures(tmp_path: Path) -> None:
    longer = film.read(make(tmp_path / "a.mp4", Clip(every(0.5, 20), [noise(5)])), fps=2)
    assert kinds(longer) == "VAV"
    assert stamps(longer[:1]) == every(0.5, 5.5)[: len(stamps(longer[:1]))]
    assert stamps(longer) == every(0.5, 20)
    shorter = film.read(make(tmp_path / "b.mp4", Clip(every(0.5, 5), [noise(70)])), fps=2)
    assert kinds(shorter) == "VAAA"
    assert len(heard(shorter)) >= 70 * 25


def test_blocks_of_zeros_are_left_out_at_the_end_only(tmp_path: Path) -> None:
    sound = np.zeros(100 * RATE, np.float32)
    sound[40 * RATE : 41 * RATE] = noise(1)
    parts = film.read(make(tmp_path / "a.mkv", Clip(every(0.5, 100), [sound], codecs=FORMATS["a.mkv"])))
    assert kinds(parts) == "VAVAV"
    first, second = (part for part in parts if isinstance(part, Audio))
    assert not first.samples.any()
    assert np.flatnonzero(second.samples)[0] / 16000 == pytest.approx(10, abs=0.01)
