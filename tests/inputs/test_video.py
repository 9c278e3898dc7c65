"""Video files made here, whose frames carry their own number, against the choice and times they must give."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gemma_mlx.errors import InputError
from gemma_mlx.inputs import video

Picture = Callable[[int], np.ndarray]


def numbered(index: int) -> np.ndarray:
    """48 × 64 grey stripes that spell the index in binary, most significant bit left."""
    bits = [(index >> bit) & 1 for bit in range(7, -1, -1)]
    return np.repeat(np.repeat(np.array(bits, np.uint8) * 255, 8)[np.newaxis, :, np.newaxis], 48, 0).repeat(3, 2)


def number_of(frame: np.ndarray) -> int:
    """Read the stripes back from a frame of any size."""
    row = frame[frame.shape[0] // 2, :, 0]
    columns = (np.arange(8) * 2 + 1) * len(row) // 16
    return int("".join("1" if row[column] > 127 else "0" for column in columns), 2)


@dataclass(frozen=True)
class Clip:
    """How a test video is encoded."""

    rate: int = 30
    codec: str = "mpeg4"
    options: dict[str, str] = field(default_factory=dict)
    picture: Picture = numbered
    rotation: float | None = None


H264 = Clip(codec="libx264", options={"x264-params": "keyint=10:open-gop=1:bframes=3:scenecut=0"})
H265 = Clip(codec="libx265", options={"x265-params": "keyint=10:open-gop=1:bframes=3:log-level=none"})
VP9 = Clip(codec="libvpx-vp9", options={"g": "12", "lag-in-frames": "10", "deadline": "realtime"})
ALL_KEYS = Clip(options={"g": "1"})


def make(path: Path, count: int, clip: Clip = Clip()) -> Path:
    """Encode `count` pictures; the suffix chooses the container."""
    height, width, _ = clip.picture(0).shape
    with av.open(path, "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as out:
        stream = out.add_stream(clip.codec, rate=clip.rate, options=clip.options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(clip.codec, "yuv420p")
        if clip.rotation is not None:
            stream.set_display_rotation(clip.rotation)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(clip.picture(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, clip.rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def numbers(frames: Sequence[np.ndarray]) -> list[int]:
    return [number_of(frame) for frame in frames]


def test_32_uniform_frames_with_their_times(tmp_path: Path) -> None:
    frames, times = video.read(make(tmp_path / "a.mp4", 100))
    expected = [i * 100 // 32 for i in range(32)]
    assert numbers(frames) == expected
    assert times == tuple(index / 30 for index in expected)
    assert all(frame.dtype == np.uint8 and frame.shape == (336, 432, 3) for frame in frames)
    assert video.token_cost(frames) == 32 * 7 * 9 <= 32 * 70


def test_path_string_and_bytes_are_the_same(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 40)
    results = [video.read(source) for source in (path, str(path), path.read_bytes())]
    for frames, times in results[1:]:
        assert times == results[0][1]
        np.testing.assert_array_equal(frames, results[0][0])


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33])
def test_short_videos_are_taken_whole(tmp_path: Path, count: int) -> None:
    frames, _ = video.read(make(tmp_path / "a.mp4", count))
    assert numbers(frames) == list(range(min(count, 32)))


def test_max_frames_lowers_the_uniform_count_and_never_raises_it(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 100)
    assert numbers(video.read(path, max_frames=4)[0]) == [0, 25, 50, 75]
    assert numbers(video.read(path, max_frames=1)[0]) == [0]
    assert len(video.read(path, max_frames=50)[0]) == 32


def test_fps_takes_one_frame_each_interval(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 105)
    frames, times = video.read(path, fps=1)
    assert numbers(frames) == [0, 30, 60, 90]
    assert times == (0.0, 1.0, 2.0, 3.0)
    assert video.sampled_fps(times) == 1
    assert numbers(video.read(path, fps=0.5)[0]) == [0, 60]
    assert numbers(video.read(path, fps=0.01)[0]) == [0]
    assert numbers(video.read(path, fps=1000, max_frames=200)[0]) == list(range(105))


def test_fps_beyond_max_frames_spreads_over_the_whole_length(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 200, Clip(rate=2))
    frames, times = video.read(path, fps=1)
    assert numbers(frames) == [i * 200 // 60 for i in range(60)]
    assert times[-1] > 97
    assert 0.58 < (video.sampled_fps(times) or 0) < 0.61
    assert len(video.read(path, fps=1, max_frames=100)[0]) == 100
    assert len(video.read(path, fps=1, max_frames=99)[0]) == 99


def test_sample_indices_edges() -> None:
    assert video.sample_indices(0, 30) == [] == video.sample_indices(0, 30, 1)
    assert video.sample_indices(1, 30) == [0] == video.sample_indices(1, 30, 1)
    assert video.sample_indices(60 * 30, 30, 1) == list(range(0, 1800, 30))
    assert len(video.sample_indices(60 * 30 + 1, 30, 1)) == 60
    for total in range(1, 300, 7):
        for fps in (None, 0.3, 1, 7.7, 29.97, 1000):
            indices = video.sample_indices(total, 29.97, fps)
            assert indices[0] == 0
            assert indices == sorted(set(indices))
            assert indices[-1] < total
            if fps and len(indices) < 60:
                due = {int(k * max(1, 29.97 / fps)) for k in range(total)}
                assert indices == [index for index in range(total) if index in due]


CASES = {
    "gop.mp4": H264,
    "gop.mov": H264,
    "gop.mkv": H264,
    "gop.ts": H264,
    "gop.avi": H264,
    "raw.h264": H264,
    "hevc.mp4": H265,
    "vp9.webm": VP9,
    "plain.mp4": Clip(),
    "plain.avi": Clip(),
    "all_keys.mkv": Clip(codec="mjpeg"),
    "few_colours.gif": Clip(codec="gif"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("fps", "max_frames"), [(None, None), (None, 3), (10, None)])
def test_chosen_frames_equal_those_of_a_full_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fps: float | None, max_frames: int | None
) -> None:
    path = make(tmp_path / name, 90, CASES[name])
    monkeypatch.setattr(video, "resize", lambda pixels, max_soft_tokens: pixels)
    with av.open(path) as container:
        rate = float(container.streams.video[0].average_rate or 0)
        every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(every) == 90
    frames, _ = video.read(path, fps=fps, max_frames=max_frames)
    np.testing.assert_array_equal(frames, [every[i] for i in video.sample_indices(90, rate, fps, max_frames)])


def test_a_few_frames_of_a_long_video_do_not_decode_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "a.mp4", 240, Clip(options={"g": "10"}))
    content = bytearray(path.read_bytes())
    with av.open(path) as container:
        unneeded = [packet for packet in container.demux(video=0) if packet.size][15:115]
    for packet in unneeded:
        assert packet.pos is not None
        content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    monkeypatch.setattr(video, "_decode_all", None)
    frames, _ = video.read(bytes(content), max_frames=2)
    assert numbers(frames) == [0, 120]


def test_trimmed_recording_counts_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_decode_all", None)
    path = make(tmp_path / "a.mp4", 100, H264)
    content = bytearray(path.read_bytes())
    entry = content.find(b"elst") + 12
    _, media_time = struct.unpack(">Ii", content[entry : entry + 8])
    content[entry : entry + 8] = struct.pack(">Ii", 1000, media_time + 15360 * 35 // 30)
    frames, times = video.read(bytes(content))
    assert numbers(frames) == list(range(35, 65))
    assert times[-1] == 29 / 30


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotation_turns_pictures_upright(tmp_path: Path, rotation: int) -> None:
    def corner(index: int) -> np.ndarray:
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[:24, :32] = 255
        return pixels

    (frame,), _ = video.read(make(tmp_path / "a.mp4", 1, Clip(picture=corner, rotation=rotation)))
    height, width, _ = frame.shape
    assert (height > width) == (rotation in (90, -90))
    quarters = frame[height // 4 :: height // 2, width // 4 :: width // 2, 0] > 127
    expected = {0: [[1, 0], [0, 0]], 90: [[0, 0], [1, 0]], 180: [[0, 0], [0, 1]], -90: [[0, 1], [0, 0]]}
    assert quarters[:2, :2].astype(int).tolist() == expected[rotation]


def test_timestamp_edges() -> None:
    cases = {0.0: "00:00", 0.999: "00:00", 1.0: "00:01", 59.999: "00:59", 60.0: "01:00", 5999.0: "99:59"}
    assert {seconds: video.timestamp(seconds) for seconds in cases} == cases
    assert video.timestamp(6000) == "100:00"


def test_costs_and_rates_of_nothing_and_one() -> None:
    assert video.token_cost([]) == 0
    assert video.token_cost([np.zeros((48, 96, 3), np.uint8)]) == 2
    assert video.sampled_fps([]) is None
    assert video.sampled_fps([0.0]) is None
    assert video.sampled_fps([0.0, 2.0]) == 0.5


def test_faults_are_one_line_with_file_fault_and_next_step(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.mp4", 100, ALL_KEYS).read_bytes()
    files = {
        "empty.mp4": (b"", "is empty (0 bytes): "),
        "text.mp4": (b"no video\n" * 500, "is damaged or no known audio or video format "),
        "header.mp4": (whole[:200], "holds neither sound nor pictures: export"),
        "end_lost.mov": (make(tmp_path / "c.mov", 100).read_bytes()[:3000], "is damaged or no known audio or video "),
        "cut.mp4": (whole[: len(whole) * 2 // 3], "is damaged or cut off after "),
        "cut.avi": (make(tmp_path / "b.avi", 100).read_bytes()[:7000], "is damaged or cut off after "),
    }
    for name, (content, fault) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as error:
            video.read(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name} {fault}")
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"nowhere\.mp4 does not exist: check the path"):
        video.read(tmp_path / "nowhere.mp4")
    with pytest.raises(InputError, match=r"clip is damaged"):
        video.read(b"RIFF", name="clip")


def test_cut_between_two_frames_is_noticed(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 100, ALL_KEYS)
    with av.open(path) as container:
        start = [packet.pos for packet in container.demux(video=0) if packet.size][50]
    path.write_bytes(path.read_bytes()[:start])
    with pytest.raises(InputError, match="cut off after 50 of 100 frames: copy"):
        video.read(path)


def test_sound_and_cover_pictures_are_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mkv"
    with av.open(path, "w") as out:
        sound = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        tone.sample_rate = 16000
        out.mux(sound.encode(tone))
        out.mux(sound.encode(None))
    with pytest.raises(InputError, match=r"song\.mkv has no pictures: attach it as audio"):
        video.read(path)

    cover = tmp_path / "cover.m4a"
    with av.open(cover, "w", format="mp4") as out:
        picture = out.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        out.mux(picture.encode(av.VideoFrame.from_ndarray(numbered(1))))
        out.mux(picture.encode(None))
    with pytest.raises(InputError, match="has no pictures"):
        video.read(cover)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_fps_must_be_a_positive_number(tmp_path: Path, fps: float) -> None:
    with pytest.raises(InputError, match=r"fps is .*: give a number above 0"):
        video.read(tmp_path / "unread.mp4", fps=fps)


@pytest.mark.parametrize("max_frames", [0, -5])
def test_max_frames_must_be_positive(tmp_path: Path, max_frames: int) -> None:
    with pytest.raises(InputError, match=f"max frames is {max_frames}: give a number from 1 up"):
        video.read(tmp_path / "unread.mp4", max_frames=max_frames)


def test_huge_frames_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "a.mp4", 2)
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 48)
    assert len(video.read(path)[0]) == 2
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(InputError, match="frames of 64x48 pixels, more than the 3071 supported: scale"):
        video.read(path)
