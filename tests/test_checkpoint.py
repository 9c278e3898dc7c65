"""Headers of safetensors files: what is whole is listed, every damage is one line that names file and tensor.

Files are written byte by byte here, so that each lie is told exactly.
"""

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.checkpoint import Tensor, read_header, read_tensors
from gemma_mlx.errors import CheckpointError, GemmaError
from tests.saved import write_index

A = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
B = {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]}


def write(path: Path, header: Any, body: int = 32) -> Path:
    """A file with this header (JSON, or raw bytes) and so many bytes of data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))
    return path


def fault(read: Any, path: Path) -> str:
    """The one line that refuses it."""
    with pytest.raises(CheckpointError) as found:
        read(path)
    message = str(found.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def test_a_whole_file(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", {"a": A, "b": B, "__metadata__": {"format": "mlx"}})
    body = path.stat().st_size - 32
    expected = {"a": Tensor("a", path, "F32", (2, 3), 24, body), "b": Tensor("b", path, "BF16", (4,), 8, body + 24)}
    assert read_header(path) == expected
    assert read_tensors(tmp_path) == expected


def test_edges_of_a_whole_file(tmp_path: Path) -> None:
    scalar = {"dtype": "U8", "shape": [], "data_offsets": [0, 1]}
    nothing = {"dtype": "F32", "shape": [0, 7], "data_offsets": [1, 1]}
    found = read_header(write(tmp_path / "x", {"scalar": scalar, "nothing": nothing}, body=1))
    assert [(t.shape, t.nbytes) for t in found.values()] == [((), 1), ((0, 7), 0)]
    assert read_header(write(tmp_path / "x", {}, body=0)) == {}


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 60])
def test_files_cut_inside_the_header(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "model.safetensors", {"a": A, "b": B})
    path.write_bytes(path.read_bytes()[:kept])
    assert f"model.safetensors is truncated: {kept} bytes" in fault(read_header, path)


@pytest.mark.parametrize("lost", [1, 8, 31])
def test_files_cut_inside_the_data(tmp_path: Path, lost: int) -> None:
    path = write(tmp_path / "model.safetensors", {"a": A, "b": B}, body=32 - lost)
    message = fault(read_header, path)
    assert "model.safetensors is truncated" in message
    assert f"the file holds {32 - lost}" in message


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"not JSON at all", "its header is not JSON"),
        (b"\xff\xfe\x00\x01", "its header is not JSON"),
        (b"[" * 100_000, "its header is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "its header is not JSON"),
        (b"[]", "its header is no object"),
        (b"null", "its header is no object"),
    ],
    ids=["text", "bytes", "nested", "number", "list", "null"],
)
def test_headers_that_are_none(tmp_path: Path, header: bytes, words: str) -> None:
    message = fault(read_header, write(tmp_path / "model.safetensors", header))
    assert "model.safetensors is no safetensors file" in message
    assert words in message


def test_a_header_too_long_to_be_one_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**30))
        file.truncate(2**30 + 100)  # sparse
    tracemalloc.start()
    message = fault(read_header, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "model.safetensors is no safetensors file" in message
    assert peak < 2**29


@pytest.mark.parametrize(
    "entry",
    [
        {},
        None,
        5,
        "text",
        [1],
        A | {"dtype": "F3"},
        A | {"dtype": ["F32"]},
        A | {"shape": None},
        A | {"shape": "23"},
        A | {"shape": [2, "3"]},
        A | {"shape": [2, 3.0]},
        A | {"shape": [-2, -3]},
        A | {"shape": [True, 6]},
        A | {"data_offsets": [0]},
        A | {"data_offsets": [0, 12, 24]},
        A | {"data_offsets": ["0", "24"]},
        A | {"data_offsets": [0.0, 24.0]},
        A | {"data_offsets": None},
    ],
    ids=str,
)
def test_malformed_entries(tmp_path: Path, entry: Any) -> None:
    message = fault(read_header, write(tmp_path / "model.safetensors", {"b": B, "a": entry}))
    assert "model.safetensors: the header entry of a is malformed" in message


@pytest.mark.parametrize(
    "entry",
    [
        A | {"data_offsets": [0, 20]},
        A | {"data_offsets": [4, 32]},
        A | {"data_offsets": [24, 0]},
        A | {"data_offsets": [-4, 20]},
        A | {"shape": [2, 4]},
        A | {"dtype": "F16"},
    ],
    ids=str,
)
def test_offsets_that_lie(tmp_path: Path, entry: Any) -> None:
    message = fault(read_header, write(tmp_path / "model.safetensors", {"a": entry}))
    assert "model.safetensors: a (2," in message
    assert "bytes, has" in message


def test_tensors_that_overlap(tmp_path: Path) -> None:
    inside = {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]}
    assert "overlaps" in fault(read_header, write(tmp_path / "model.safetensors", {"a": A, "b": inside}))


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "model.safetensors does not exist" in fault(read_tensors, tmp_path)
    assert "model.safetensors does not exist" in fault(read_tensors, tmp_path / "absent")
    (tmp_path / "model.safetensors").mkdir()
    assert "model.safetensors cannot be read" in fault(read_tensors, tmp_path)
    (tmp_path / "file").touch()
    assert "does not exist" in fault(read_tensors, tmp_path / "file")


def shards(directory: Path, second: Any, weight_map: Any) -> Path:
    write(directory / "1.safetensors", {"a": A})
    write(directory / "2.safetensors", second)
    write_index(directory, weight_map)
    return directory


MAP = {"a": "1.safetensors", "b": "2.safetensors"}


def test_shards(tmp_path: Path) -> None:
    found = read_tensors(shards(tmp_path, {"b": B}, MAP))
    assert {name: tensor.file.name for name, tensor in found.items()} == MAP
    assert found == read_header(tmp_path / "1.safetensors") | read_header(tmp_path / "2.safetensors")


def test_shards_win_over_a_leftover_file(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", {"c": B})
    assert set(read_tensors(shards(tmp_path, {"b": B}, MAP))) == {"a", "b"}


@pytest.mark.parametrize(
    ("second", "weight_map", "words"),
    [
        ({"b": B}, MAP | {"c": "3.safetensors"}, "3.safetensors does not exist"),
        ({"b": B}, MAP | {"c": "2.safetensors"}, "names c, which is in no shard"),
        ({"b": B, "a": A}, MAP, "2.safetensors repeats a of another shard"),
        ({"b": B}, None, "has no weight_map"),
        ({"b": B}, {}, "has no weight_map"),
        ({"b": B}, ["a", "b"], "has no weight_map"),
        ({"b": B}, MAP | {"b": 2}, "has no weight_map"),
        ({"b": B}, MAP | {"b": ["2.safetensors"]}, "has no weight_map"),
        ({"b": B | {"data_offsets": [0, 4]}}, MAP, "2.safetensors: b (4,) of BF16 needs 8 bytes, has 4"),
        (b"rubbish", MAP, "2.safetensors is no safetensors file"),
        ({"b": B}, MAP | {"b": "../x/2.safetensors"}, "names the shard '../x/2.safetensors', which is no safetensors"),
        ({"b": B}, MAP | {"b": "/2.safetensors"}, "names the shard '/2.safetensors'"),
        ({"b": B}, MAP | {"b": "2\0.safetensors"}, "names the shard '2\\x00.safetensors'"),
        ({"b": B}, MAP | {"b": ""}, "names the shard ''"),
    ],
)
def test_shards_that_do_not_fit(tmp_path: Path, second: Any, weight_map: Any, words: str) -> None:
    assert words in fault(read_tensors, shards(tmp_path, second, weight_map))


def test_an_index_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{")
    with pytest.raises(GemmaError, match=r"^[^\n]*model\.safetensors\.index\.json cannot be read as JSON[^\n]*$"):
        read_tensors(tmp_path)


def leave_out(directory: Path, unused: Any, weight_map: Any = None) -> Path:
    """Two shards that both hold `a`, the first's being left out."""
    write(directory / "1.safetensors", {"a": A})
    write(directory / "2.safetensors", {"a": A, "b": B})
    weight_map = {"a": "2.safetensors", "b": "2.safetensors"} if weight_map is None else weight_map
    index = {"weight_map": weight_map, "unused": unused}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


