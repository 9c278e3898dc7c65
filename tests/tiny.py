"""Tiny models with random weights, for tests that need the architecture but no meaning. MLX only, no files."""

from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map_with_path

from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.inputs.prompt import Segment
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel

WINDOW = 16
VOCAB = 128
IMAGE, AUDIO, VIDEO = 100, 101, 102


def text_config(**changes: Any) -> dict[str, Any]:
    """A published-spelling `text_config`: hidden 32, seven layers, window 16."""
    raw: dict[str, Any] = {
        "model_type": "gemma4_unified_text",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 7,
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"] + ["sliding_attention"] * 2 + ["full_attention"],
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_global_key_value_heads": 1,
        "head_dim": 16,
        "global_head_dim": 32,
        "attention_k_eq_v": True,
        "sliding_window": WINDOW,
        "vocab_size": VOCAB,
        "final_logit_softcapping": 30.0,
        "max_position_embeddings": 4096,
        "num_kv_shared_layers": 0,
    }
    return raw | changes


def raw_config(**changes: Any) -> dict[str, Any]:
    """A published-spelling `config.json`; `changes` go into its text_config."""
    return {
        "model_type": "gemma4_unified",
        "tie_word_embeddings": True,
        "text_config": text_config(**changes),
        "vision_config": {"mm_embed_dim": 32, "output_proj_dims": 32, "mm_posemb_size": 64},
        "audio_config": {"audio_embed_dim": 640},
        "image_token_id": IMAGE,
        "audio_token_id": AUDIO,
        "video_token_id": VIDEO,
        "boi_token_id": 103,
        "eoi_token_id": 104,
        "boa_token_id": 105,
        "eoa_token_index": 106,
        "eos_token_id": [1],
    }


def config(**changes: Any) -> ModelConfig:
    """The tiny target's configuration."""
    return ModelConfig.from_dict(raw_config(**changes))


def model(seed: int = 0, **changes: Any) -> GemmaModel:
    """A tiny target; norms and layer scalars differ from 1, so that leaving one out shows."""
    network = GemmaModel(config(**changes))
    network.update(_random(network.parameters(), seed))
    mx.eval(network.parameters())
    return network


def drafter(seed: int = 0) -> Drafter:
    """A tiny drafter for `model()`."""
    types = ["sliding_attention"] * 3 + ["full_attention"]
    raw = {
        "model_type": "gemma4_unified_assistant",
        "backbone_hidden_size": 32,
        "text_config": text_config(
            num_hidden_layers=4, layer_types=types, num_kv_shared_layers=4, final_logit_softcapping=None
        ),
    }
    network = Drafter(DrafterConfig.from_dict(raw))
    network.update(_random(network.parameters(), seed))
    mx.eval(network.parameters())
    return network


def text(ids: list[int]) -> Segment:
    """A text segment."""
    return Segment("text", np.array(ids, np.int32))


def image(rows: int, columns: int, seed: int = 0, kind: str = "image") -> Segment:
    """An image or video frame of random patches."""
    pixels = np.random.default_rng(seed).integers(0, 256, (rows * columns, 6912), np.uint8)
    positions = np.array([(x, y) for y in range(rows) for x in range(columns)], np.int32)
    token = {"image": IMAGE, "video": VIDEO}[kind]
    ids = np.full(rows * columns, token, np.int32)
    return Segment("image" if kind == "image" else "video", ids, pixels, positions, f"{kind}-{rows}x{columns}-{seed}")


def sound(frames: int, seed: int = 0) -> Segment:
    """An audio block of random samples."""
    samples = np.random.default_rng(seed).uniform(-1, 1, (frames, 640)).astype(np.float32)
    return Segment("audio", np.full(frames, AUDIO, np.int32), samples, None, f"audio-{frames}-{seed}")


def _random(parameters: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)

    def draw(path: str, array: mx.array) -> mx.array:
        if array.ndim == 1:
            return mx.array(rng.uniform(0.5, 1.5, array.shape).astype(np.float32))
        return mx.array((rng.standard_normal(array.shape) / array.shape[-1] ** 0.5).astype(np.float32))

    return tree_map_with_path(draw, parameters)
