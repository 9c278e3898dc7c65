"""`config.json` of tiny targets and assistants in the published spelling: every feature of the 12B, nothing its size.

The shapes differ in what a wrong reading of the config would confuse: hidden widths with an irrational root, K = V and
not, one or several key heads on full layers, pattern of layers, window, soft cap, share of rotated pairs.
"""

from dataclasses import dataclass
from typing import Any

SLIDING, FULL = "sliding_attention", "full_attention"
IMAGE, AUDIO, VIDEO, BOI, EOI, BOA, EOA = 7, 9, 11, 13, 14, 15, 16
MEDIA_IDS = frozenset({IMAGE, AUDIO, VIDEO, BOI, EOI, BOA, EOA})
ASSISTANT_LAYERS = (SLIDING,) * 3 + (FULL,)


@dataclass(frozen=True)
class Shape:
    """What differs between the tiny models."""

    name: str
    layer_types: tuple[str, ...]
    hidden: int = 48
    window: int = 12
    kv_heads: int = 2
    global_kv_heads: int = 1
    k_eq_v: bool = True
    softcap: float | None = 30.0
    rotated: float = 0.25
    vocab: int = 257
    vision_width: int = 40


SHAPES = (
    Shape("published", (SLIDING,) * 5 + (FULL,)),
    Shape("short_pattern", ((SLIDING,) * 2 + (FULL,)) * 2 + (FULL,), hidden=32, window=8, rotated=0.5, vocab=211),
    Shape("separate_values", (SLIDING,) * 5 + (FULL,), k_eq_v=False, softcap=None, rotated=0.125),
    Shape("more_heads", (FULL,) + (SLIDING,) * 4 + (FULL,), hidden=64, window=16, kv_heads=4, global_kv_heads=2),
)


def tiny_config(shape: Shape) -> dict[str, Any]:
    """The target's published `config.json`."""
    return _media_ids() | {
        "architectures": ["Gemma4UnifiedForConditionalGeneration"],
        "audio_config": {
            "audio_embed_dim": 640,
            "audio_samples_per_token": 640,
            "hidden_size": 640,
            "model_type": "gemma4_unified_audio",
            "output_proj_dims": 640,
            "rms_norm_eps": 1e-06,
        },
        "dtype": "float32",
        "eos_token_id": [1, 6],
        "model_type": "gemma4_unified",
        "text_config": _text_config(shape, shape.hidden, shape.layer_types)
        | {"final_logit_softcapping": shape.softcap, "num_kv_shared_layers": 0},
        "tie_word_embeddings": True,
        "video_token_id": VIDEO,
        "vision_config": {
            "mm_embed_dim": shape.vision_width,
            "mm_posemb_size": 64,
            "model_patch_size": 48,
            "model_type": "gemma4_unified_vision",
            "num_soft_tokens": 280,
            "output_proj_dims": shape.vision_width,
            "patch_size": 16,
            "pooling_kernel_size": 3,
            "rms_norm_eps": 1e-06,
        },
    }


def assistant_config(shape: Shape) -> dict[str, Any]:
    """The published `config.json` of an assistant of that target, narrower than it."""
    return _media_ids() | {
        "architectures": ["Gemma4UnifiedAssistantForCausalLM"],
        "backbone_hidden_size": shape.hidden,
        "centroid_intermediate_top_k": 32,
        "dtype": "float32",
        "model_type": "gemma4_unified_assistant",
        "num_centroids": 2048,
        "text_config": _text_config(shape, 24, ASSISTANT_LAYERS)
        | {"final_logit_softcapping": None, "num_kv_shared_layers": len(ASSISTANT_LAYERS)},
        "tie_word_embeddings": True,
        "use_ordered_embeddings": False,
    }


def _media_ids() -> dict[str, Any]:
    return {
        "audio_token_id": AUDIO,
        "boa_token_id": BOA,
        "boi_token_id": BOI,
        "eoa_token_index": EOA,
        "eoi_token_id": EOI,
        "image_token_id": IMAGE,
    }


def _text_config(shape: Shape, hidden: int, layer_types: tuple[str, ...]) -> dict[str, Any]:
    return {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attention_k_eq_v": shape.k_eq_v,
        "bos_token_id": 2,
        "enable_moe_block": False,
        "eos_token_id": 1,
        "global_head_dim": 32,
        "head_dim": 16,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": hidden,
        "hidden_size_per_layer_input": 0,
        "intermediate_size": 2 * hidden,
        "layer_types": list(layer_types),
        "max_position_embeddings": 4096,
        "model_type": "gemma4_unified_text",
        "moe_intermediate_size": None,
        "num_attention_heads": 4,
        "num_experts": None,
        "num_global_key_value_heads": shape.global_kv_heads,
        "num_hidden_layers": len(layer_types),
        "num_key_value_heads": shape.kv_heads,
        "pad_token_id": 0,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {
            FULL: {"partial_rotary_factor": shape.rotated, "rope_theta": 1000000.0, "rope_type": "proportional"},
            SLIDING: {"rope_theta": 10000.0, "rope_type": "default"},
        },
        "sliding_window": shape.window,
        "tie_word_embeddings": True,
        "top_k_experts": None,
        "use_bidirectional_attention": "vision",
        "use_cache": True,
        "use_double_wide_mlp": False,
        "vocab_size": shape.vocab,
        "vocab_size_per_layer_input": shape.vocab,
    }
