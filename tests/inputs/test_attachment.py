"""Files whose name says nothing, against the kind that they must be taken for."""

import io
import wave
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from gemma_mlx.errors import InputError
from gemma_mlx.inputs.attachment import open_attachment
from gemma_mlx.inputs.message import Audio, Image, Video


def picture(file_format: str, frames: int = 1) -> bytes:
    stream = io.BytesIO()
    pages = [Pillow.new("RGB", (16, 16), (index * 50, 0, 0)) for index in range(frames)]
    pages[0].save(stream, file_format, **({"save_all": True, "append_images": pages[1:]} if frames > 1 else {}))
    return stream.getvalue()


def media(container: str, sound: str | None = None, moving: str | None = None, frames: int = 30) -> bytes:
    """A file with one second of sound, or `frames` pictures of 64 x 48, or both."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=container) as out:
        pictures = out.add_stream(moving, rate=10) if moving else None
        track = out.add_stream(sound, rate=48_000) if sound else None
        if isinstance(pictures, av.VideoStream):
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
            for index in range(frames):
                pixels = np.full((48, 64, 3), index * 5, np.uint8)
                out.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            out.mux(pictures.encode())
        if isinstance(track, av.AudioStream):
            tone = (9000 * np.sin(np.arange(48_000) / 20)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(tone[np.newaxis], format="s16", layout="mono")
            frame.sample_rate = 48_000
            out.mux(track.encode(frame))
            out.mux(track.encode())
    return stream.getvalue()


@pytest.mark.parametrize("suffix", ["", ".mp3", ".mp4"])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM"])
def test_pictures(file_format: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(picture(file_format))
    opened = open_attachment(path)
    assert isinstance(opened, Image)
    assert opened.name == str(path)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_an_animation_is_its_first_picture(file_format: str) -> None:
    opened = open_attachment(picture(file_format, frames=3))
    assert isinstance(opened, Image)
    assert opened.pixels.max() < 5


@pytest.mark.parametrize("suffix", ["", ".png", ".mp4"])
@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("wav", "pcm_s16le"),
        ("mp3", "libmp3lame"),
        ("ipod", "aac"),
        ("adts", "aac"),
        ("flac", "flac"),
        ("ogg", "libopus"),
        ("aiff", "pcm_s16be"),
        ("caf", "pcm_s16le"),
        ("au", "pcm_s16be"),
        ("mp4", "aac"),
        ("webm", "libopus"),
    ],
)
def test_recordings(container: str, codec: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(media(container, codec))
    opened = open_attachment(path)
    assert isinstance(opened, Audio)
    assert 15_900 < len(opened.samples) < 17_500


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize(
    ("container", "codec", "sound_codec"),
    [
        ("mp4", "mpeg4", "aac"),
        ("mov", "libx264", "aac"),
        ("matroska", "libx264", "libopus"),
        ("webm", "libvpx", "libopus"),
        ("avi", "mpeg4", "libmp3lame"),
        ("mpegts", "mpeg2video", "aac"),
    ],
)
def test_videos(container: str, codec: str, sound_codec: str, sound: bool) -> None:
    opened = open_attachment(media(container, sound_codec if sound else None, codec))
    assert isinstance(opened, Video)
    assert len(opened.frames) == 30


def test_two_pictures_move_and_one_does_not() -> None:
    assert isinstance(open_attachment(media("mp4", None, "mpeg4", 2)), Video)
    assert isinstance(open_attachment(media("mp4", "aac", "mpeg4", 1)), Audio)
    with pytest.raises(InputError, match="holds a single picture in a format that is not supported: export it as PNG"):
        open_attachment(media("mp4", None, "mpeg4", 1))


def test_the_cover_of_a_recording_is_no_video() -> None:
    cover = picture("JPEG")
    frame = b"image/jpeg\0\x03\0" + cover
    apic = b"APIC" + (len(frame) + 1).to_bytes(4, "big") + b"\0\0\0" + frame
    size = len(apic)
    syncsafe = bytes((size >> shift) & 127 for shift in (21, 14, 7, 0))
    opened = open_attachment(b"ID3\x03\0\0" + syncsafe + apic + media("mp3", "libmp3lame"))
    assert isinstance(opened, Audio)


def test_options_reach_the_medium() -> None:
    shown = open_attachment(picture("PNG"), max_soft_tokens=70)
    assert isinstance(shown, Image)
    assert shown.pixels.size == 64 * 48 * 48 * 3
    clip = media("mp4", None, "mpeg4")
    for part, count in ((open_attachment(clip, fps=2), 6), (open_attachment(clip, max_frames=4), 4)):
        assert isinstance(part, Video)
        assert len(part.frames) == count


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a", "hello")
    return stream.getvalue()


UNKNOWN = r"is damaged or no known picture, sound or video: export it as PNG, JPEG, WAV, MP3 or MP4$"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", r"is empty \(0 bytes\): save or download it again$"),
        (b"hello\n", "is text, not a picture, sound or video: put its text into the message itself$"),
        ("é".encode() * 3000, "is text"),
        (b"x" + "é".encode() * 3000, "is text"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "is text"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is text"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "is a PDF document: export its pages as PNG and attach those$"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "HEIC format, .*sips -s format jpeg"),
        (archive(), UNKNOWN),
        (bytes(5000), UNKNOWN),
        (np.random.default_rng(0).bytes(5000), UNKNOWN),
        ("text".encode("utf-16"), UNKNOWN),
        (picture("PNG")[:50], r"is damaged or cut off \(.*\): copy it again, or export it as PNG or JPEG$"),
        (media("mp4", None, "mpeg4")[:600], UNKNOWN),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_everything_else_is_refused_in_a_line(content: bytes, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "file.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=fault) as caught:
        open_attachment(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist: check the path"):
        open_attachment(tmp_path / "no.png")
    with pytest.raises(InputError, match="is a directory: give one of its files"):
        open_attachment(tmp_path)


def test_a_silent_wave_file_is_answered_by_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
    with pytest.raises(InputError, match="no sound samples"):
        open_attachment(path)
