"""What a video takes with its sound, where the sound is left out, and what becomes of it in a prompt."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer

from gemma_mlx.errors import InputError
from gemma_mlx.inputs import audio, film, video
from gemma_mlx.inputs.attachment import Reading, open_attachment, open_attachments
from gemma_mlx.inputs.message import Audio, Image, Message, Part, Text, Video
from gemma_mlx.inputs.prompt import Prompt, PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import load_tokenizer
from tests.inputs.films import RATE, Clip, cost, every, kinds, make, noise, stamps
from tests.inputs.prompts import DEMO, demo_config


def test_a_video_without_sound_or_with_a_silent_one_is_one_part_as_ever(tmp_path: Path) -> None:
    moments = [0.0, 1.5]
    mute = make(tmp_path / "a.mkv", Clip(every(0.1, 3), moments=moments))
    silence = np.zeros(3 * RATE, np.float32)
    silent = make(tmp_path / "b.mkv", Clip(every(0.1, 3), [silence], codecs=("mpeg4", "pcm_s16le"), moments=moments))
    for path in (mute, silent):
        expected = Video.open(path, fps=2)
        for parts in (film.read(path, fps=2, most_tokens=1000), open_attachments(path, Reading(fps=2))):
            [part] = parts
            assert isinstance(part, Video)
            assert (part.name, part.timestamps) == (expected.name, expected.timestamps)
            np.testing.assert_array_equal(part.frames, expected.frames)


def test_the_limit_itself_fits_and_one_less_leaves_the_sound_out(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Clip(every(0.5, 40), [noise(40)]))
    whole = film.read(path, fps=0.5)
    told: list[str] = []
    fitting = film.read(path, fps=0.5, most_tokens=cost(whole), notice=told.append)
    assert kinds(fitting) == kinds(whole) == "VAVA"
    assert told == []
    for most in (cost(whole) - 1, 0):
        [pictures] = film.read(path, fps=0.5, most_tokens=most, notice=told.append)
        assert isinstance(pictures, Video)
        assert pictures.timestamps == tuple(video.read(path, fps=0.5)[1])
    left = f"{cost(whole) - 1 - cost([pictures]):,}"
    assert told[0] == (
        f"only the pictures are read, no sound: {path} has more sound than the {left} tokens that the context has left "
        "for it: cut it into shorter files, or raise --context"
    )
    assert "than the 0 tokens" in told[1]
    with pytest.raises(InputError, match="has more sound than"):
        film.read(path, fps=0.5, most_tokens=cost(whole) - 1)


def test_sound_that_is_far_too_long_is_not_decoded_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "a.mp4", Clip(every(0.5, 2), [noise(60)]))
    times, decoded = film._times, list[Fraction]()

    def counted(container: InputContainer, stream: av.AudioStream) -> Iterator[tuple[Fraction | None, Fraction]]:
        for time, seconds in times(container, stream):
            decoded.append(seconds)
            yield time, seconds

    monkeypatch.setattr(film, "_times", counted)
    monkeypatch.setattr(audio, "decode", None)
    with pytest.raises(InputError, match="has more sound than the 100 tokens"):
        film.read(path, fps=1, most_tokens=2 * 72 + 100)
    assert 4 < sum(decoded) < 4.1


def test_damaged_sound_leaves_the_pictures(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Clip(every(0.5, 5), [noise(5)], options={"movflags": "faststart"}))
    content = bytearray(path.read_bytes())
    with av.open(path) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size][20:]
    for packet in packets:
        assert packet.pos is not None
        content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    told: list[str] = []
    [part] = film.read(bytes(content), name="a.mp4", notice=told.append)
    assert isinstance(part, Video)
    [line] = told
    assert line.startswith("only the pictures are read, no sound: a.mp4 is damaged or no known audio")
    with pytest.raises(InputError, match=r"^a\.mp4 is damaged"):
        film.read(bytes(content), name="a.mp4")


def test_frames_are_limited_as_without_sound(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Clip(every(0.1, 20), [noise(20)]))
    assert [len(stamps(film.read(path))), len(stamps(film.read(path, max_frames=3)))] == [32, 3]
    assert [len(stamps(film.read(path, fps=1))), len(stamps(film.read(path, fps=10)))] == [20, 60]
    with pytest.raises(InputError, match="max frames is 0"):
        film.read(path, max_frames=0)


def test_attachments_are_read_by_what_they_are(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Clip(every(0.5, 35), [noise(35)]))
    assert kinds(open_attachments(path)) == "VAVA"
    assert len(stamps(open_attachments(path, Reading(max_frames=4)))) == 4
    assert kinds(open_attachments(path, Reading(sound=False))) == "V"
    assert isinstance(open_attachment(path), Video)
    with pytest.raises(InputError, match="has more sound"):
        open_attachments(path, Reading(most_tokens=600))
    told: list[str] = []
    assert kinds(open_attachments(path, Reading(most_tokens=600), notice=told.append)) == "V"
    assert len(told) == 1
    samples = DEMO.parent / "samples"
    for sample in samples.glob("*.*"):
        if sample.suffix in (".png", ".wav"):
            [part] = open_attachments(sample, Reading(max_soft_tokens=70))
            assert isinstance(part, Image if sample.suffix == ".png" else Audio)
            assert not isinstance(part, Image) or part.pixels.size // 6912 <= 70


def test_the_parts_of_a_picture_are_one_attachment() -> None:
    def sizes(*names: str) -> list[int]:
        shown = (Image(name, np.zeros((48, 48, 3), np.uint8)) for name in names)
        return [len(group) for group in film.by_file(list(shown))]

    cut = ("a.png, part 1 of 2", "a.png, part 2 of 2", "a.png, overview")
    assert sizes(*cut) == [3]
    assert sizes(*cut, *cut) == [3, 3]
    assert sizes("a.png", *cut, "a.png") == [1, 3, 1]
    assert sizes(*cut, "b.png, part 1 of 1", "b.png, overview") == [3, 2]
    assert sizes("b.png, part 1 of 1", "b.png, overview", *cut) == [2, 3]
    assert sizes("a.png, part 1 of 1", "b.png, part 1 of 1") == [1, 1]
    assert sizes("a.png", "a.png, overview") == [1, 1]
    assert sizes("book, part 1.jpg", "book, part 2.jpg") == [1, 1]
    assert sizes("a.png, part 1 of 2", "a.png, overview") == [1, 1]
    assert sizes("a.png, part 1 of 2", "a.png, part 1 of 2") == [1, 1]


def test_the_parts_of_a_film_are_one_attachment() -> None:
    frame = np.zeros((48, 48, 3), np.uint8)

    def shown(*seconds: float, name: str = "a.mp4") -> Video:
        return Video(name, (frame,) * len(seconds), seconds)

    def sound(name: str = "a.mp4") -> Audio:
        return Audio(name, np.ones(640, np.float32))

    def sizes(*parts: Part) -> list[int]:
        return [len(group) for group in film.by_file(parts)]

    whole = (shown(0, 1), sound(), shown(30), sound(), sound(), shown(90))
    assert sizes() == []
    assert sizes(*whole) == [6]
    assert sizes(*whole, *whole) == [6, 6]
    assert sizes(*whole[:5], *whole[:5]) == [5, 5]
    assert sizes(*whole, Text("a.mp4"), *whole) == [6, 1, 6]
    assert sizes(*whole, shown(0, 1, 2), sound("b.wav")) == [6, 1, 1]
    assert sizes(sound(), shown(40), sound()) == [3]
    assert sizes(sound(), sound()) == [1, 1]
    assert sizes(shown(0), shown(1)) == [1, 1]
    assert sizes(shown(0), sound(), shown(1, name="b.mp4"), sound("b.mp4")) == [2, 2]
    assert sizes(Image("a.mp4", frame), sound()) == [1, 1]


def test_tokens_are_those_of_the_parts_given_by_hand(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Clip(every(0.5, 40), [noise(40)]))
    tokenizer = load_tokenizer(DEMO)

    def prompt(*parts: Part) -> Prompt:
        builder = PromptBuilder(tokenizer, ChatTemplate.load(DEMO), demo_config(tokenizer))
        return builder.build([Message("user", (*parts, Text("What happens?")))])

    parts = film.read(path, fps=0.5)
    frames, times = video.read(path, fps=0.5)
    first, second = audio.blocks(audio.decode(path))
    early = sum(seconds < len(first) / 25 for seconds in times)
    by_hand = (
        Video("x", frames[:early], times[:early]),
        Audio("y", first.reshape(-1)),
        Video("x", frames[early:], times[early:]),
        Audio("y", second.reshape(-1)),
    )
    found, expected = prompt(*parts), prompt(*by_hand)
    assert found.ids == expected.ids
    assert [segment.digest for segment in found.segments] == [segment.digest for segment in expected.segments]
    media = [segment.kind for segment in found.segments if segment.kind != "text"]
    assert media == ["video"] * early + ["audio"] + ["video"] * (len(times) - early) + ["audio"]
    texts = [tokenizer.decode(segment.ids.tolist()) for segment in found.segments if segment.kind == "text"]
    assert "00:00" in texts[0]
    assert f"00:{int(times[early]):02d}" in texts[early + 1]
    assert found.count("audio") == len(first) + len(second)
    assert found.n_tokens - prompt().n_tokens == cost(parts) - 2  # no space before the first frame of a part
