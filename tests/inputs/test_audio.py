"""Sound files of many kinds against the samples they were made from, and block cutting against its definition."""

import io
import socket
import struct
import threading
import tracemalloc
import wave
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.fifo import AudioFifo

from gemma_mlx.errors import InputError
from gemma_mlx.inputs import audio

RATE = audio.SAMPLE_RATE


def pcm_wav(values: np.ndarray, rate: int = RATE) -> bytes:
    """A 16-bit WAV of int16 `(n,)` or `(n, channels)`."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1 if values.ndim == 1 else values.shape[1], 2, rate, 0, "NONE", ""))
        out.writeframes(np.ascontiguousarray(values, "<i2").tobytes())
    return file.getvalue()


def raw_wav(data: bytes, *, tag: int, bits: int, channels: int = 1, rate: int = RATE) -> bytes:
    """A WAV header around raw sample bytes: tag 1 for integers, 3 for floats."""
    step = channels * bits // 8
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * step, step, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def float_wav(values: Sequence[float] | np.ndarray, rate: int = RATE) -> bytes:
    return raw_wav(np.asarray(values, "<f4").tobytes(), tag=3, bits=32, rate=rate)


def sine(seconds: float, rate: int, hertz: float = 440) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encode(samples: np.ndarray, rate: int, container: str, codec: str, frame: int) -> bytes:
    """Encode float32 mono samples with PyAV."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        source = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        source.sample_rate, source.pts = rate, 0
        fifo = AudioFifo()
        for part in av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate).resample(source):
            fifo.write(part)
        position = 0
        while (piece := fifo.read(frame, partial=True)) is not None:
            piece.pts, position = position, position + piece.samples
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return file.getvalue()


def test_16_bit_16_khz_mono_is_exact_from_path_string_and_bytes(tmp_path: Path) -> None:
    values = np.arange(-32768, 32768).astype(np.int16)
    path = tmp_path / "all.wav"
    path.write_bytes(pcm_wav(values))
    for source in (path, str(path), path.read_bytes()):
        samples = audio.decode(source)
        assert samples.dtype == np.float32
        assert samples.flags.c_contiguous
        np.testing.assert_array_equal(samples, values / np.float32(32768))


def test_other_integer_depths_are_exact() -> None:
    unsigned = np.arange(256, dtype=np.uint8)
    samples = audio.decode(raw_wav(unsigned.tobytes(), tag=1, bits=8))
    np.testing.assert_array_equal(samples, (unsigned.astype(np.float32) - 128) / 128)

    deep = np.array([-(2**23), -1, 0, 1, 12345, 2**23 - 1], "<i4")
    packed = b"".join(value.tobytes()[:3] for value in deep)
    samples = audio.decode(raw_wav(packed, tag=1, bits=24))
    np.testing.assert_array_equal(samples, (deep / 2**23).astype(np.float32))

    samples = audio.decode(raw_wav((deep * 256).astype("<i4").tobytes(), tag=1, bits=32))
    np.testing.assert_array_equal(samples, (deep / 2**23).astype(np.float32))


def test_channels_are_averaged_without_gain() -> None:
    rng = np.random.default_rng(0)
    stereo = rng.integers(-32768, 32768, (5000, 2)).astype(np.int16)
    np.testing.assert_array_equal(audio.decode(pcm_wav(stereo)), (stereo.mean(axis=1) / 32768).astype(np.float32))
    six = rng.integers(-32768, 32768, (5000, 6)).astype(np.int16)
    np.testing.assert_array_equal(audio.decode(pcm_wav(six)), (six.mean(axis=1) / 32768).astype(np.float32))
    same = np.repeat(stereo[:, :1], 2, axis=1)
    np.testing.assert_array_equal(audio.decode(pcm_wav(same)), audio.decode(pcm_wav(stereo[:, 0])))


def test_float_samples_are_kept_even_beyond_one() -> None:
    values = np.array([0, 0.25, -1, 1, 1.5, -3, 65536], np.float32)
    np.testing.assert_array_equal(audio.decode(float_wav(values)), values)
    doubles = raw_wav(values.astype("<f8").tobytes(), tag=3, bits=64)
    np.testing.assert_array_equal(audio.decode(doubles), values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 65537.0, -1e30])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_samples_that_are_no_sound_are_refused(bad: float, rate: int) -> None:
    values = np.zeros(3 * rate, np.float32)
    values[2 * rate + 5] = bad
    with pytest.raises(
        InputError, match=r"song.wav holds samples that are NaN or larger .* after [12]\.\d s: export it again"
    ):
        audio.decode(float_wav(values, rate), name="song.wav")


