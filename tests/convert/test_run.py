"""A whole conversion: what it keeps bit by bit, what it packs, and that neither slices, shards nor threads show."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx import __version__
from gemma_mlx.convert import run
from gemma_mlx.convert.layout import Slice, plan_layout
from gemma_mlx.convert.packing import Packed, pack, unpack
from gemma_mlx.convert.recipes import DRAFTER_RECIPES, RECIPES, packing_of
from gemma_mlx.convert.run import Sizes, convert, warnings
from gemma_mlx.convert.slices import Reader, Written, convert_slice
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


def test_a_resaved_config_is_spelled_as_published(tmp_path: Path) -> None:
    source = checkpoints.target(tmp_path / "a")
    raw = checkpoints.config(source)
    text = raw["text_config"]
    assert isinstance(text, dict)
    widths = {"head_dim": text.pop("global_head_dim"), "num_key_value_heads": text.pop("num_global_key_value_heads")}
    full = [index for index, kind in enumerate(text["layer_types"]) if kind == "full_attention"]
    text["per_layer_config"] = {f"{index:02}": widths for index in full}
    (source / "config.json").write_text(json.dumps(raw))
    convert(source, tmp_path / "b", RECIPES["4bit"])
    written = checkpoints.config(tmp_path / "b")["text_config"]
    assert isinstance(written, dict)
    assert (written["global_head_dim"], written["num_global_key_value_heads"]) == (64, 1)


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


def test_the_assistant(tmp_path: Path) -> None:
    source = checkpoints.drafter(tmp_path / "a")
    with pytest.raises(GemmaError, match=r"packs nothing of"):
        convert(source, tmp_path / "b", RECIPES["8bit"])
    (line,) = warnings(Source.read(source), DRAFTER_RECIPES["8bit"])
    assert "tensors stay as stored, their width is no multiple of the group: model.embed_tokens.weight is one" in line
    demo = Path(__file__).parents[2] / "gemma_mlx" / "assets" / "demo-assistant"
    report = convert(demo, tmp_path / "b", DRAFTER_RECIPES["4bit"])
    assert report.bits == {"language": 4}
    load_drafter(tmp_path / "b")
    assert set(checkpoints.raw_bytes(demo)) <= checkpoints.raw_bytes(tmp_path / "b").keys()
    assert warnings(Source.read(demo), DRAFTER_RECIPES["4bit"]) == ()


def test_config_and_companions(tmp_path: Path) -> None:
    source = checkpoints.target(tmp_path / "source")
    (source / "notes.txt").write_text("not copied")
    (source / "chat_template.extra").mkdir()
    convert(source, tmp_path / "out", RECIPES["qat-q4_0"])
    written, before = checkpoints.config(tmp_path / "out"), checkpoints.config(source)
    packing = {"group_size": 32, "bits": 4, "mode": "affine"}
    assert written.pop("quantization") == packing
    assert written.pop("quantization_config") == packing
    assert written.pop("gemma_mlx") == {
        "recipe": "qat-q4_0",
        "source": "source",
        "source_revision": None,
        "version": __version__,
    }
    assert written == before
    files = checkpoints.contents(tmp_path / "out")
    assert files.keys() == {"config.json", "model.safetensors", *checkpoints.TOKENIZER}
    assert {name: files[name] for name in checkpoints.TOKENIZER} == checkpoints.TOKENIZER


def test_modules_that_differ_are_named_as_mlx_names_them(tmp_path: Path) -> None:
    source = checkpoints.target(tmp_path / "a")
    better = RECIPES["8bit"].parts["language"]
    recipe = replace(RECIPES["4bit"], modules={"language_model.layers.1.mlp.down_proj": better})
    convert(source, tmp_path / "b", recipe)
    quantization = checkpoints.config(tmp_path / "b")["quantization"]
    assert isinstance(quantization, dict)
    entries = {key: value for key, value in quantization.items() if isinstance(value, dict)}
    assert entries == {"language_model.model.layers.1.mlp.down_proj": {"group_size": 64, "bits": 8, "mode": "affine"}}
    load_model(tmp_path / "b")


def test_bf16_says_its_type_and_no_packing(tmp_path: Path) -> None:
    convert(checkpoints.target(tmp_path / "a", mx.float32), tmp_path / "b", RECIPES["8bit"])
    convert(tmp_path / "b", tmp_path / "c", RECIPES["bf16"])
    written = checkpoints.config(tmp_path / "c")
    assert written["dtype"] == "bfloat16"
    assert not {"quantization", "quantization_config"} & written.keys()
    assert written["gemma_mlx"] == {"recipe": "bf16", "source": "a", "source_revision": None, "version": __version__}


@pytest.mark.parametrize(
    ("place", "note", "expected"),
    [
        ("hub/models--google--gemma-4-12B-it/snapshots/" + "5" * 40, None, ("google/gemma-4-12B-it", "5" * 40)),
        ("reference", ("pulled.json", '{"repo": "google/x", "revision": "7"}'), ("google/x", "7")),
        ("mine", (".cache/huggingface/download/config.json.metadata", "a" * 40 + "\netag\n0\n"), ("mine", "a" * 40)),
        ("mine", (".cache/huggingface/download/config.json.metadata", ""), ("mine", None)),
        ("mine", ("pulled.json", "["), ("mine", None)),
    ],
)
def test_where_the_weights_come_from(
    tmp_path: Path, place: str, note: tuple[str, str] | None, expected: tuple[str, str | None]
) -> None:
    source = checkpoints.target(tmp_path / place)
    if note is not None:
        (source / note[0]).parent.mkdir(parents=True, exist_ok=True)
        (source / note[0]).write_text(note[1])
    convert(source, tmp_path / "out", RECIPES["4bit"])
    block = checkpoints.config(tmp_path / "out")["gemma_mlx"]
    assert isinstance(block, dict)
    assert (block["source"], block["source_revision"]) == expected


def test_packing_again(tmp_path: Path) -> None:
    source = checkpoints.target(tmp_path / "a")
    convert(source, tmp_path / "g32", RECIPES["4bit-g32"])
    small = Sizes(slice=128)
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


def test_warnings(tmp_path: Path) -> None:
    source = checkpoints.target(tmp_path / "a")
    assert warnings(Source.read(source), RECIPES["4bit"]) == ()
    convert(source, tmp_path / "b", RECIPES["4bit"])
    (line,) = warnings(Source.read(tmp_path / "b"), RECIPES["8bit"])
    assert "b is quantized already" in line
    (source / "chat_template.jinja").unlink()
    (source / "processor_config.json").unlink()
    (line,) = warnings(Source.read(source), RECIPES["4bit"])
    assert "lacks chat template, processor_config.json: the output needs them" in line
    (source / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    (line,) = warnings(Source.read(source), RECIPES["4bit"])
    assert "lacks processor_config.json:" in line


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
    saved.write(tmp_path, raw, tensors)
    with pytest.raises(CheckpointError, match=f"{name} holds values that are no numbers"):
        convert(tmp_path, tmp_path.with_name("out-of-damaged"), RECIPES["4bit"])
    assert not tmp_path.with_name("out-of-damaged").exists()


SMALL = Sizes(slice=2000, commit=1)


def stop(patch: pytest.MonkeyPatch, number: int) -> None:
    """Let the slice of that number fail, and all that come after it in the order of the work."""
    begun: list[Slice] = []

    def work(part: Slice, reader: Reader) -> Written:
        begun.append(part)
        if len(begun) > number:
            raise CheckpointError("stopped here")
        return convert_slice(part, reader)

    patch.setattr(run, "convert_slice", work)
    patch.setattr(run, "_WORKERS", 1)


@pytest.mark.parametrize("number", [0, 1, 2, 50, -1])
def test_it_goes_on_after_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source = checkpoints.target(tmp_path / "a")
    slices = plan_layout(Source.read(source), RECIPES["4bit"], SMALL.shard).slices(SMALL.slice)
    number %= len(slices)
    with monkeypatch.context() as patch, pytest.raises(CheckpointError, match="stopped here"):
        stop(patch, number)
        convert(source, tmp_path / "b", RECIPES["4bit"], sizes=SMALL)
    report = convert(source, tmp_path / "b", RECIPES["4bit"], sizes=SMALL)
    assert report.resumed == sum(part.source_bytes for part in slices[:number])
    convert(source, tmp_path / "c", RECIPES["4bit"])
    assert checkpoints.contents(tmp_path / "b") == checkpoints.contents(tmp_path / "c")


@pytest.mark.parametrize("change", ["recipe", "slices", "source", "config", "nothing"])
def test_another_job_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    source = checkpoints.target(tmp_path / "a")
    with monkeypatch.context() as patch, pytest.raises(CheckpointError, match="stopped here"):
        stop(patch, 20)
        convert(source, tmp_path / "b", RECIPES["4bit"], sizes=SMALL)
    sizes, recipe = SMALL, RECIPES["4bit"]
    if change == "recipe":
        recipe = RECIPES["8bit"]
    elif change == "slices":
        sizes = replace(SMALL, slice=3000)
    elif change == "source":
        os.utime(source / "model.safetensors", ns=(0, 0))
    elif change == "config":
        (source / "config.json").write_text(json.dumps(checkpoints.config(source) | {"eos_token_id": [2]}))
    report = convert(source, tmp_path / "b", recipe, sizes=sizes)
    assert (report.resumed > 0) == (change == "nothing")
    convert(source, tmp_path / "c", recipe)
    assert checkpoints.contents(tmp_path / "b") == checkpoints.contents(tmp_path / "c")


def test_the_report(tmp_path: Path) -> None:
    report = convert(checkpoints.target(tmp_path / "a"), tmp_path / "b", RECIPES["4bit"])
    assert report.output == tmp_path / "b"
    assert report.nbytes == sum(len(data) for data in checkpoints.raw_bytes(tmp_path / "b").values())
    assert report.bits == {"language": 4, "vision": 16, "audio": 16}
    assert report.resumed == 0
    assert report.seconds > 0
