"""The layout of Gemma 4 12B and its assistant: configurations, names and shapes, as published or smaller.

Source: tensor listings and `config.json` of google/gemma-4-12B-it and google/gemma-4-12B-it-assistant. Knows no values.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

PATCH, FRAME = 48 * 48 * 3, 640  # values of a picture's patch and of a frame of sound


@dataclass(frozen=True)
class Size:
    """Widths and depth of the target and its assistant; as published if nothing is said."""

    layers: int = 48
    hidden: int = 3840
    intermediate: int = 15360
    heads: int = 16
    kv_heads: int = 8
    head_dim: int = 256
    vocabulary: int = 262144
    window: int = 1024
    positions: int = 1120  # of patches along one side
    draft_hidden: int = 1024
    draft_intermediate: int = 8192
    boundary_id: int = 255999  # begin of a picture; begin of sound follows
    medium_id: int = 258880  # placeholders and ends of pictures, sound and video


PUBLISHED = Size()
TINY = Size(6, 128, 256, 4, 2, 32, 2048, 64, 128, 64, 128, boundary_id=2000, medium_id=2010)


@dataclass(frozen=True)
class Spec:
    """One tensor to write, bfloat16."""

    name: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return 2 * self.count

    @property
    def near_one(self) -> bool:
        """Whether its values multiply: weights of norms, and the layers' scalars."""
        return self.name.endswith("layer_scalar") or (len(self.shape) == 1 and self.name.endswith(".weight"))


def layer_types(layers: int) -> list[str]:
    """Five sliding layers to a full one."""
    return ["full_attention" if (layer + 1) % 6 == 0 else "sliding_attention" for layer in range(layers)]


def target_config(size: Size = PUBLISHED) -> dict[str, Any]:
    """`config.json` of the target."""
    boundary, medium = size.boundary_id, size.medium_id
    return {
        "architectures": ["Gemma4UnifiedForConditionalGeneration"],
        "model_type": "gemma4_unified",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "eos_token_id": [1, 106],
        "boi_token_id": boundary,
        "boa_token_id": boundary + 1,
        "image_token_id": medium,
        "audio_token_id": medium + 1,
        "eoi_token_id": medium + 2,
        "eoa_token_index": medium + 3,
        "video_token_id": medium + 4,
        "text_config": _text_config(size)
        | {
            "hidden_size": size.hidden,
            "intermediate_size": size.intermediate,
            "num_hidden_layers": size.layers,
            "layer_types": layer_types(size.layers),
            "num_kv_shared_layers": 0,
            "final_logit_softcapping": 30.0,
        },
        "vision_config": {
            "model_type": "gemma4_unified_vision",
            "mm_embed_dim": size.hidden,
            "mm_posemb_size": size.positions,
            "model_patch_size": 48,
            "num_soft_tokens": 280,
            "output_proj_dims": size.hidden,
            "patch_size": 16,
            "pooling_kernel_size": 3,
            "rms_norm_eps": 1e-6,
        },
        "audio_config": {
            "model_type": "gemma4_unified_audio",
            "audio_embed_dim": FRAME,
            "audio_samples_per_token": FRAME,
            "hidden_size": FRAME,
            "output_proj_dims": FRAME,
            "rms_norm_eps": 1e-6,
        },
    }


def assistant_config(size: Size = PUBLISHED) -> dict[str, Any]:
    """`config.json` of the assistant."""
    return {
        "architectures": ["Gemma4UnifiedAssistantForCausalLM"],
        "model_type": "gemma4_unified_assistant",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "backbone_hidden_size": size.hidden,
        "use_ordered_embeddings": False,
        "num_centroids": 2048,
        "centroid_intermediate_top_k": 32,
        "text_config": _text_config(size)
        | {
            "hidden_size": size.draft_hidden,
            "intermediate_size": size.draft_intermediate,
            "num_hidden_layers": 4,
            "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
            "num_kv_shared_layers": 4,
            "final_logit_softcapping": None,
        },
    }