def test_double_too_large_for_float32_is_refused_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(InputError, match="NaN or larger than 65536"):
        audio.decode(raw_wav(np.array([1e300]).tobytes(), tag=3, bits=64))
    assert not recwarn.list


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_keeps_length_time_and_amplitude(rate: int) -> None:
    samples = audio.decode(float_wav(sine(2, rate, 3000), rate))
    assert len(samples) == 2 * RATE
    np.testing.assert_allclose(samples[500:-500], sine(2, RATE, 3000)[500:-500], atol=2e-5)
    np.testing.assert_allclose(samples, sine(2, RATE, 3000), atol=0.3)


def test_resampling_lets_no_higher_frequency_through() -> None:
    for hertz in (8_300, 9_000, 15_000, 23_000):
        assert np.abs(audio.decode(float_wav(sine(1, 48_000, hertz), 48_000))[500:-500]).max() < 1e-4


@pytest.mark.parametrize("rate", [8_000, 16_001, 22_222, 44_100, 96_000])
@pytest.mark.parametrize("count", [1, 2, 7, 100, 1001, 44_101])
def test_resampled_length_is_exact_for_the_shortest_clips(rate: int, count: int) -> None:
    samples = audio.decode(pcm_wav(np.full(count, 9000), rate))
    assert len(samples) == -(-count * RATE // rate)


def test_compressed_files() -> None:
    lossy = [("mp3", "libmp3lame", 44_100, 1152), ("mp4", "aac", 44_100, 1024), ("ogg", "libopus", 48_000, 960)]
    for container, codec, rate, frame in [*lossy, ("flac", "flac", 44_100, 4096), ("flac", "flac", 16_000, 4096)]:
        samples = audio.decode(encode(sine(2, rate), rate, container, codec, frame))
        assert 2 * RATE <= len(samples) <= 2 * RATE + 1024
        tolerance = 5e-5 if codec == "flac" else 0.03
        np.testing.assert_allclose(samples[800 : 2 * RATE - 800], sine(2, RATE)[800:-800], atol=tolerance)


def test_sound_track_of_a_video_and_a_video_without(tmp_path: Path) -> None:
    values = np.arange(3200, dtype=np.int16)
    tone = av.AudioFrame.from_ndarray(values[np.newaxis], format="s16", layout="mono")
    tone.sample_rate = RATE
    for name, sounds in {"talk.mkv": [tone], "mute.mkv": []}.items():
        with av.open(tmp_path / name, "w") as out:
            picture = out.add_stream("mpeg4", rate=10)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            tracks = [out.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in sounds]
            for frame in (av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8)), None):
                out.mux(picture.encode(frame))
            for track, sound in zip(tracks, sounds, strict=True):
                out.mux(track.encode(sound))
    np.testing.assert_array_equal(audio.decode(tmp_path / "talk.mkv"), values / np.float32(32768))
    with pytest.raises(InputError, match=r"mute\.mkv has no sound track: attach"):
        audio.decode(tmp_path / "mute.mkv")


def test_silence_and_one_sample_are_sound() -> None:
    assert not audio.decode(pcm_wav(np.zeros(RATE))).any()
    one = audio.decode(pcm_wav(np.array([16384])))
    np.testing.assert_array_equal(audio.frames(one), [[0.5] + [0.0] * 639])


def test_faults_are_one_line_with_file_fault_and_next_step(tmp_path: Path) -> None:
    unknown = "is damaged or no known audio or video format"
    files = {
        "empty.wav": (b"", "is empty (0 bytes): save"),
        "text.wav": (b"this is no recording\n" * 100, unknown),
        "header.wav": (b"RIFF", unknown),
        "none.wav": (pcm_wav(np.zeros(0)), "holds no sound samples: record"),
        "cut.flac": (encode(sine(2, RATE), RATE, "flac", "flac", 4096)[:5000], unknown),
    }
    for name, (content, expected) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as fault:
            audio.decode(tmp_path / name)
        message = str(fault.value)
        assert message.startswith(f"{tmp_path / name} {expected}")
        assert "\n" not in message
    with pytest.raises(InputError, match=r"nowhere\.wav does not exist: check the path"):
        audio.decode(tmp_path / "nowhere.wav")
    with pytest.raises(InputError, match="is a directory: give one of its files"):
        audio.decode(tmp_path)
    with pytest.raises(InputError, match="attachment of 4 bytes is damaged"):
        audio.decode(b"RIFF")


