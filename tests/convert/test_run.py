"""A whole conversion: what it keeps bit by bit, what it packs, and that neither slices, shards nor threads show."""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.convert.packing import Packed, pack, unpack
from gemma_mlx.convert.recipes import DRAFTER_RECIPES, RECIPES, packing_of
from gemma_mlx.convert.run import Sizes, convert, warnings
from gemma_mlx.convert.source import Source
from gemma_mlx.errors import CheckpointError, GemmaError
from gemma_mlx.loading import load_drafter, load_model
from gemma_mlx.quantization import ModuleQuantization
from tests import saved
from tests.convert import checkpoints

FLOATS = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}
HEAD = "language_model.model.embed_tokens"


def plain(directory: Path, recipe: str) -> dict[str, mx.array]:
    """The output's tensors made in the plainest way: every tensor whole, by itself, in the arrays' own order."""
    source, chosen = Source.read(directory), RECIPES[recipe]
    stored, made = checkpoints.arrays(directory), {}
    for name, tensor in source.weights.tensors.items():
        array, packing = stored[tensor.name], packing_of(chosen, name, tensor.shape)
        theirs = source.stored_name(name)
        if packing is None:
            made[theirs] = array.astype(mx.bfloat16) if recipe == "bf16" else array
            continue
        packed = pack(array, packing)
        path = theirs.removesuffix(".weight")
        assert packed.biases is not None
        made |= {theirs: packed.weight, f"{path}.scales": packed.scales, f"{path}.biases": packed.biases}
    return made


