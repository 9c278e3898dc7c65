"""What people get wrong with attachments and prompts.

Each fault is one line that names the file, the fault and the next step, and exit status 1.
"""

import io
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gemma_mlx.models import find_model
from tests.command import Run, gemma_mlx, hum, png, write_video, write_wav

DEMO_DIRECTORY = find_model("demo")


def ask(*arguments: str | Path) -> Run:
    return gemma_mlx("ask", "what is this?", "--max-tokens", "2", *arguments)


# Pictures


def encoded(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def gigantic_png() -> bytes:
    """A small file that announces 60000 × 60000 pixels."""
    content = bytearray(png(16, 16))
    content[16:24] = struct.pack(">II", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.png", b""),
        ("cut.png", png(300, 200)[:200]),
        ("cut.jpg", encoded(Image.new("RGB", (300, 200)), "JPEG")[:400]),
        ("damaged.png", png(300, 200)[:60] + b"\0" * 40 + png(300, 200)[100:]),
        ("gigantic.png", gigantic_png()),
        ("noise.png", np.random.default_rng(0).bytes(5000)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pictures_that_cannot_be_read(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    fault = ask("-a", file).fault
    assert fault.startswith(str(file))
    assert ": " in fault.removeprefix(str(file)), "no next step"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 10000), (10000, 1), (16, 9), (3000, 2000)])
def test_odd_sizes_are_no_fault(tmp_path: Path, width: int, height: int) -> None:
    file = tmp_path / "odd.png"
    file.write_bytes(png(width, height))
    assert ask("-a", file, "--image-tokens", "70").code == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_modes_are_no_fault(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "odd.tif"
    Image.new(mode, (40, 30)).save(file)
    assert ask("-a", file, "--image-tokens", "70").code == 0


# Recordings


def write_float_wav(path: Path, samples: np.ndarray) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="flt", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_usual_recordings_are_no_fault(tmp_path: Path) -> None:
    stereo = np.stack([hum(0.3), hum(0.3)], axis=1)
    for name, write in {
        "silent": lambda path: write_wav(path, np.zeros(4000)),
        "stereo": lambda path: write_wav(path, stereo),
        "slow": lambda path: write_wav(path, hum(0.3, 8000), rate=8000),
        "one": lambda path: write_wav(path, np.ones(1)),
        "float": lambda path: write_float_wav(path, hum(0.3) / 32768),
    }.items():
        run = ask("-a", write(tmp_path / f"{name}.wav"))
        assert run.code == 0, (name, run)


def test_a_recording_without_samples(tmp_path: Path) -> None:
    file = write_wav(tmp_path / "none.wav", np.zeros(0))
    assert str(file) in ask("-a", file).fault


def test_a_recording_of_zero_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.touch()
    assert "0 bytes" in ask("-a", file).fault


def test_a_damaged_recording(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(write_wav(file, hum(0.5)).read_bytes()[:20])
    assert str(file) in ask("-a", file).fault


def test_a_recording_of_no_number(tmp_path: Path) -> None:
    file = write_float_wav(tmp_path / "nan.wav", np.full(4000, np.nan))
    assert str(file) in ask("-a", file).fault


# Files that are neither, and what does not fit


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"Dear diary,\n"),
        ("page.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
        ("picture.png", b"not a picture at all"),
        ("archive.zip", b"PK\x03\x04" + bytes(range(256)) * 8),
        ("zeros.bin", bytes(4096)),
    ],
)
def test_a_file_that_is_neither(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    fault = ask("-a", file).fault
    assert fault.startswith(str(file))


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    assert "does not exist" in ask("-a", tmp_path / "nowhere.png").fault
    assert "is a directory" in ask("-a", tmp_path).fault


def test_the_first_bad_file_of_several_is_named(tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(png(48, 48))
    assert "bad.png" in ask("-a", good, "-a", tmp_path / "bad.png").fault


@pytest.mark.parametrize("prompt", [(), ("",), ("  \n",)])
def test_an_attachment_without_a_question(tmp_path: Path, prompt: tuple[str, ...]) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(48, 48))
    fault = gemma_mlx("ask", *prompt, "-a", file).fault
    assert fault.startswith(str(file))
    assert "gemma-mlx ask" in fault


def test_standard_input_has_a_name(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "a.mp4", 16).read_bytes()
    silence = write_wav(tmp_path / "a.wav", np.zeros(0)).read_bytes()
    for content, fault in (
        (b"", "is empty"),
        (b"Dear diary", "is text"),
        (png(300, 200)[:200], "is damaged"),
        (clip[: len(clip) // 2], "is damaged"),
        (silence, "holds no"),
    ):
        run = gemma_mlx("ask", "what is this?", "-a", "-", stdin=content)
        assert run.fault.startswith(f"standard input {fault}")
    assert gemma_mlx("ask", "-a", "-").fault.startswith("standard input came without a question")


def test_an_attachment_without_a_name() -> None:
    assert ask("-a", "").fault.startswith("an attachment has no name")


def test_an_empty_question() -> None:
    assert "empty" in gemma_mlx("ask", " ").fault


def test_a_prompt_longer_than_the_context(tmp_path: Path) -> None:
    run = gemma_mlx("ask", "word " * 200, "--model", str(DEMO_DIRECTORY), "--context", "100")
    assert "100" in run.fault
    assert "--context" in run.fault
    picture = tmp_path / "a.png"
    picture.write_bytes(png(480, 480))
    assert (
        "100"
        in ask("-a", picture, "--model", DEMO_DIRECTORY, "--context", "100", "--image-tokens", "280").err.splitlines()[
            -1
        ]
    )


def test_a_context_longer_than_the_model() -> None:
    assert "context is 100000000" in ask("--context", "100000000").fault


def test_chat_goes_on_after_each_fault(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("Dear diary")
    lines = ["/attach", f"/attach {text}", "word " * 200, "hello"]
    run = gemma_mlx("chat", "--model", DEMO_DIRECTORY, "--context", "150", stdin="\n".join(lines).encode())
    assert run.code == 0
    assert len(run.err.splitlines()) == 3
    assert run.out.strip()
