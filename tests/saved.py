"""Checkpoints of tiny random models, written as publishers write them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_map_with_path

from gemma_mlx.config import ModelConfig
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.gemma import GemmaModel
from tests import tiny

Arrays = dict[str, mx.array]


def raw_config(**changes: Any) -> dict[str, Any]:
    """`tiny.raw_config` with widths that every group size divides."""
    widths = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 32, "global_head_dim": 64}
    raw = tiny.raw_config(**(widths | changes))
    width = raw["text_config"]["hidden_size"]
    raw["vision_config"] = {"mm_embed_dim": width, "output_proj_dims": width, "mm_posemb_size": 8}
    return raw


def model(raw: Mapping[str, Any], seed: int = 0) -> GemmaModel:
    """A random model of that configuration, all of whose tensors matter."""
    rng = np.random.default_rng(seed)

    def draw(path: str, array: mx.array) -> mx.array:
        spread = rng.uniform(0.5, 1.5, array.shape) if array.ndim == 1 else rng.standard_normal(array.shape) / 8
        return mx.array(spread.astype(np.float32))

    network = GemmaModel(ModelConfig.from_dict(raw))
    network.update(tree_map_with_path(draw, network.parameters()))
    mx.eval(network.parameters())
    return network


def arrays(network: nn.Module) -> Arrays:
    """The model's tensors by our names."""
    return dict(tree_flatten(network.parameters()))


def published(name: str) -> str:
    """As google/gemma-4-12B-it names it."""
    return f"model.{name}"


def of_modules(name: str) -> str:
    """As the modules of transformers are called: pictures are one module."""
    name = name.replace("embed_vision.", "embed_vision.multimodal_embedder.")
    return f"model.{name.replace('vision_embedder.', 'embed_vision.')}"


def of_mlx_vlm(name: str) -> str:
    """As mlx-vlm converts it."""
    return name.replace("language_model.", "language_model.model.")


def write(directory: Path, raw: Mapping[str, Any], tensors: Arrays, shards: int = 1) -> Path:
    """A model directory: `config.json` and one file, or shards with an index."""
    (directory / "config.json").write_text(json.dumps(raw))
    if shards == 1:
        mx.save_safetensors(str(directory / "model.safetensors"), tensors, {"format": "mlx"})
        return directory
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        mx.save_safetensors(str(directory / file), part, {"format": "mlx"})
        weight_map |= dict.fromkeys(part, file)
    write_index(directory, weight_map)
    return directory


def write_index(directory: Path, weight_map: Any) -> None:
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def renamed(tensors: Arrays, name: Callable[[str], str]) -> Arrays:
    return {name(ours): array for ours, array in tensors.items()}


def answer(network: GemmaModel) -> mx.array:
    """Logits after a little text, a picture of two patches and two frames of sound, (1, 9, vocab)."""
    pixels = mx.arange(2 * 6912).reshape(2, 6912) % 251
    rows = [
        network.embed_text(mx.array([[2, 7, 1, 8, 2]])),
        network.embed_image(pixels.astype(mx.uint8), mx.array([[0, 0], [1, 0]])),
        network.embed_sound(mx.sin(mx.arange(2 * 640).reshape(2, 640))),
    ]
    hidden = network(mx.concatenate(rows, axis=1), Caches(network.config.text_config), [(5, 7)])
    logits = network.logits(hidden)
    mx.eval(logits)
    return logits
