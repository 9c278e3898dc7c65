"""Conversions that cannot be done: one line, exit status 1, and nothing new on the disk."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.command import Run, gemma_mlx
from tests.convert.checkpoints import contents
from tests.test_bad_model import first_weight, header_and_data, rewrite
from tests.unpacked import ASSISTANT

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
Header = dict[str, dict[str, object]]


@pytest.fixture
def model(tmp_path: Path, plain_demo: Path) -> Path:
    """A copy of the demo model, to be damaged."""
    return Path(shutil.copytree(plain_demo, tmp_path / "model"))


def refused(model: Path, *arguments: str | Path) -> str:
    """The only line that the conversion prints; it wrote nothing."""
    before = contents(model.parent)
    run = gemma_mlx("convert", model, *arguments)
    assert contents(model.parent) == before
    assert sorted(path.name for path in model.parent.iterdir()) == sorted({path.split("/")[0] for path in before})
    return run.fault


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated(model: Path, keep: int) -> None:
    file = model / WEIGHTS
    file.write_bytes(file.read_bytes()[:keep])
    assert f"{file} is truncated" in refused(model)


@pytest.mark.parametrize("place", [0, 1, 7, 8, 9, 50])
def test_a_flipped_bit_in_the_header(model: Path, place: int) -> None:
    file = model / WEIGHTS
    data = bytearray(file.read_bytes())
    data[place] ^= 0x40
    file.write_bytes(data)
    assert str(model) in refused(model)


def test_a_flipped_bit_that_makes_a_weight_infinite(model: Path) -> None:
    name = first_weight(model / WEIGHTS)
    header, data = header_and_data(model / WEIGHTS)
    start, _ = header[name]["data_offsets"]  # type: ignore[misc]
    content = bytearray((model / WEIGHTS).read_bytes())
    place = len(content) - len(data) + start  # type: ignore[has-type]
    content[place : place + 4] = b"\x80\x7f\x80\x7f"
    (model / WEIGHTS).write_bytes(content)
    run = gemma_mlx("convert", model)
    assert f"{name} holds values that are no numbers" in run.err.splitlines()[-1]
    assert run.code == 1
    assert [path.name for path in model.parent.iterdir()] == ["model"]  # nothing that could be continued


def _swap_offsets(header: Header, name: str) -> None:
    first, second = [key for key in header if key.endswith("q_norm.weight")][:2]
    header[first]["data_offsets"] = header[second]["data_offsets"]


def _shift_offsets(header: Header, name: str) -> None:
    start, end = header[name]["data_offsets"]  # type: ignore[misc]
    header[name]["data_offsets"] = [start + 2, end]  # type: ignore[has-type]


def _past_the_end(header: Header, name: str) -> None:
    start, end = header[name]["data_offsets"]  # type: ignore[misc]
    header[name]["data_offsets"] = [start + 10**12, end + 10**12]  # type: ignore[has-type]


def _drop(header: Header, name: str) -> None:
    del header[name]


def _wrong_shape(header: Header, name: str) -> None:
    rows, width = header[name]["shape"]  # type: ignore[misc]
    header[name]["shape"] = [rows * 2, width // 2]  # type: ignore[has-type]


def _wrong_type(header: Header, name: str) -> None:
    header[name]["dtype"] = "I16"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_swap_offsets, "overlaps"),
        (_shift_offsets, "needs"),
        (_past_the_end, "truncated"),
        (_drop, "lacks"),
        (_wrong_shape, "has shape"),
        (_wrong_type, "is of type I16, expected F32 or BF16 or F16"),
    ],
)
def test_headers_that_lie(model: Path, change: Callable[[Header, str], None], words: str) -> None:
    name = first_weight(model / WEIGHTS)
    rewrite(model / WEIGHTS, lambda header: change(header, name))
    fault = refused(model)
    assert words in fault
    assert str(model) in fault


def test_a_missing_shard(model: Path) -> None:
    names = [name for name in header_and_data(model / WEIGHTS)[0] if name != "__metadata__"]
    (model / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(names, "model-00002-of-00002.safetensors")}))
    assert "model-00002-of-00002.safetensors does not exist" in refused(model)


def test_an_index_that_names_absent_tensors(model: Path) -> None:
    names = [name for name in header_and_data(model / WEIGHTS)[0] if name != "__metadata__"]
    (model / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys([*names, "model.more.weight"], WEIGHTS)}))
    assert "names model.more.weight, which is in no shard" in refused(model)


def test_two_shards_with_the_same_tensor(model: Path) -> None:
    names = [name for name in header_and_data(model / WEIGHTS)[0] if name != "__metadata__"]
    shutil.copyfile(model / WEIGHTS, model / "again.safetensors")
    weight_map = dict.fromkeys(names, WEIGHTS) | {names[0]: "again.safetensors"}
    (model / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    assert "repeats" in refused(model)


def test_two_spellings_of_the_same_tensor(model: Path) -> None:
    name = first_weight(model / WEIGHTS)
    end = len(header_and_data(model / WEIGHTS)[1])
    (model / WEIGHTS).write_bytes((model / WEIGHTS).read_bytes() + bytes(2))

    def add(header: Header) -> None:
        header[name.removeprefix("model.")] = {"dtype": "BF16", "shape": [1], "data_offsets": [end, end + 2]}

    rewrite(model / WEIGHTS, add)
    assert "are the same tensor" in refused(model)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "llama"}, "'llama', supported: Gemma 4 12B"),
        ({"model_type": "gemma4"}, "Gemma 4 with an image encoder"),
        ({"model_type": None}, "model_type is missing"),
        ({"model_type": "gemma4_unified_assistant"}, "config.json"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"quantization": {"quant_method": "gptq"}}, "only MLX quantization"),
    ],
)
def test_a_checkpoint_of_another_model(model: Path, change: dict[str, object], words: str) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | change))
    assert words in refused(model)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_config(model: Path, content: bytes) -> None:
    (model / "config.json").write_bytes(content)
    assert str(model / "config.json") in refused(model)


@pytest.mark.parametrize("recipe", ["5bit", "", "4BIT"])
def test_an_unknown_recipe(model: Path, recipe: str) -> None:
    fault = refused(model, "--recipe", recipe)
    assert "no recipe for the model: choose one of 4bit, 4bit-g32, 8bit, bf16, mixed, qat-q4_0" in fault


def test_a_recipe_that_the_assistant_has_not(tmp_path: Path) -> None:
    assistant = Path(shutil.copytree(ASSISTANT, tmp_path / "a"))
    assert "no recipe for the assistant: choose one of 4bit, 8bit, bf16" in refused(assistant, "--recipe", "qat-q4_0")


def test_no_source(tmp_path: Path) -> None:
    for source in ("nowhere", tmp_path / "nowhere", tmp_path):
        fault = gemma_mlx("convert", source, "-o", tmp_path / "out").fault
        assert str(source) in fault
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [".", "inside", "a/b", "..", "../.."])
def test_an_output_that_is_the_source_or_around_it(model: Path, place: str) -> None:
    for force in ((), ("--force",)):
        assert "is the source, inside it or around it" in refused(model, "-o", model / place, *force)


def test_an_output_that_is_a_link_to_the_source(model: Path) -> None:
    (model.parent / "link").symlink_to(model)
    run = gemma_mlx("convert", model, "-o", model.parent / "link", "--force")
    assert "is the source" in run.fault


def test_an_output_that_exists(model: Path) -> None:
    (model.parent / "full").mkdir()
    (model.parent / "full" / "letter.txt").write_text("dear")
    (model.parent / "file").write_text("dear")
    for place in ("full", "file"):
        for force in ((), ("--force",)):
            assert f"{place} exists and is no model: choose another" in refused(
                model, "-o", model.parent / place, *force
            )
    shutil.copytree(model, model.parent / "other")
    assert "other exists: choose another place with -o, or replace it with --force" in refused(
        model, "-o", model.parent / "other"
    )


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_place_that_cannot_be_written(model: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def locked(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "mkdir", locked)  # root may write everywhere
    fault = refused(model, "-o", model.parent / "out")
    assert fault == (f"{model.parent / 'out'} cannot be written ({os.strerror(number)}): choose another place with -o")


def test_a_name_that_is_too_long(model: Path) -> None:
    for length in (250, 300):  # with the hidden directory's ending, and by itself
        fault = refused(model, "-o", model.parent / ("x" * length))
        assert "x cannot be written (File name too long): choose another place with -o" in fault


def test_a_place_that_cannot_be_looked_at(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(self: Path) -> list[Path]:
        raise PermissionError(errno.EACCES, "Permission denied")

    out = model.parent / "out"
    out.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", locked)  # root may look everywhere
        run = gemma_mlx("convert", model, "-o", out)
    assert run.fault == f"{out} cannot be written (Permission denied): choose another place with -o"


def test_a_place_below_a_file(model: Path) -> None:
    (model.parent / "file").write_text("")
    assert "file/out cannot be written (Not a directory)" in refused(model, "-o", model.parent / "file" / "out")


def test_too_little_space(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**12, free=20_000_000))
    fault = refused(model, "-o", model.parent / "out")
    assert fault.startswith(f"{model.parent / 'out'} needs 58.3 MB, 20.0 MB are free at {model.parent}: make room")


@pytest.mark.parametrize("writes", [0, 1, 40, 100])
def test_a_disk_that_gets_full(model: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    write, left = os.pwrite, iter(range(writes))

    def full(descriptor: int, data: memoryview, start: int) -> int:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, start)

    out = model.parent / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        run = gemma_mlx("convert", model, "-o", out)
    *_, line = run.err.splitlines()
    assert line.startswith(f"the disk of {out} is full: make room and run the same command again")
    assert run.code == 1
    assert not out.exists()
    assert gemma_mlx("convert", model, "-o", out).code == 0
    gemma_mlx("convert", model, "-o", model.parent / "other")
    assert contents(out) == contents(model.parent / "other")


def test_a_file_that_shrinks_while_it_is_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pread", lambda descriptor, count, start: b"")
    run: Run = gemma_mlx("convert", model)
    assert run.err.splitlines()[-1] == f"{model / WEIGHTS} became shorter while it was read: start again"


def test_a_source_that_cannot_be_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    run = gemma_mlx("convert", model)
    assert run.err.splitlines()[-1] == f"{model / WEIGHTS} cannot be read (Input/output error): check the disk"
    assert run.code == 1
