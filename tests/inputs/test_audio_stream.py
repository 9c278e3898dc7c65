"""Sound files read packet by packet: the same samples, the same faults, no more memory for a longer file."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from gemma_mlx.errors import InputError
from gemma_mlx.inputs import audio
from tests.command import hum, write_wav


@pytest.mark.parametrize("rate", [16000, 44100])
def test_chunks_are_the_recording(tmp_path: Path, rate: int) -> None:
    path = write_wav(tmp_path / "a.wav", hum(3, rate), rate)
    found = list(audio.chunks(path))
    assert len(found) > 3
    np.testing.assert_array_equal(np.concatenate(found), audio.decode(path))


def test_faults_come_where_they_are(tmp_path: Path) -> None:
    empty = write_wav(tmp_path / "none.wav", np.zeros(0))
    with pytest.raises(InputError, match=r"none\.wav holds no sound samples"):
        next(audio.chunks(empty))
    with pytest.raises(InputError, match="call me so does not exist"):
        next(audio.chunks(tmp_path / "nowhere.wav", name="call me so"))


def test_a_reader_that_stops_early_closes_the_file(tmp_path: Path) -> None:
    found = audio.chunks(write_wav(tmp_path / "a.wav", hum(3)))
    assert len(next(found))
    found.close()  # type: ignore[attr-defined]


def test_memory_does_not_grow(tmp_path: Path) -> None:
    def peak(seconds: int) -> int:
        path = write_wav(tmp_path / f"{seconds}.wav", np.zeros(16000 * seconds))
        tracemalloc.start()
        for _ in audio.chunks(path):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(60) < peak(6) + 50_000


def test_duration(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", hum(2.5))
    assert audio.duration(path) == pytest.approx(2.5)
    assert audio.duration(path.read_bytes()) == pytest.approx(2.5)
    with pytest.raises(InputError, match="does not exist"):
        audio.duration(tmp_path / "nowhere.wav")
