"""The published Gemma 4 12B and its assistant as numbers: what they take, before anything is downloaded.

Every tensor's shape follows from the configuration, its bytes from the recipe. Knows arithmetic: no files.
Source: `config.json` of google/gemma-4-12B-it and its assistant; affine packing of MLX (a scale and a bias for every
group).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gemma_mlx.config import FULL, SLIDING, AttentionConfig, DrafterConfig, ModelConfig, TextConfig
from gemma_mlx.errors import ConfigError
from gemma_mlx.memory.values import ModelBytes
from gemma_mlx.quantization import ModuleQuantization

RECIPES = {
    "4bit": ModuleQuantization(64, 4),
    "4bit-g32": ModuleQuantization(32, 4),
    "qat-q4_0": ModuleQuantization(32, 4),  # other numbers in the same layout
    "8bit": ModuleQuantization(64, 8),
    "bf16": None,
}
DRAFTER = "4bit"  # the recipe that `pull` packs the assistant by
_TEXT: dict[str, Any] = {
    "model_type": "gemma4_unified_text",
    "hidden_size": 3840,
    "intermediate_size": 15360,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "num_global_key_value_heads": 1,
    "head_dim": 256,
    "global_head_dim": 512,
    "attention_k_eq_v": True,
    "num_kv_shared_layers": 0,
    "sliding_window": 1024,
    "vocab_size": 262144,
    "max_position_embeddings": 262144,
    "final_logit_softcapping": 30.0,
    "layer_types": [FULL if index % 6 == 5 else SLIDING for index in range(48)],
}
_ASSISTANT_TEXT = {
    "hidden_size": 1024,
    "intermediate_size": 8192,
    "num_hidden_layers": 4,
    "num_kv_shared_layers": 4,
    "layer_types": [SLIDING] * 3 + [FULL],
    "final_logit_softcapping": None,
}


@dataclass(frozen=True)
class _Matrix:
    """Rows and width of what recipes pack (`language`), or keep."""

    rows: int
    width: int
    language: bool = True


def target_config(recipe: str) -> ModelConfig:
    """The published 12B, packed by a recipe."""
    packing = _packing(recipe)
    block = None if packing is None else {"group_size": packing.group_size, "bits": packing.bits}
    vision = {"mm_embed_dim": 3840, "output_proj_dims": 3840, "mm_posemb_size": 1120}
    raw = {"model_type": "gemma4_unified", "text_config": _TEXT, "vision_config": vision, "audio_config": {}}
    return ModelConfig.from_dict({**raw, "quantization": block})


def drafter_config() -> DrafterConfig:
    """The published assistant."""
    text = _TEXT | _ASSISTANT_TEXT
    return DrafterConfig.from_dict(
        {"model_type": "gemma4_unified_assistant", "backbone_hidden_size": 3840, "text_config": text}
    )


def published_bytes(recipe: str, item: int, *, drafter: bool = False) -> ModelBytes:
    """The 12B packed by a recipe, as loaded in an activation type of `item` bytes, perhaps with its assistant as
    `pull` packs it. Raises `ConfigError` for an unknown recipe."""
    config = target_config(recipe)
    packing, text = _packing(recipe), config.text_config
    layer = max(sum(_bytes(m, packing, item) for m in _layer(text, kind)) for kind in text.layers)
    head = _bytes(_Matrix(text.vocab_size, text.hidden_size), packing, item)
    model = ModelBytes(config, packed_bytes(config, recipe, item), max(layer, head), item)
    return model.with_drafter(drafter_config(), drafter_bytes(drafter_config(), DRAFTER, item)) if drafter else model


def packed_bytes(config: ModelConfig, recipe: str, item: int) -> int:
    """Resident bytes of a model of that shape: the language model and its head packed, all else kept."""
    packing = _packing(recipe)
    return sum(_bytes(matrix, packing, item) for matrix in _target(config))


def drafter_bytes(config: DrafterConfig, recipe: str, item: int) -> int:
    """Resident bytes of an assistant of that shape: every matrix packed, norms kept."""
    packing, text, backbone = _packing(recipe), config.text_config, config.backbone_hidden_size
    matrices = [_Matrix(text.vocab_size, text.hidden_size), _Matrix(1, text.hidden_size, False)]
    matrices += [_Matrix(text.hidden_size, 2 * backbone), _Matrix(backbone, text.hidden_size)]
    for layer in text.layers:
        width = text.num_attention_heads * layer.head_dim
        matrices += [_Matrix(width, text.hidden_size)] * 2 + [*_feed_forward(text)]
        matrices.append(_Matrix(1, 4 * text.hidden_size + layer.head_dim + 1, False))
    return sum(_bytes(matrix, packing, item) for matrix in matrices)


def _packing(recipe: str) -> ModuleQuantization | None:
    if recipe not in RECIPES:
        raise ConfigError(f"{recipe!r} is no recipe with known bytes: choose one of {', '.join(RECIPES)}")
    return RECIPES[recipe]


def _bytes(matrix: _Matrix, packing: ModuleQuantization | None, item: int) -> int:
    count = matrix.rows * matrix.width
    if packing is None or not matrix.language:
        return count * item
    return count * packing.bits // 8 + 2 * item * count // packing.group_size


def _target(config: ModelConfig) -> Iterator[_Matrix]:
    """Every tensor; those that recipes keep may stand together as one."""
    text = config.text_config
    yield _Matrix(text.vocab_size, text.hidden_size)
    yield _Matrix(1, text.hidden_size, False)
    for layer in text.layers:
        yield from _layer(text, layer)
    if (vision := config.vision_config) is not None:
        width = vision.mm_embed_dim
        yield _Matrix(width, vision.patch_dim + 1, False)
        yield _Matrix(1, 2 * vision.patch_dim + 4 * width, False)
        yield _Matrix(vision.mm_posemb_size, 2 * width, False)
        yield _Matrix(text.hidden_size, vision.output_proj_dims, False)
    if config.audio_config is not None:
        yield _Matrix(text.hidden_size, config.audio_config.audio_embed_dim, False)


def _layer(text: TextConfig, layer: AttentionConfig) -> Iterator[_Matrix]:
    queries, keys = text.num_attention_heads * layer.head_dim, layer.num_key_value_heads * layer.head_dim
    yield _Matrix(queries, text.hidden_size)
    yield _Matrix(keys, text.hidden_size)
    if not layer.k_eq_v:
        yield _Matrix(keys, text.hidden_size)
    yield _Matrix(text.hidden_size, queries)
    yield from _feed_forward(text)
    yield _Matrix(1, 4 * text.hidden_size + 2 * layer.head_dim + 1, False)


def _feed_forward(text: TextConfig) -> Iterator[_Matrix]:
    yield _Matrix(2 * text.intermediate_size, text.hidden_size)
    yield _Matrix(text.hidden_size, text.intermediate_size)