def test_tensors_that_an_index_leaves_out(tmp_path: Path) -> None:
    for unused in ({"1.safetensors": ["a"]}, {}):  # of a file that nothing uses, nothing needs to be left out
        assert read_tensors(leave_out(tmp_path, unused)) == read_header(tmp_path / "2.safetensors")


@pytest.mark.parametrize(
    ("unused", "words"),
    [
        ({"1.safetensors": []}, "2.safetensors repeats a of another shard"),
        ({"1.safetensors": ["a", "c"]}, "leaves out c, which is not in 1.safetensors"),
        ({"1.safetensors": ["a", "b"]}, "leaves out b, which is not in 1.safetensors"),
        ({"2.safetensors": ["a"]}, "both uses and leaves out a of 2.safetensors"),
        ({"1.safetensors": ["a"], "2.safetensors": ["b"]}, "both uses and leaves out b of 2.safetensors"),
        ({"3.safetensors": ["a"]}, "3.safetensors does not exist"),
        ({"1.safetensors": ["a", "a"]}, "unused must be lists of tensor names by file"),
        ({"1.safetensors": "a"}, "unused must be lists of tensor names by file"),
        ({"1.safetensors": [1]}, "unused must be lists of tensor names by file"),
        (["a"], "unused must be lists of tensor names by file"),
        (None, "unused must be lists of tensor names by file"),
    ],
)
def test_leaving_out_is_strict(tmp_path: Path, unused: Any, words: str) -> None:
    assert words in fault(read_tensors, leave_out(tmp_path, unused))


def test_what_is_left_out_twice_over_is_missed(tmp_path: Path) -> None:
    both = {"1.safetensors": ["a"], "2.safetensors": ["a"]}
    directory = leave_out(tmp_path, both, {"a": "3.safetensors", "b": "2.safetensors"})
    assert "3.safetensors does not exist" in fault(read_tensors, directory)
    write(tmp_path / "3.safetensors", {})
    assert "names a, which is in no shard" in fault(read_tensors, directory)


def test_a_tensor_that_a_header_has_twice(tmp_path: Path) -> None:
    entry = json.dumps(A)
    path = write(tmp_path / "model.safetensors", f'{{"a": {entry}, "b": {json.dumps(B)}, "a": {entry}}}'.encode())
    assert "holds a twice" in fault(read_header, path)
