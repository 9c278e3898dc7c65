"""Messages as values, and `open` of each medium against the function that it hands over to."""

import io
import wave
from dataclasses import FrozenInstanceError
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from gemma_mlx.errors import InputError
from gemma_mlx.inputs import audio, image, video
from gemma_mlx.inputs.message import Audio, Image, Message, Text, Video


def picture_file(path: Path) -> Path:
    Pillow.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(path)
    return path


def sound_file(path: Path, samples: int = 1000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((np.arange(samples) % 100 * 300).astype("<i2").tobytes())
    return path


def video_file(path: Path, frames: int = 3) -> Path:
    with av.open(path, "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for value in range(frames):
            picture = np.full((48, 64, 3), value * 40, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    return path


def test_the_text_of_a_message() -> None:
    message = Message("user", (Text("a "), Image("b", np.zeros((48, 48, 3), np.uint8)), Text("c")))
    assert message.text == "a c"
    assert message.thinking is None
    assert Message("user", ()).text == ""


def test_a_message_of_text() -> None:
    message = Message.of("assistant", "hi")
    assert (message.role, message.text, len(message.parts)) == ("assistant", "hi", 1)


def test_values_do_not_change_and_differ_by_identity() -> None:
    part = Text("a")
    with pytest.raises(FrozenInstanceError):
        part.text = "b"  # type: ignore[misc]
    assert part != Text("a")
    sound = Audio("a", np.zeros(3, np.float32))
    assert sound != Audio("a", np.zeros(3, np.float32))
    assert {part, sound}


@pytest.mark.parametrize("budget", image.BUDGETS)
def test_open_a_picture(budget: int, tmp_path: Path) -> None:
    path = picture_file(tmp_path / "a.png")
    opened = Image.open(path, max_soft_tokens=budget)
    assert opened.name == str(path)
    assert np.array_equal(opened.pixels, image.resize(image.decode(path), budget))
    assert 0.7 * budget < opened.pixels.shape[0] * opened.pixels.shape[1] / 48**2 <= budget


def test_open_a_picture_without_a_file(tmp_path: Path) -> None:
    data = picture_file(tmp_path / "a.png").read_bytes()
    assert Image.open(data).name == f"attachment of {len(data)} bytes"
    with Pillow.open(io.BytesIO(data)) as picture:
        opened = Image.open(picture)
    assert opened.name == "picture of 5x4 pixels"
    assert np.array_equal(opened.pixels, Image.open(data).pixels)


def test_a_picture_at_another_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="100 soft tokens"):
        Image.open(picture_file(tmp_path / "a.png"), max_soft_tokens=100)


def test_open_a_recording(tmp_path: Path) -> None:
    path = sound_file(tmp_path / "a.wav")
    opened = Audio.open(path)
    assert opened.name == str(path)
    assert np.array_equal(opened.samples, audio.decode(path))
    (block,) = opened.blocks()
    assert np.array_equal(block, audio.blocks(opened.samples)[0])
    assert block.shape == (2, 640)
    assert Audio.open(path.read_bytes()).name == f"attachment of {path.stat().st_size} bytes"


def test_open_a_video(tmp_path: Path) -> None:
    path = video_file(tmp_path / "a.mp4", 5)
    opened = Video.open(path)
    assert opened.name == str(path)
    assert opened.timestamps == (0.0, 0.1, 0.2, 0.3, 0.4)
    frames, _ = video.read(path)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(opened.frames, frames, strict=True))
    assert Video.open(path, fps=5).timestamps == (0.0, 0.2, 0.4)
    assert Video.open(path.read_bytes(), max_frames=2).timestamps == (0.0, 0.2)


@pytest.mark.parametrize("medium", [Image, Audio, Video])
def test_faults_name_the_file(medium: type[Image | Audio | Video], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{tmp_path}/no does not exist: check the path$"):
        medium.open(tmp_path / "no")
