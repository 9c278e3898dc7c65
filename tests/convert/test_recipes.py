"""Recipes: which part of the model each tensor belongs to, how it is packed, and what that comes to in bytes."""

from collections import Counter
from math import prod
from pathlib import Path

import pytest
from mlx.utils import tree_flatten

from gemma_mlx.checkpoint import ITEM_BYTES, Tensor
from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.convert.layout import output_bytes, plan_layout
from gemma_mlx.convert.recipes import (
    DRAFTER_RECIPES,
    RECIPES,
    Recipe,
    affine,
    find_recipe,
    kind_of,
    packing_of,
    part_of,
    undivided,
)
from gemma_mlx.convert.source import Source
from gemma_mlx.errors import GemmaError
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.weights import Weights
from tests import configs

MATRIX = (128, 256)


def source(config: ModelConfig | DrafterConfig, dtype: str = "BF16") -> Source:
    """A checkpoint of that model as headers would show it; its shapes alone, nothing is evaluated."""
    model = GemmaModel(config) if isinstance(config, ModelConfig) else Drafter(config)
    shapes = {name: array.shape for name, array in dict(tree_flatten(model.parameters())).items()}
    tensors = {
        name: Tensor(name, Path(), dtype, shape, prod(shape) * ITEM_BYTES[dtype], 0) for name, shape in shapes.items()
    }
    return Source(Path(), {}, config, shapes, Weights(Path(), tensors, None))


@pytest.fixture(scope="module")
def published() -> Source:
    return source(ModelConfig.from_dict(configs.published("target_it")))


@pytest.fixture(scope="module")
def assistant() -> Source:
    return source(DrafterConfig.from_dict(configs.published("assistant")))


def bytes_by_part(recipe: Recipe, checkpoint: Source) -> dict[str, int]:
    """Bytes of the output's tensors, headers not counted."""
    totals: Counter[str] = Counter()
    for task in plan_layout(checkpoint, recipe, 1 << 62).tasks:
        name = task.sources[0].name
        totals[part_of(name, checkpoint.shapes[name])] += sum(tensor.nbytes for tensor in task.outputs)
    return dict(totals)


def test_every_tensor_of_the_12b_has_its_part(published: Source) -> None:
    counts: Counter[str] = Counter()
    for name, shape in published.shapes.items():
        counts[part_of(name, shape)] += prod(shape)
    assert counts == {
        "language": 11_907_350_272 - 1_006_632_960 - (48 * 4 + 1) * 3840 - 40 * 512 - 8 * 1024,
        "head": 1_006_632_960,
        "vision": 26_542_080 + 14_745_600,
        "audio": 2_457_600,
        "kept": 8_601_600 + 802_864,
    }


def test_every_tensor_of_the_assistant_has_its_part(assistant: Source) -> None:
    parts = {name: part_of(name, shape) for name, shape in assistant.shapes.items()}
    assert set(parts.values()) == {"drafter", "kept"}
    kept = [name for name, part in parts.items() if part == "kept"]
    assert all(name.endswith(("norm.weight", "layer_scalar")) for name in kept)


@pytest.mark.parametrize(
    ("name", "shape", "part", "kind"),
    [
        ("language_model.layers.0.self_attn.q_proj.weight", MATRIX, "language", "q"),
        ("language_model.layers.11.self_attn.o_proj.weight", MATRIX, "language", "o"),
        ("language_model.layers.0.mlp.gate_proj.weight", MATRIX, "language", "gate"),
        ("language_model.layers.0.mlp.down_proj.weight", MATRIX, "language", "down"),
        ("language_model.embed_tokens.weight", MATRIX, "head", "embedding"),
        ("language_model.embed_tokens.scales", MATRIX, "kept", "kept"),
        ("language_model.layers.0.input_layernorm.weight", (256,), "kept", "kept"),
        ("language_model.layers.0.layer_scalar", (1,), "kept", "kept"),
        ("vision_embedder.patch_dense.weight", MATRIX, "vision", "vision"),
        ("vision_embedder.patch_dense.bias", (256,), "kept", "kept"),
        ("vision_embedder.pos_embedding", (1120, 2, 256), "kept", "kept"),
        ("vision_embedder.pos_embedding.weight", (1120, 2, 256), "kept", "kept"),
        ("embed_vision.embedding_projection.weight", MATRIX, "vision", "vision"),
        ("embed_audio.embedding_projection.weight", MATRIX, "audio", "audio"),
        ("model.embed_tokens.weight", MATRIX, "drafter", "embedding"),
        ("model.layers.3.self_attn.q_proj.weight", MATRIX, "drafter", "q"),
        ("pre_projection.weight", MATRIX, "drafter", "projection"),
        ("post_projection.weight", MATRIX, "drafter", "projection"),
        ("somebody_elses.weight", MATRIX, "kept", "kept"),
    ],
)
def test_part_and_kind_follow_from_the_name(name: str, shape: tuple[int, ...], part: str, kind: str) -> None:
    assert part_of(name, shape) == part
    assert kind_of(name, shape) == kind


