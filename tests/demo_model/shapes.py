"""Configs of the demo model and of its drafter, in the published spelling. Token ids come from the tokenizer.

Small, but every feature of the 12B is there: two head sizes, K = V and proportional rotary positions on full layers, a
sliding window that long prompts leave behind, a soft cap, vision, audio, a drafter. Every third layer is full instead
of every sixth: with one full layer of six nothing could compare two pictures. Widths are multiples of 64, so that the
model can be quantized; √256 is exact in bfloat16. Source: the published configs of Gemma 4 12B and its assistant.
"""

from collections.abc import Mapping
from typing import Any

HIDDEN, DRAFT_HIDDEN = 256, 128
SLIDING, FULL = "sliding_attention", "full_attention"


def target_config(ids: Mapping[str, int], vocab_size: int) -> dict[str, Any]:
    """The demo model: six layers, four of them sliding over 256 tokens. `ids`: control-token literal to id."""
    text = _text_config(ids, vocab_size, (SLIDING, SLIDING, FULL) * 2) | {
        "final_logit_softcapping": 30.0,
        "vocab_size_per_layer_input": vocab_size,
    }
    vision = {
        "mm_embed_dim": HIDDEN,
        "mm_posemb_size": 1120,
        "model_patch_size": 48,
        "model_type": "gemma4_unified_vision",
        "num_soft_tokens": 280,
        "output_proj_dims": HIDDEN,
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "rms_norm_eps": 1e-06,
    }
    audio = {
        "audio_embed_dim": 640,
        "audio_samples_per_token": 640,
        "hidden_size": 640,
        "model_type": "gemma4_unified_audio",
        "output_proj_dims": 640,
        "rms_norm_eps": 1e-06,
    }
    return _media_ids(ids) | {
        "architectures": ["Gemma4UnifiedForConditionalGeneration"],
        "audio_config": audio,
        "dtype": "bfloat16",
        "eos_token_id": [ids["<eos>"], ids["<turn|>"]],
        "initializer_range": 0.02,
        "model_type": "gemma4_unified",
        "text_config": text,
        "tie_word_embeddings": True,
        "video_token_id": ids["<|video|>"],
        "vision_config": vision,
    }


def drafter_config(ids: Mapping[str, int], vocab_size: int) -> dict[str, Any]:
    """The drafter: four layers without keys and values of their own, no soft cap."""
    text = _text_config(ids, vocab_size, (SLIDING,) * 3 + (FULL,)) | {
        "dtype": "bfloat16",
        "final_logit_softcapping": None,
        "hidden_size": DRAFT_HIDDEN,
        "intermediate_size": 512,
        "num_kv_shared_layers": 4,
        "vocab_size_per_layer_input": 0,
    }
    return _media_ids(ids) | {
        "architectures": ["Gemma4UnifiedAssistantForCausalLM"],
        "backbone_hidden_size": HIDDEN,
        "centroid_intermediate_top_k": 32,
        "dtype": "bfloat16",
        "model_type": "gemma4_unified_assistant",
        "num_centroids": 2048,
        "text_config": text,
        "tie_word_embeddings": True,
        "use_ordered_embeddings": False,
    }


def drafter_generation_config(ids: Mapping[str, int]) -> dict[str, Any]:
    """`generation_config.json` of the drafter."""
    return {
        "bos_token_id": ids["<bos>"],
        "do_sample": True,
        "eos_token_id": ids["<eos>"],
        "pad_token_id": ids["<pad>"],
        "suppress_tokens": [ids["<audio|>"], ids["<image|>"]],
        "temperature": 1.0,
        "top_k": 64,
        "top_p": 0.95,
    }


def _media_ids(ids: Mapping[str, int]) -> dict[str, Any]:
    return {
        "audio_token_id": ids["<|audio|>"],
        "boa_token_id": ids["<|audio>"],
        "boi_token_id": ids["<|image>"],
        "eoa_token_index": ids["<audio|>"],
        "eoi_token_id": ids["<image|>"],
        "image_token_id": ids["<|image|>"],
    }


def _text_config(ids: Mapping[str, int], vocab_size: int, layer_types: tuple[str, ...]) -> dict[str, Any]:
    return {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attention_k_eq_v": True,
        "bos_token_id": ids["<bos>"],
        "enable_moe_block": False,
        "eos_token_id": ids["<eos>"],
        "global_head_dim": 128,
        "head_dim": 64,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": HIDDEN,
        "hidden_size_per_layer_input": 0,
        "initializer_range": 0.02,
        "intermediate_size": 768,
        "layer_types": list(layer_types),
        "max_position_embeddings": 32768,
        "model_type": "gemma4_unified_text",
        "moe_intermediate_size": None,
        "num_attention_heads": 4,
        "num_experts": None,
        "num_global_key_value_heads": 1,
        "num_hidden_layers": len(layer_types),
        "num_key_value_heads": 2,
        "num_kv_shared_layers": 0,
        "pad_token_id": ids["<pad>"],
        "rms_norm_eps": 1e-06,
        "rope_parameters": {
            FULL: {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
            SLIDING: {"rope_theta": 10000.0, "rope_type": "default"},
        },
        "sliding_window": 256,
        "tie_word_embeddings": True,
        "top_k_experts": None,
        "use_bidirectional_attention": "vision",
        "use_cache": True,
        "use_double_wide_mlp": False,
        "vocab_size": vocab_size,
    }
