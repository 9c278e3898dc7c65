"""Cuts of long sound against all cuts that there are, live against file, and the limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_mlx.capture import cutting
from gemma_mlx.inputs import audio

FEW = st.integers(0, 3)  # so that there are ties


@given(st.lists(FEW, min_size=8, max_size=20), st.integers(1, 7), st.integers(0, 6))
def test_the_cut_is_the_quietest_of_all(levels: list[int], most: int, search: int) -> None:
    search = min(search, most - 1)
    beside = {at: levels[at - 1] + levels[at] for at in range(most - search, most + 1)}
    quietest = min(beside.values())
    assert cutting.cut(levels, most, search) == max(at for at in beside if beside[at] == quietest)


@given(st.lists(FEW, max_size=60), st.integers(1, 9), st.integers(0, 8))
def test_cuts_while_it_is_heard_are_those_of_the_file(levels: list[int], most: int, search: int) -> None:
    search = min(search, most - 1)
    live, pending = list[int](), list[int]()
    for level in levels:
        pending.append(level)
        if len(pending) > most:
            at = cutting.cut(pending, most, search)
            live.append((live[-1] if live else 0) + at)
            pending = pending[at:]
    assert cutting.cuts(levels, most, search) == live
    lengths = np.diff([0, *live, len(levels)])
    assert all(most - search <= length <= most for length in lengths[:-1])
    assert lengths[-1] <= most


def test_levels_are_the_energy_of_frames() -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 640 * 3, np.int16)
    expected = [sum(int(s) ** 2 for s in samples[i : i + 640]) for i in range(0, len(samples), 640)]
    np.testing.assert_array_equal(cutting.levels(samples), expected)
    np.testing.assert_array_equal(cutting.levels(samples[:0]), [])
    scaled = cutting.levels(samples.astype(np.float32) / 32768)
    np.testing.assert_allclose(scaled * 32768.0**2, expected, rtol=1e-12)


def test_thirty_seconds_are_cut_in_the_pause() -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, 640 * 800, np.int16)
    samples[640 * 700 : 640 * 705] //= 100
    levels = cutting.levels(samples)
    assert cutting.cuts(levels[:750]) == []
    assert cutting.cuts(levels[:751]) == cutting.cuts(levels)
    (at,) = cutting.cuts(levels)
    assert 700 < at < 705
    assert (cutting.MOST_FRAMES, cutting.FRAME_SAMPLES) == (audio.MAX_BLOCK_TOKENS, audio.FRAME_SAMPLES)


@pytest.mark.parametrize(("count", "most", "search"), [(5, 5, 1), (0, 1, 0), (9, 5, 5), (9, 5, -1), (9, 0, 0)])
def test_what_cannot_be_cut(count: int, most: int, search: int) -> None:
    with pytest.raises(ValueError, match=r"no cut|takes 0 to"):
        cutting.cut([1] * count, most, search)