def test_playlist_reaches_neither_network_nor_other_files(tmp_path: Path) -> None:
    (tmp_path / "other.wav").write_bytes(pcm_wav(np.arange(1000)))
    asked = threading.Event()

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        asked.set()
        connection.close()
        server.close()

    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=answer, args=[server], daemon=True).start()
    address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
    playlists = {
        "net.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": "ffconcat version 1.0\nfile 'other.wav'\n",
    }
    for name, content in playlists.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=name):
            audio.decode(tmp_path / name)
    assert not asked.is_set()
    socket.create_connection(server.getsockname()).close()


def test_too_long_a_recording_is_refused_and_the_limit_itself_is_not() -> None:
    assert len(audio.decode(pcm_wav(np.zeros(2 * RATE)), max_seconds=2)) == 2 * RATE
    with pytest.raises(InputError, match=r"is longer than 2 s: cut it"):
        audio.decode(pcm_wav(np.zeros(2 * RATE + 1)), max_seconds=2)


def test_memory_is_the_result_and_little_more(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(pcm_wav(np.zeros((8000 * 240, 2)), 8000))
    audio.decode(path, max_seconds=300)
    tracemalloc.start()
    samples = audio.decode(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(samples) == 240 * RATE
    assert peak < 2.3 * samples.nbytes


@pytest.mark.parametrize(("count", "rows"), [(0, 0), (1, 1), (639, 1), (640, 1), (641, 2), (1280, 2)])
def test_frames_edges(count: int, rows: int) -> None:
    samples = np.arange(1, count + 1, dtype=np.float32)
    result = audio.frames(samples)
    assert result.shape == (rows, 640)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result.ravel()[:count], samples)
    assert not result.ravel()[count:].any()


def test_blocks_of_even_sound_are_as_long_as_the_limit_and_the_last_is_not_tiny() -> None:
    sizes = {29.99: [750], 30.00: [750], 30.04: [626, 125], 34.96: [749, 125], 35.00: [750, 125], 60.00: [750, 750]}
    for seconds, expected in {**sizes, 95.00: [750, 750, 750, 125]}.items():
        samples = np.zeros(round(seconds * RATE), np.float32)
        assert [len(block) for block in audio.blocks(samples)] == expected


def test_blocks_of_nothing_and_of_one_sample() -> None:
    assert audio.blocks(np.zeros(0, np.float32)) == []
    assert [len(block) for block in audio.blocks(np.ones(1, np.float32))] == [1]
    with pytest.raises(ValueError, match="max_tokens"):
        audio.blocks(np.zeros(1, np.float32), 0)


@pytest.mark.parametrize("pause", [625, 626, 700, 749, 750])
def test_cut_falls_into_the_pause(pause: int) -> None:
    rng = np.random.default_rng(1)
    sound = rng.uniform(-0.5, 0.5, (1100, 640)).astype(np.float32)
    sound[pause - 1 : pause + 1] *= 1e-3
    assert [len(block) for block in audio.blocks(sound.ravel())] == [pause, 1100 - pause]


def quietest_by_definition(rest: np.ndarray, max_tokens: int) -> int:
    margin = max_tokens // 6
    last = min(max_tokens, len(rest) - margin)
    candidates = range(last, max(1, last - margin) - 1, -1)
    return min(candidates, key=lambda cut: np.sum(rest[cut - 1 : cut + 1].astype(np.float64) ** 2))


@pytest.mark.parametrize("seed", range(60))
def test_blocks_concatenate_to_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    max_tokens = int(rng.choice([1, 2, 5, 6, 7, 13, 60, 750]))
    samples = rng.standard_normal(rng.integers(0, 640 * max_tokens * 5)).astype(np.float32)
    samples *= np.repeat(rng.uniform(0, 1, len(samples) // 500 + 1), 500)[: len(samples)].astype(np.float32)
    whole = audio.frames(samples)
    result = audio.blocks(samples, max_tokens)
    assert all(1 <= len(block) <= max_tokens for block in result)
    np.testing.assert_array_equal(np.concatenate([np.zeros((0, 640), np.float32), *result]), whole)
    if len(result) > 1:
        assert len(result[-1]) >= max_tokens // 6
    for block in result[:-1]:
        assert len(block) == quietest_by_definition(whole, max_tokens)
        whole = whole[len(block) :]
