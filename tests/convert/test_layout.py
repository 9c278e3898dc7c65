"""The layout of an output is what the files later hold, and every row of every tensor is done once."""

import json
import struct
from itertools import pairwise
from math import prod
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx.checkpoint import ITEM_BYTES, Tensor, read_header
from gemma_mlx.convert.layout import Layout, packed_modules, plan_layout
from gemma_mlx.convert.recipes import DRAFTER_RECIPES, RECIPES
from gemma_mlx.convert.run import Sizes, convert
from gemma_mlx.convert.source import Source
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.quantization import ModuleQuantization
from tests import configs, saved
from tests.convert import checkpoints

ALL = 10**15
HEAD = "language_model.embed_tokens"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source.read(checkpoints.target(tmp_path / "source"))


def written(layout: Layout, directory: Path) -> dict[str, Tensor]:
    """The tensors of files that hold nothing but their headers and zeros."""
    found: dict[str, Tensor] = {}
    for name, header in layout.headers.items():
        (directory / name).write_bytes(header.ljust(layout.file_sizes()[name], b"\0"))
        found |= read_header(directory / name)
    return found


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("shard_bytes", [ALL, 30_000, 1])
def test_outputs_are_where_the_headers_say(source: Source, tmp_path: Path, recipe: str, shard_bytes: int) -> None:
    layout = plan_layout(source, RECIPES[recipe], shard_bytes)
    found = written(layout, tmp_path)
    assert {tensor.name: tensor for tensor in layout.outputs} == {
        name: Tensor(name, Path(tensor.file.name), tensor.dtype, tensor.shape, tensor.nbytes, tensor.start)
        for name, tensor in found.items()
    }
    for tensor in found.values():
        assert tensor.start % ITEM_BYTES[tensor.dtype] == 0


def test_the_size_of_shards_at_its_edges(source: Source) -> None:
    def shards(limit: int) -> list[int]:
        layout = plan_layout(source, RECIPES["4bit"], limit)
        return [size - len(layout.headers[name]) for name, size in layout.file_sizes().items()]

    (whole,) = shards(ALL)
    assert shards(whole) == [whole]
    assert len(shards(whole - 1)) == 2
    largest = max(sum(t.nbytes for t in task.outputs) for task in plan_layout(source, RECIPES["4bit"], ALL).tasks)
    assert max(shards(largest)) == largest
    assert len(shards(1)) == len(plan_layout(source, RECIPES["4bit"], ALL).tasks)
    assert sum(shards(1)) == whole


def test_names_of_shards(source: Source) -> None:
    assert list(plan_layout(source, RECIPES["4bit"], ALL).headers) == ["model.safetensors"]
    names = list(plan_layout(source, RECIPES["4bit"], 60_000).headers)
    assert names == [f"model-{number:05}-of-{len(names):05}.safetensors" for number in range(1, len(names) + 1)]
    assert len(names) > 1


def test_a_packed_module_stays_in_one_shard(source: Source) -> None:
    for task in plan_layout(source, RECIPES["4bit"], 1).tasks:
        assert len({tensor.file for tensor in task.outputs}) == 1


@pytest.mark.parametrize("values", [0, 1, 63, 64, 65, 1000, ALL])
def test_slices_are_every_row_once(source: Source, values: int) -> None:
    layout = plan_layout(source, RECIPES["4bit"], ALL)
    slices = layout.slices(values)
    for task in layout.tasks:
        spans = [(part.first, part.last) for part in slices if part.task is task]
        assert spans[0][0] == 0
        assert spans[-1][1] == task.rows
        assert all(before[1] == after[0] for before, after in pairwise(spans))
        assert all(first < last for first, last in spans)
        assert all((last - first) * task.width <= max(values, task.width) for first, last in spans)
    assert sum(part.source_bytes for part in slices) == source.weights.nbytes


def test_scales_have_the_type_of_the_weights(tmp_path: Path) -> None:
    source = Source.read(checkpoints.target(tmp_path / "source", mx.float32))
    types = {tensor.name: tensor.dtype for tensor in plan_layout(source, RECIPES["4bit"], ALL).outputs}
    assert set(types.values()) == {"U32", "F32"}
    types = {tensor.name: tensor.dtype for tensor in plan_layout(source, RECIPES["bf16"], ALL).outputs}
    assert set(types.values()) == {"BF16"}


def test_what_is_packed(source: Source) -> None:
    modules = packed_modules(source, RECIPES["4bit"])
    assert set(modules.values()) == {ModuleQuantization(64, 4)}
    assert HEAD in modules
    assert not [path for path in modules if not path.startswith("language_model.")]
    assert packed_modules(source, RECIPES["bf16"]) == {}


def test_equal_packing_is_copied_and_other_packing_is_done_again(source: Source, tmp_path: Path) -> None:
    convert(source.directory, tmp_path / "g32", RECIPES["4bit-g32"])
    packed = Source.read(tmp_path / "g32")

    def how(recipe: str) -> set[tuple[bool, bool]]:
        tasks = plan_layout(packed, RECIPES[recipe], ALL).tasks
        head = [task for task in tasks if "embed_tokens" in task.sources[0].name]
        return {(task.unpack is not None, task.pack is not None) for task in head}

    assert how("4bit-g32") == {(False, False)}
    assert how("qat-q4_0") == {(False, False)}  # the same layout: packing again would only lose
    assert how("8bit") == {(True, True)}
    assert how("bf16") == {(True, False)}
    assert packed_modules(packed, RECIPES["4bit-g32"]) == packed_modules(source, RECIPES["4bit-g32"])


def test_what_the_recipe_keeps_stays_packed(tmp_path: Path) -> None:
    """An assistant's recipe does not speak of the target: all that is packed stays so."""
    target = checkpoints.target(tmp_path / "source")
    convert(target, tmp_path / "g32", RECIPES["4bit-g32"])
    packed = Source.read(tmp_path / "g32")
    kept = packed_modules(packed, DRAFTER_RECIPES["8bit"])
    assert kept == packed_modules(Source.read(target), RECIPES["4bit-g32"])


def test_the_12b(tmp_path: Path) -> None:
    """Headers of the published layout over a file of 23.9 GB that is one hole."""
    shapes = {name: array.shape for name, array in saved.arrays(GemmaModel(configs.target())).items()}
    entries: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * prod(shape)
        entries[saved.published(name)] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    assert (len(entries), end) == (677, 23_919_460_448)
    text = json.dumps(entries).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    (tmp_path / "config.json").write_text(json.dumps(configs.published("target_it")))
    layout = plan_layout(Source.read(tmp_path), RECIPES["4bit"], Sizes().shard)
    sizes = layout.file_sizes()
    assert list(sizes) == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert max(sizes.values()) < 5_001_000_000
    assert 6_800_000_000 < sum(sizes.values()) < 6_850_000_000
    slices = layout.slices(Sizes().slice)
    assert max(part.source_bytes for part in slices) <= 16_000_000
    assert sum(part.source_bytes for part in slices) == end
