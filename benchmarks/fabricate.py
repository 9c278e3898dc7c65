"""A checkpoint of random weights in the published layout, for measuring speed without the published model.

Its answers mean nothing; its shapes are those of the 12B, narrower. Knows the layout only.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from gemma_mlx.config import ModelConfig
from gemma_mlx.model.gemma import GemmaModel


@dataclass(frozen=True)
class Shape:
    """Width and depth of the decoder; five sliding layers to a full one."""

    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    head_dim: int = 64
    sliding_window: int = 512
    vocab_size: int = 16384


def write_checkpoint(directory: Path, shape: Shape, seed: int = 0) -> int:
    """Write `config.json` and `model.safetensors` (float32). Returns the number of parameters."""
    directory.mkdir(parents=True, exist_ok=True)
    raw = raw_config(shape)
    mx.random.seed(seed)
    model = GemmaModel(ModelConfig.from_dict(raw))
    weights = {f"model.{name}": array for name, array in dict(tree_flatten(model.parameters())).items()}
    mx.save_safetensors(str(directory / "model.safetensors"), weights, {"format": "mlx"})
    (directory / "config.json").write_text(json.dumps(raw, indent=1))
    return sum(array.size for array in weights.values())


def raw_config(shape: Shape) -> dict[str, Any]:
    """A `config.json` in the published spelling."""
    kinds = ["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(shape.num_hidden_layers)]
    full_rope = {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.25}
    text = {
        "model_type": "gemma4_unified_text",
        **vars(shape),
        "layer_types": kinds,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "num_global_key_value_heads": 1,
        "global_head_dim": 2 * shape.head_dim,
        "attention_k_eq_v": True,
        "num_kv_shared_layers": 0,
        "hidden_size_per_layer_input": 0,
        "use_bidirectional_attention": "vision",
        "final_logit_softcapping": 30.0,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131072,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": full_rope,
        },
    }
    width = shape.hidden_size
    return {
        "architectures": ["Gemma4UnifiedForConditionalGeneration"],
        "model_type": "gemma4_unified",
        "dtype": "float32",
        "tie_word_embeddings": True,
        "eos_token_id": [1],
        "image_token_id": 10,
        "audio_token_id": 11,
        "video_token_id": 12,
        "boi_token_id": 13,
        "eoi_token_id": 14,
        "boa_token_id": 15,
        "eoa_token_index": 16,
        "text_config": text,
        "vision_config": {"model_type": "gemma4_unified_vision", "mm_embed_dim": width, "output_proj_dims": width},
        "audio_config": {"model_type": "gemma4_unified_audio", "audio_embed_dim": 640},
    }