@pytest.mark.parametrize(
    ("recipe", "head", "language"),
    [
        ("4bit", 566_231_040, 1_061_683_200 + 291_962_880 + 4_777_574_400),
        ("4bit-g32", 629_145_600, 1_179_648_000 + 324_403_200 + 5_308_416_000),
        ("qat-q4_0", 629_145_600, 1_179_648_000 + 324_403_200 + 5_308_416_000),
        ("8bit", 1_069_547_520, 2_005_401_600 + 551_485_440 + 9_024_307_200),
        ("mixed", 566_231_040, 1_061_683_200 + 291_962_880 + 4_777_574_400),
        ("bf16", 2_013_265_920, 3_774_873_600 + 1_038_090_240 + 16_986_931_200),
    ],
)
def test_bytes_of_the_12b(recipe: str, head: int, language: int, published: Source) -> None:
    kept = {"vision": 53_084_160 + 29_491_200, "audio": 4_915_200, "kept": 17_203_200 + 1_605_728}
    assert bytes_by_part(RECIPES[recipe], published) == {"head": head, "language": language, **kept}
    tensors, files = head + language + sum(kept.values()), output_bytes(published, RECIPES[recipe])
    assert tensors < files < tensors + 300_000  # headers


def test_the_default_output_of_the_12b_stays_small(published: Source) -> None:
    assert output_bytes(published, RECIPES["4bit"]) <= 6.85e9


@pytest.mark.parametrize(("recipe", "nbytes"), [("4bit", 237_883_912), ("8bit", 449_303_048), ("bf16", 845_713_928)])
def test_bytes_of_the_assistant(recipe: str, nbytes: int, assistant: Source) -> None:
    assert sum(bytes_by_part(DRAFTER_RECIPES[recipe], assistant).values()) == nbytes


@pytest.mark.parametrize("width", [31, 32, 33, 63, 64, 65, 96, 128])
def test_a_width_that_no_group_divides_is_kept_and_said(width: int) -> None:
    name, shape = "language_model.layers.0.mlp.up_proj.weight", (8, width)
    for recipe in RECIPES.values():
        group = 0 if recipe.default is None else recipe.default.group_size
        packed = packing_of(recipe, name, shape) is not None
        assert packed == (group > 0 and width % group == 0)
        assert undivided(recipe, name, shape) == (group > 0 and width % group != 0)
        assert not undivided(recipe, "embed_audio.embedding_projection.weight", shape)


def test_a_module_may_differ_from_its_part() -> None:
    path = "language_model.layers.0.mlp.up_proj"
    recipe = Recipe("mixed", "", RECIPES["4bit"].parts, {path: affine(8, 64)})
    assert packing_of(recipe, f"{path}.weight", MATRIX) == affine(8, 64)
    assert packing_of(recipe, path.replace("0", "1") + ".weight", MATRIX) == affine(4, 64)


def test_only_the_recipe_that_casts_changes_types() -> None:
    for dtype in ("F32", "F16", "BF16"):
        assert RECIPES["bf16"].stored_dtype(dtype) == "BF16"
        assert {recipe.stored_dtype(dtype) for recipe in RECIPES.values() if recipe.name != "bf16"} == {dtype}
    assert RECIPES["bf16"].stored_dtype("U32") == "U32"


@pytest.mark.parametrize(("dtype", "item"), [("F32", 4), ("F16", 2), ("BF16", 2)])
def test_scales_have_the_stored_type(dtype: str, item: int, published: Source) -> None:
    checkpoint = source(published.config, dtype)
    kept = bytes_by_part(RECIPES["4bit"], checkpoint)["kept"]
    assert kept == item * (8_601_600 + 802_864)
    assert bytes_by_part(RECIPES["4bit"], checkpoint)["head"] == 1_006_632_960 // 2 + 2 * item * 1_006_632_960 // 64


@pytest.mark.parametrize(
    ("name", "drafter", "words"),
    [
        ("4-bit", False, "4bit, 4bit-g32, 8bit, bf16, mixed, qat-q4_0"),
        ("mixed", True, "no recipe for the assistant: choose one of 4bit, 8bit, bf16"),
        ("", False, "'' is no recipe"),
        ("4bit\n", False, "4bit, 4bit-g32"),
    ],
)
def test_an_unknown_recipe_is_one_line_that_names_the_known(name: str, drafter: bool, words: str) -> None:
    with pytest.raises(GemmaError) as fault:
        find_recipe(name, drafter)
    assert words in str(fault.value)
    assert "\n" not in str(fault.value)


def test_every_recipe_is_found_by_its_name() -> None:
    assert all(find_recipe(name) == recipe for name, recipe in RECIPES.items())
    assert all(find_recipe(name, drafter=True) == recipe for name, recipe in DRAFTER_RECIPES.items())
