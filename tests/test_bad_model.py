"""Model directories that cannot be used: a fault is one line that names the file, and exit status 1."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from gemma_mlx.errors import ConfigError
from gemma_mlx.fields import read_json
from gemma_mlx.models import find_model
from tests.command import Run, gemma_mlx

WEIGHTS = "model.safetensors"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the demo model, to be damaged."""
    return Path(shutil.copytree(find_model("demo"), tmp_path / "model"))


def ask(*arguments: str | Path) -> Run:
    return gemma_mlx("ask", "what is this?", "--max-tokens", "2", *arguments)


def header_and_data(file: Path) -> tuple[dict[str, dict[str, object]], bytes]:
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def rewrite(file: Path, change: Callable[[dict[str, dict[str, object]]], None]) -> None:
    """Change the header of a safetensors file, the data staying as it is."""
    header, data = header_and_data(file)
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


def first_weight(file: Path) -> str:
    return next(name for name in header_and_data(file)[0] if name.endswith("q_proj.weight"))


@pytest.mark.parametrize("source", ["nowhere", "", "a/b/c"])
def test_an_unknown_model(source: str) -> None:
    fault = ask("--model", source).fault
    assert source in fault
    assert "directory" in fault


def test_a_model_that_is_a_file(model: Path) -> None:
    assert str(model / WEIGHTS) in ask("--model", model / WEIGHTS).fault


def test_an_empty_directory(tmp_path: Path) -> None:
    assert str(tmp_path) in ask("--model", tmp_path).fault


def test_a_missing_tensor(model: Path) -> None:
    name = first_weight(model / WEIGHTS)

    def drop(header: dict[str, dict[str, object]]) -> None:
        del header[name]

    rewrite(model / WEIGHTS, drop)
    fault = ask("--model", model).fault
    assert "q_proj" in fault
    assert str(model) in fault


def test_an_unknown_tensor(model: Path) -> None:
    file = model / WEIGHTS
    end = len(header_and_data(file)[1])
    file.write_bytes(file.read_bytes() + bytes(4))

    def add(header: dict[str, dict[str, object]]) -> None:
        header["model.surprise.weight"] = {"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]}

    rewrite(file, add)
    assert "model.surprise.weight" in ask("--model", model).fault


def test_a_tensor_of_the_wrong_shape(model: Path) -> None:
    name = first_weight(model / WEIGHTS)

    def transpose(header: dict[str, dict[str, object]]) -> None:
        shape = header[name]["shape"]
        assert isinstance(shape, list)
        header[name]["shape"] = [shape[0] * 2, shape[1] // 2]

    rewrite(model / WEIGHTS, transpose)
    fault = ask("--model", model).fault
    assert "q_proj" in fault
    assert str(model) in fault


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights(model: Path, keep: int) -> None:
    file = model / WEIGHTS
    file.write_bytes(file.read_bytes()[:keep])
    assert str(file) in ask("--model", model).fault


def test_a_missing_shard(model: Path) -> None:
    names = header_and_data(model / WEIGHTS)[0]
    weight_map = {name: "model-00002-of-00002.safetensors" for name in names if name != "__metadata__"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert "model-00002-of-00002.safetensors" in ask("--model", model).fault


def test_no_weights_at_all(model: Path) -> None:
    (model / WEIGHTS).unlink()
    assert WEIGHTS in ask("--model", model).fault


def test_no_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.model").unlink()
    fault = ask("--model", model).fault
    assert "tokenizer" in fault
    assert str(model) in fault


@pytest.mark.parametrize("file", ["tokenizer.json", "config.json", "generation_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff\xfe"])
def test_damaged_json(model: Path, file: str, content: bytes) -> None:
    (model / file).write_bytes(content)
    assert str(model / file) in ask("--model", model).fault


def test_a_damaged_sentencepiece_file(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.model").write_bytes(b"nothing")
    assert "tokenizer.model" in ask("--model", model).fault


def test_no_template(model: Path) -> None:
    (model / "chat_template.jinja").unlink()
    assert "template" in ask("--model", model).fault


def test_a_broken_template(model: Path) -> None:
    (model / "chat_template.jinja").write_text("{% for %}")
    assert "template" in ask("--model", model).fault


def test_another_family(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    fault = ask("--model", model).fault
    assert "llama" in fault
    assert "Gemma 4 12B" in fault


def test_a_locked_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", locked)  # root may read everything
    with pytest.raises(ConfigError, match=r"config\.json cannot be read \(Permission denied\): check its permissions$"):
        read_json(tmp_path / "config.json")


def test_the_drafter_is_not_the_model() -> None:
    drafter = find_model("demo").parent / "demo-assistant"
    assert ask("--model", drafter).fault.endswith("give the 12B's own directory")
