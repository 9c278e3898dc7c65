"""Media as files: bit for bit, once each, and only as they were."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from gemma_mlx.errors import StoreError
from gemma_mlx.inputs.message import Audio, Image, Message, Part, Text, Video
from gemma_mlx.store.media import Media
from gemma_mlx.store.record import Medium, StoredPart
from tests.store.talk import picture, recording, same_messages, video


def round_trip(part: Part, directory: Path) -> Part:
    return Media(directory).load(Media(directory).store(part))


def stored(part: Part, directory: Path) -> Medium:
    found = Media(directory).store(part)
    assert isinstance(found, Medium)
    return found


@pytest.mark.parametrize(
    "part",
    [
        picture(),
        picture(1, 15, 18, "../../etc/passwd"),
        Image("black.png", np.zeros((48, 48, 3), np.uint8)),
        Image("a cut", picture(2, 4, 4).pixels[:96, 48:144]),
        recording(),
        recording(0, 1),
        Audio("none", np.zeros(0, np.float32)),
        Audio("odd", np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38, 7], np.float32)),
        Audio("every other", recording(0, 10).samples[::2]),
        video(),
        video(1),
        Text("text is no file \ud800"),
    ],
    ids=lambda part: part.name if not isinstance(part, Text) else "text",
)
def test_bit_for_bit(part: Part, tmp_path: Path) -> None:
    same_messages((Message("user", (round_trip(part, tmp_path),)),), (Message("user", (part,)),))


def test_other_programs_read_them(tmp_path: Path) -> None:
    seen, heard = picture(0, 2, 3), recording()
    with Pillow.open(tmp_path / stored(seen, tmp_path).files[0]) as image:
        assert np.array_equal(np.asarray(image), seen.pixels)
    with av.open(str(tmp_path / stored(heard, tmp_path).files[0])) as container:
        (stream,) = container.streams.audio
        assert (stream.rate, stream.format.name, stream.channels) == (16000, "flt", 1)
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
    assert np.array_equal(samples, heard.samples)


def test_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media, written = Media(tmp_path), list[str]()

    def record(path: Path, content: bytes) -> None:
        written.append(path.name)
        path.touch()

    monkeypatch.setattr("gemma_mlx.store.media.write", record)
    part = video()
    first = media.store(part)
    assert media.store(part) is first
    assert len(written) == 3
    media.store(picture(1))  # a frame of the video
    assert len(written) == 3
    media.store(Image("a copy", picture(9).pixels))
    media.store(Image("another copy", picture(9).pixels))
    assert len(written) == 4


def test_what_was_loaded_is_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, media = stored(picture(), tmp_path), Media(tmp_path)
    part = media.load(kept)
    monkeypatch.setattr("gemma_mlx.store.media._digest", lambda array: pytest.fail("hashed"))
    assert media.store(part) is kept


def test_a_known_part_is_forgotten_with_its_message(tmp_path: Path) -> None:
    media, part = Media(tmp_path), picture()
    media.store(part)
    assert len(media._stored) == 1
    del part
    assert len(media._stored) == 0


def test_the_same_values_in_another_shape_are_another_picture(tmp_path: Path) -> None:
    pixels = np.zeros((48, 96, 3), np.uint8)
    wide, tall = (stored(Image("a", each), tmp_path) for each in (pixels, pixels.reshape(96, 48, 3)))
    assert wide.files != tall.files


def fault(kept: StoredPart, directory: Path) -> str:
    with pytest.raises(StoreError) as found:
        Media(directory).load(kept)
    assert "\n" not in str(found.value)
    return str(found.value)


@pytest.mark.parametrize("part", [picture(), recording(), video()], ids=["image", "audio", "video"])
def test_damage(part: Image | Audio | Video, tmp_path: Path) -> None:
    kept = stored(part, tmp_path)
    path = tmp_path / kept.files[0]
    whole = path.read_bytes()
    other = stored(picture(7) if path.suffix == ".png" else recording(7), tmp_path)
    for content in (
        b"",
        whole[:40],
        whole[: len(whole) // 2],
        (tmp_path / other.files[0]).read_bytes(),
        b"x" * len(whole),
    ):
        path.write_bytes(content)
        assert fault(kept, tmp_path).startswith(f"{path} is damaged: put a copy back, or")
    path.unlink()
    assert fault(kept, tmp_path).startswith(f"{path} is gone: put it back, or")
    path.mkdir()
    assert fault(kept, tmp_path) == f"{path} cannot be read (Is a directory): check its permissions"


def test_what_no_message_has_is_deleted(tmp_path: Path) -> None:
    media = Media(tmp_path / "media")
    media.keep_only([])  # nothing is there yet
    one, two = stored(picture(1), tmp_path / "media"), stored(video(), tmp_path / "media")
    stored(recording(), tmp_path / "media")
    (tmp_path / "media" / "half.png.new").touch()
    media.keep_only([one, two])
    assert {path.name for path in (tmp_path / "media").iterdir()} == {*one.files, *two.files}
    media.keep_only([])
    assert list((tmp_path / "media").iterdir()) == []
