"""The fabricated layout is the published one, byte for byte; what it writes is read by our own loader."""

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from gemma_mlx.benchmarks import full_size, layout
from gemma_mlx.benchmarks.layout import TINY, Size, Spec
from gemma_mlx.checkpoint import read_tensors
from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.loading import load_drafter, load_model

TARGET = {
    "model.language_model.embed_tokens.weight": (262144, 3840),
    "model.language_model.layers.0.self_attn.q_proj.weight": (4096, 3840),
    "model.language_model.layers.0.self_attn.k_proj.weight": (2048, 3840),
    "model.language_model.layers.0.self_attn.v_proj.weight": (2048, 3840),
    "model.language_model.layers.0.self_attn.o_proj.weight": (3840, 4096),
    "model.language_model.layers.47.self_attn.q_proj.weight": (8192, 3840),
    "model.language_model.layers.47.self_attn.k_proj.weight": (512, 3840),
    "model.language_model.layers.47.self_attn.o_proj.weight": (3840, 8192),
    "model.language_model.layers.47.self_attn.k_norm.weight": (512,),
    "model.language_model.layers.47.mlp.down_proj.weight": (3840, 15360),
    "model.language_model.layers.47.layer_scalar": (1,),
    "model.vision_embedder.patch_dense.weight": (3840, 6912),
    "model.vision_embedder.patch_ln1.bias": (6912,),
    "model.vision_embedder.pos_embedding": (1120, 2, 3840),
    "model.embed_audio.embedding_projection.weight": (3840, 640),
}
ASSISTANT = {
    "model.embed_tokens.weight": (262144, 1024),
    "model.layers.2.self_attn.q_proj.weight": (4096, 1024),
    "model.layers.3.self_attn.q_proj.weight": (8192, 1024),
    "model.layers.3.self_attn.q_norm.weight": (512,),
    "model.layers.3.mlp.up_proj.weight": (8192, 1024),
    "pre_projection.weight": (1024, 7680),
    "post_projection.weight": (3840, 1024),
}


@pytest.mark.parametrize(
    ("tensors", "count", "nbytes", "some"),
    [
        (layout.target_tensors(), 677, 23_919_460_448, TARGET),
        (layout.assistant_tensors(), 48, 845_713_928, ASSISTANT),
    ],
    ids=["target", "assistant"],
)
def test_tensors_and_bytes_are_the_published_ones(
    tensors: list[Spec], count: int, nbytes: int, some: dict[str, tuple[int, ...]]
) -> None:
    shapes = {spec.name: spec.shape for spec in tensors}
    assert len(shapes) == len(tensors) == count
    assert sum(spec.nbytes for spec in tensors) == nbytes
    assert {name: shapes.get(name) for name in some} == some


def test_full_layers_have_no_values_of_their_own() -> None:
    without = [n for n in range(48) if not any(f".{n}.self_attn.v_proj" in s.name for s in layout.target_tensors())]
    assert without == list(range(5, 48, 6))


def test_the_slice_of_six_layers_is_about_5_gb() -> None:
    tensors = layout.target_tensors(Size(layers=6))
    assert 4.8e9 < sum(spec.nbytes for spec in tensors) < 5e9
    assert set(tensors) < set(layout.target_tensors())


def test_configurations_say_what_the_tensors_are() -> None:
    model, drafter = ModelConfig.from_dict(layout.target_config()), layout.assistant_config()
    text = model.text_config
    assert (text.num_hidden_layers, text.hidden_size, text.global_head_dim, text.vocab_size) == (48, 3840, 512, 262144)
    assert (model.image_token_id, model.audio_token_id, model.video_token_id) == (258880, 258881, 258884)
    assert (model.boi_token_id, model.boa_token_id, model.eoi_token_id, model.eoa_token_id) == (
        255999,
        256000,
        258882,
        258883,
    )
    assert DrafterConfig.from_dict(drafter).backbone_hidden_size == text.hidden_size


@pytest.mark.parametrize("shards", [1, 3])
def test_a_tiny_one_is_written_whole_and_loads(tmp_path: Path, shards: int) -> None:
    total = full_size.write_target(tmp_path, TINY, shards)
    specs = layout.target_tensors(TINY)
    assert {t.name: (t.shape, t.dtype) for t in read_tensors(tmp_path).values()} == {
        spec.name: (spec.shape, "BF16") for spec in specs
    }
    assert len(list(tmp_path.glob("*.safetensors"))) == shards
    assert total == sum(spec.nbytes for spec in specs)
    load_model(tmp_path)


def test_the_assistant_loads_with_its_target(tmp_path: Path) -> None:
    full_size.write_assistant(tmp_path, TINY)
    drafter = load_drafter(tmp_path, target=ModelConfig.from_dict(layout.target_config(TINY)))
    held = sum(array.size for array in dict(tree_flatten(drafter.parameters())).values())
    assert held == sum(tensor.nbytes for tensor in read_tensors(tmp_path).values()) // 2  # bfloat16 in the file


def test_values_are_spread_and_rows_differ(tmp_path: Path) -> None:
    full_size.write_target(tmp_path, TINY)
    arrays = mx.load(str(tmp_path / "model.safetensors"))
    assert isinstance(arrays, dict)
    floats = {name: np.array(array.astype(mx.float32)) for name, array in arrays.items()}
    embedding = floats["model.language_model.embed_tokens.weight"]
    assert embedding.std() == pytest.approx(full_size.SPREAD, rel=0.02)
    assert len(np.unique(embedding, axis=0)) == TINY.vocabulary
    norm = floats["model.language_model.layers.1.input_layernorm.weight"]
    assert norm.mean() == pytest.approx(1, abs=0.02)
    assert norm.std() > 0
    assert json.loads((tmp_path / "config.json").read_text())["text_config"]["num_hidden_layers"] == TINY.layers


def test_the_buffer_repeats_without_a_gap() -> None:
    buffer = full_size._random_buffer()
    size = len(buffer)
    for start, count in ((0, 0), (0, 1), (size - 1, 2), (3, size), (5, 2 * size + 7), (3 * size + 2, 4)):
        parts = [part.tolist() for part in full_size._wrapped(buffer, start, count)]
        flat = [value for part in parts for value in part]
        assert len(flat) == count
        assert [flat[i] for i in (0, -1) if flat] == [buffer[(start + i) % size] for i in (0, count - 1) if count]
