"""Frames of sound and choice, times and pixels of video frames against the published processors in transformers."""

from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import Gemma4UnifiedAudioFeatureExtractor
from transformers.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedProcessor
from transformers.video_utils import VideoMetadata, default_sample_indices_fn, read_video_pyav

from gemma_mlx.inputs import audio, video


@pytest.mark.parametrize("count", [1, 639, 640, 641, 16_000, 479_840, 480_000, 480_001])
def test_frames_equal_the_feature_extractor(count: int) -> None:
    samples = np.random.default_rng(count).uniform(-1, 1, count).astype(np.float32)
    reference = Gemma4UnifiedAudioFeatureExtractor()(samples, return_tensors="np")
    np.testing.assert_array_equal(audio.frames(samples), reference["input_features"][0])
    assert reference["input_features_mask"].sum() == len(audio.frames(samples))


def test_a_clip_within_the_limit_is_one_block_equal_to_the_feature_extractor() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 480_000).astype(np.float32)
    (block,) = audio.blocks(samples)
    np.testing.assert_array_equal(block, Gemma4UnifiedAudioFeatureExtractor()(samples)["input_features"][0])


@pytest.mark.parametrize("total", [32, 33, 63, 64, 65, 100, 719, 1800, 107_892])
@pytest.mark.parametrize("fps", [24.0, 25.0, 30.0, 30000 / 1001, 60.0])
def test_indices_and_times_equal_the_reference(total: int, fps: float) -> None:
    metadata = VideoMetadata(total_num_frames=total, fps=fps)
    metadata.frames_indices = default_sample_indices_fn(metadata, num_frames=32)
    indices = video.sample_indices(total, fps)
    assert indices == list(metadata.frames_indices)
    times = [index / fps for index in indices]
    assert times == metadata.timestamps
    assert [video.timestamp(seconds) for seconds in times] == prompt_times(metadata)


def prompt_times(metadata: VideoMetadata) -> list[str]:
    """The times that the reference writes into the prompt."""
    marks = SimpleNamespace(boi_token="", eoi_token="", video_token="")
    inputs = {"num_soft_tokens_per_video": [0], "video_metadata": [metadata]}
    return Gemma4UnifiedProcessor.replace_video_token(marks, inputs, 0).split()


@pytest.mark.parametrize(("rate", "count"), [(30, 100), (24, 32), (25, 700)])
def test_a_file_gives_the_frames_and_times_of_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, count: int
) -> None:
    path = tmp_path / "clip.mp4"
    rng = np.random.default_rng(0)
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"x264-params": "keyint=20:bframes=2"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(count):
            pixels = np.kron(rng.integers(0, 256, (4, 6, 3)), np.ones((16, 16, 1))).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        out.mux(stream.encode(None))
    monkeypatch.setattr(video, "resize", lambda pixels, max_soft_tokens: pixels)
    frames, times = video.read(path)
    expected, metadata = read_video_pyav(str(path), lambda metadata: default_sample_indices_fn(metadata, num_frames=32))
    np.testing.assert_array_equal(frames, expected)
    assert list(times) == metadata.timestamps
