"""What a converted directory holds besides weights: its configuration, where it comes from, what was copied."""

import json
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx import __version__
from gemma_mlx.convert.recipes import RECIPES
from gemma_mlx.convert.run import convert, warnings
from gemma_mlx.convert.source import Source
from gemma_mlx.loading import load_model
from tests.convert import checkpoints


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


def test_warnings(tmp_path: Path) -> None:
    source = checkpoints.target(tmp_path / "a")
    assert warnings(Source.read(source), RECIPES["4bit"]) == ()
    convert(source, tmp_path / "b", RECIPES["4bit"])
    (line,) = warnings(Source.read(tmp_path / "b"), RECIPES["8bit"])
    assert "b is quantized already" in line
    (source / "chat_template.jinja").unlink()
    (source / "processor_config.json").unlink()
    (line,) = warnings(Source.read(source), RECIPES["4bit"])
    assert "has no chat template and no processor_config.json: without, the output cannot answer" in line
    (source / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    (line,) = warnings(Source.read(source), RECIPES["4bit"])
    assert "has no processor_config.json: without" in line