def _text_config(size: Size) -> dict[str, Any]:
    """What the decoders of target and assistant share."""
    full_rope = {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.25}
    return {
        "model_type": "gemma4_unified_text",
        "dtype": "bfloat16",
        "attention_bias": False,
        "attention_k_eq_v": True,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "enable_moe_block": False,
        "head_dim": size.head_dim,
        "global_head_dim": 2 * size.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size_per_layer_input": 0,
        "max_position_embeddings": 262144,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "num_global_key_value_heads": 1,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": full_rope,
        },
        "sliding_window": size.window,
        "tie_word_embeddings": True,
        "use_bidirectional_attention": "vision",
        "use_double_wide_mlp": False,
        "vocab_size": size.vocabulary,
        "vocab_size_per_layer_input": size.vocabulary,
    }


def target_tensors(size: Size = PUBLISHED) -> list[Spec]:
    """The target's tensors in the order of the file."""
    hidden = size.hidden
    found = [Spec("model.language_model.embed_tokens.weight", (size.vocabulary, hidden))]
    for layer, kind in enumerate(layer_types(size.layers)):
        found += _layer(f"model.language_model.layers.{layer}", size, hidden, size.intermediate, kind)
        found += _keys(f"model.language_model.layers.{layer}.self_attn", size, kind)
    norms = (("patch_ln1", PATCH), ("patch_ln2", hidden), ("pos_norm", hidden))
    return [
        *found,
        Spec("model.language_model.norm.weight", (hidden,)),
        Spec("model.vision_embedder.patch_dense.weight", (hidden, PATCH)),
        Spec("model.vision_embedder.patch_dense.bias", (hidden,)),
        *(Spec(f"model.vision_embedder.{name}.{part}", (n,)) for name, n in norms for part in ("weight", "bias")),
        Spec("model.vision_embedder.pos_embedding", (size.positions, 2, hidden)),
        Spec("model.embed_vision.embedding_projection.weight", (hidden, hidden)),
        Spec("model.embed_audio.embedding_projection.weight", (hidden, FRAME)),
    ]


def assistant_tensors(size: Size = PUBLISHED) -> list[Spec]:
    """The assistant's tensors in the order of the file."""
    hidden = size.draft_hidden
    found = [Spec("model.embed_tokens.weight", (size.vocabulary, hidden))]
    for layer in range(4):
        kind = "full_attention" if layer == 3 else "sliding_attention"
        found += _layer(f"model.layers.{layer}", size, hidden, size.draft_intermediate, kind)
    return [
        *found,
        Spec("model.norm.weight", (hidden,)),
        Spec("pre_projection.weight", (hidden, 2 * size.hidden)),
        Spec("post_projection.weight", (size.hidden, hidden)),
    ]


def _layer(path: str, size: Size, hidden: int, intermediate: int, kind: str) -> Iterator[Spec]:
    """Norms, MLP and queries of a layer: all that a layer of the assistant has."""
    dim = size.head_dim * (2 if kind == "full_attention" else 1)
    for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        yield Spec(f"{path}.{norm}_layernorm.weight", (hidden,))
    yield Spec(f"{path}.layer_scalar", (1,))
    yield Spec(f"{path}.mlp.gate_proj.weight", (intermediate, hidden))
    yield Spec(f"{path}.mlp.up_proj.weight", (intermediate, hidden))
    yield Spec(f"{path}.mlp.down_proj.weight", (hidden, intermediate))
    yield Spec(f"{path}.self_attn.q_proj.weight", (size.heads * dim, hidden))
    yield Spec(f"{path}.self_attn.q_norm.weight", (dim,))
    yield Spec(f"{path}.self_attn.o_proj.weight", (hidden, size.heads * dim))


def _keys(path: str, size: Size, kind: str) -> Iterator[Spec]:
    """Keys and values of a layer of the target; full layers make both of one projection."""
    full = kind == "full_attention"
    dim, heads = size.head_dim * (2 if full else 1), 1 if full else size.kv_heads
    yield Spec(f"{path}.k_proj.weight", (heads * dim, size.hidden))
    yield Spec(f"{path}.k_norm.weight", (dim,))
    if not full:
        yield Spec(f"{path}.v_proj.weight", (heads * dim, size.hidden))