@pytest.mark.parametrize("recipe", ["4bit", "4bit-g32", "8bit", "bf16", "qat-q4_0"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_tensor_is_what_the_whole_tensor_gives(tmp_path: Path, recipe: str, dtype: str) -> None:
    source = checkpoints.target(tmp_path / "a", FLOATS[dtype])
    convert(source, tmp_path / "b", RECIPES[recipe], sizes=Sizes(shard=60_000, slice=200, commit=200_000))
    expected, found = plain(source, recipe), checkpoints.arrays(tmp_path / "b")
    assert found.keys() == expected.keys()
    assert all(checkpoints.equal(found[name], expected[name]) for name in expected)
    assert (tmp_path / "b" / "model.safetensors.index.json").exists()


@pytest.mark.parametrize("recipe", ["4bit", "qat-q4_0"])
def test_what_is_not_packed_is_the_same_bytes(tmp_path: Path, recipe: str) -> None:
    source = checkpoints.target(tmp_path / "a")
    convert(source, tmp_path / "b", RECIPES[recipe])
    before, after = checkpoints.raw_bytes(source), checkpoints.raw_bytes(tmp_path / "b")
    kept = [
        name
        for name in before
        if f"{name.removesuffix('.weight')}.scales"
        not in {saved.published(key.replace("language_model.model.", "language_model.")) for key in after}
    ]
    assert {"vision", "audio", "norm", "scalar"} <= {
        word for word in ("vision", "audio", "norm", "scalar") if any(word in name for name in kept)
    }
    for name in kept:
        assert after[saved.of_mlx_vlm(name.removeprefix("model."))] == before[name]


def test_slices_and_commits_do_not_show(tmp_path: Path) -> None:
    source = checkpoints.target(tmp_path / "a")
    outputs = []
    for number, sizes in enumerate([Sizes(), Sizes(slice=1), Sizes(slice=999, commit=50_000), Sizes(slice=1 << 12)]):
        report = convert(source, tmp_path / str(number), RECIPES["4bit"], sizes=sizes)
        outputs.append(checkpoints.contents(report.output))
    assert all(each == outputs[0] for each in outputs)


@pytest.mark.parametrize("spelling", [saved.published, saved.of_modules, saved.of_mlx_vlm])
@pytest.mark.parametrize("shards", [1, 3])
def test_spelling_and_shards_of_the_source_do_not_show(
    tmp_path: Path, spelling: Callable[[str], str], shards: int
) -> None:
    for name, of in (("a", saved.published), ("b", spelling)):
        source = checkpoints.target(tmp_path / name / "source", spelling=of, shards=shards if name == "b" else 1)
        convert(source, tmp_path / name / "out", RECIPES["4bit"])
    assert checkpoints.contents(tmp_path / "a" / "out") == checkpoints.contents(tmp_path / "b" / "out")


@pytest.mark.parametrize("recipe", ["4bit", "8bit", "qat-q4_0", "bf16"])
def test_it_loads_as_packed_and_unpacked(tmp_path: Path, recipe: str) -> None:
    """The loaded model answers as the source's model does with weights that were packed and unpacked by hand."""
    source = checkpoints.target(tmp_path / "a", mx.float32)
    convert(source, tmp_path / "b", RECIPES[recipe])
    expected = load_model(source)
    for name, array in saved.arrays(expected).items():
        packing = packing_of(RECIPES[recipe], name, array.shape)
        restored = array.astype(mx.bfloat16).astype(mx.float32) if recipe == "bf16" else array
        if packing is not None:
            restored = unpack(pack(array, packing), packing.stored)
        expected.load_weights([(name, restored)], strict=False)
    expected.language_model.embed_scale = (loaded := load_model(tmp_path / "b")).language_model.embed_scale
    wanted, got = np.array(saved.answer(expected)), np.array(saved.answer(loaded))
    assert np.abs(wanted - got).max() < 2e-4 * np.ptp(wanted)


def test_the_assistant(tmp_path: Path, plain_assistant: Path) -> None:
    source = checkpoints.drafter(tmp_path / "a")
    with pytest.raises(GemmaError, match=r"packs nothing of"):
        convert(source, tmp_path / "b", RECIPES["8bit"])
    (line,) = warnings(Source.read(source), DRAFTER_RECIPES["8bit"])
    assert "tensors stay as stored, their width is no multiple of the group: model.embed_tokens.weight is one" in line
    report = convert(plain_assistant, tmp_path / "b", DRAFTER_RECIPES["4bit"])
    assert report.bits == {"language": 4}
    load_drafter(tmp_path / "b")
    assert set(checkpoints.raw_bytes(plain_assistant)) <= checkpoints.raw_bytes(tmp_path / "b").keys()
    assert warnings(Source.read(plain_assistant), DRAFTER_RECIPES["4bit"]) == ()


def test_packing_again(tmp_path: Path) -> None:
    source = checkpoints.target(tmp_path / "a")
    convert(source, tmp_path / "g32", RECIPES["4bit-g32"])
    small = Sizes(slice=1280)
    convert(tmp_path / "g32", tmp_path / "same", RECIPES["4bit-g32"], sizes=small)
    assert checkpoints.raw_bytes(tmp_path / "same") == checkpoints.raw_bytes(tmp_path / "g32")
    convert(tmp_path / "g32", tmp_path / "g64", RECIPES["4bit"], sizes=small)
    convert(tmp_path / "g32", tmp_path / "plain", RECIPES["bf16"], sizes=small)
    packed, again = checkpoints.arrays(tmp_path / "g32"), checkpoints.arrays(tmp_path / "g64")
    restored = unpack(
        Packed(packed[f"{HEAD}.weight"], packed[f"{HEAD}.scales"], packed[f"{HEAD}.biases"]), ModuleQuantization(32, 4)
    ).astype(mx.bfloat16)
    assert checkpoints.equal(checkpoints.arrays(tmp_path / "plain")[f"{HEAD}.weight"], restored)
    expected = mx.quantize(restored, 64, 4)
    for kind, array in zip(("weight", "scales", "biases"), expected, strict=True):
        assert checkpoints.equal(again[f"{HEAD}.{kind}"], array)


@pytest.mark.parametrize("mode", ["mxfp4", "mxfp8", "nvfp4"])
def test_microscaling_formats_are_unpacked(tmp_path: Path, mode: str) -> None:
    """Written by hand: weights of the head in a format that no recipe makes."""
    raw = saved.raw_config()
    tensors = saved.renamed(saved.arrays(saved.model(raw)), saved.of_mlx_vlm)
    tensors = {name: array.astype(mx.bfloat16) for name, array in tensors.items()}
    group, bits = {"mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}[mode]
    weight, scales = list(mx.quantize(tensors[f"{HEAD}.weight"], group, bits, mode))
    tensors |= {f"{HEAD}.weight": weight, f"{HEAD}.scales": scales}
    (tmp_path / "a").mkdir()
    raw["quantization"] = {"group_size": group, "bits": bits, "mode": mode}
    saved.write(tmp_path / "a", raw, tensors)
    convert(tmp_path / "a", tmp_path / "b", RECIPES["bf16"], sizes=Sizes(slice=128))
    found = checkpoints.arrays(tmp_path / "b")[f"{HEAD}.weight"]
    assert checkpoints.equal(found, mx.dequantize(weight, scales, None, group, bits, mode).astype(mx.bfloat16))
    convert(tmp_path / "a", tmp_path / "c", RECIPES["8bit"])
    load_model(tmp_path / "c")


def test_memory_and_progress(tmp_path: Path) -> None:
    """A tensor of 16 MB, in slices of 64 KB: MLX never holds more than a few of them, and keeps its own limit."""
    raw = saved.raw_config(vocab_size=131072)
    (tmp_path / "a").mkdir()
    source = saved.write(tmp_path / "a", raw, saved.renamed(saved.arrays(saved.model(raw)), saved.published))
    calls: list[tuple[int, int]] = []
    before = mx.set_cache_limit(12_345_678)
    mx.clear_cache()
    mx.reset_peak_memory()
    base = mx.get_active_memory()
    convert(source, tmp_path / "b", RECIPES["4bit"], lambda *call: calls.append(call), sizes=Sizes(slice=1 << 14))
    assert mx.get_peak_memory() - base < 1_000_000
    assert mx.get_cache_memory() < 100_000
    assert mx.set_cache_limit(before) == 12_345_678
    total = Source.read(source).weights.nbytes
    assert calls[0] == (0, total)
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "name", ["model.language_model.layers.0.mlp.up_proj.weight", "model.language_model.norm.weight"]
)
def test_damaged_values_are_found(tmp_path: Path, value: float, dtype: str, name: str) -> None:
    raw = saved.raw_config()
    tensors = saved.renamed(saved.arrays(saved.model(raw)), saved.published)
    tensors = {key: array.astype(FLOATS[dtype]) for key, array in tensors.items()}
    flat = tensors[name].flatten()
    flat[7] = value
    tensors[name] = flat.reshape(tensors[name].shape)
    (tmp_path / "a").mkdir()
    saved.write(tmp_path / "a", raw, tensors)
    with pytest.raises(CheckpointError, match=f"{name} holds values that are no numbers"):
        convert(tmp_path / "a", tmp_path / "b", RECIPES["4bit"])
    assert not (tmp_path / "b").exists()


def test_the_report(tmp_path: Path) -> None:
    report = convert(checkpoints.target(tmp_path / "a"), tmp_path / "b", RECIPES["4bit"])
    assert report.output == tmp_path / "b"
    assert report.nbytes == sum(len(data) for data in checkpoints.raw_bytes(tmp_path / "b").values())
    assert report.bits == {"language": 4, "vision": 16, "audio": 16}
    assert report.resumed == 0
    assert report.seconds > 0
