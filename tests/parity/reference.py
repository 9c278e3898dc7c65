"""The reference implementation as an oracle: transformers' `gemma4_unified` in float32, with the intended masks.

The only place, with its neighbours, that imports torch. Three corrections to transformers 5.23, none of them in its
files: masks come from `create_masks_for_generate` (a plain forward lets images attend forward on full layers too) and
are bounded on both sides of the window; `kv_sharing_modes` is replaced while a model is built (an assistant cannot be
constructed and a target hands out no keys and values otherwise); the drafter reads keys and values cut to the valid
length. Source of the masks: google-deepmind/gemma, `gm/nn/gemma4`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.models.gemma4_unified import configuration_gemma4_unified as unified
from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedForConditionalGeneration as Target
from transformers.models.gemma4_unified_assistant.configuration_gemma4_unified_assistant import (
    Gemma4UnifiedAssistantConfig,
)
from transformers.models.gemma4_unified_assistant.modeling_gemma4_unified_assistant import (
    Gemma4UnifiedAssistantForCausalLM as Assistant,
)

from gemma_mlx.inputs.prompt import Prompt, Segment
from tests.kv_sharing import corrected_sharing
from tests.parity.shapes import SLIDING

SharedKV = dict[str, tuple[Tensor, Tensor]]
TYPES = {"text": 0, "image": 1, "video": 2, "audio": 3}
PATCH_VALUES = 6912
FRAME_VALUES = 640


@dataclass(frozen=True, eq=False)
class Reference:
    """One full pass: logits (L, vocab), hidden (L, hidden) after the final norm, K and V a drafter reads."""

    logits: NDArray[np.float32]
    hidden: NDArray[np.float32]
    shared: SharedKV


def build_target(config: dict[str, Any], seed: int) -> Target:
    """A float32 target whose every weight matters."""
    with corrected_sharing():
        model = Target(unified.Gemma4UnifiedConfig(**config, attn_implementation="eager"))
    _fill(model, seed)
    return model


def build_assistant(config: dict[str, Any], seed: int) -> Assistant:
    """A float32 assistant whose every weight matters."""
    with corrected_sharing():
        model = Assistant(Gemma4UnifiedAssistantConfig(**config, attn_implementation="eager"))
    _fill(model, seed)
    return model


def intended_masks(config: Any, types: Sequence[int]) -> dict[str, Tensor]:
    """Additive masks (1, 1, L, L) for both kinds of layer; `types` by position: 0 text, 1 image, 2 video, 3 audio."""
    length, window = len(types), config.text_config.sliding_window
    masks = Target.create_masks_for_generate(
        config,
        torch.zeros(1, length, config.text_config.hidden_size),
        torch.ones(1, length, dtype=torch.long),
        None,
        torch.arange(length)[None],
        mm_token_type_ids=torch.tensor([types]),
    )
    place = torch.arange(length)
    ahead = place[None] - place[:, None] >= window
    masks[SLIDING] = masks[SLIDING].masked_fill(ahead, torch.finfo(torch.float32).min)
    return masks


def reference_logits(model: Target, prompt: Prompt, following: Sequence[int] = ()) -> Reference:
    """The prompt and the text tokens that follow it, in one pass without a cache."""
    types = [TYPES[segment.kind] for segment in prompt.segments for _ in segment.ids] + [0] * len(following)
    with torch.no_grad():
        out = model(
            input_ids=torch.tensor([[*prompt.ids, *following]]),
            attention_mask=intended_masks(model.config, types),
            use_cache=False,
            output_hidden_states=True,
            return_shared_kv_states=True,
            **_features(prompt.segments),
        )
    return Reference(out.logits[0].numpy(), out.hidden_states[-1][0].numpy(), dict(out.shared_kv_states))


def reference_greedy(model: Target, prompt: Prompt, count: int) -> list[int]:
    """The `count` tokens that follow greedily, each from a full pass over everything before it."""
    ids: list[int] = []
    for _ in range(count):
        ids.append(int(reference_logits(model, prompt, ids).logits[-1].argmax()))
    return ids


def scaled_embedding(model: Target, token: int) -> Tensor:
    """(1, 1, hidden): a token as the target embeds it, times √hidden."""
    with torch.no_grad():
        return model.get_input_embeddings()(torch.tensor([[token]]))


def cut(shared: SharedKV, length: int) -> SharedKV:
    """The first `length` rows: what is valid after a rollback to that position."""
    return {kind: (keys[:, :, :length], values[:, :, :length]) for kind, (keys, values) in shared.items()}


def assistant_step(
    assistant: Assistant, embedding: Tensor, hidden: Tensor, shared: SharedKV, position: int
) -> tuple[Tensor, Tensor]:
    """One draft: logits (vocab,) and the next hidden state (1, 1, hidden).

    `embedding`, `hidden`: (1, 1, hidden) of the newest token and of the slot that produced it. `position` is the
    newest token's index, which is the number of valid rows in `shared`.
    """
    with torch.no_grad():
        out = assistant(
            inputs_embeds=torch.cat([embedding, hidden], dim=-1),
            position_ids=torch.tensor([[position]]),
            shared_kv_states=shared,
        )
    return out.logits[0, 0], out.last_hidden_state


def _features(segments: Sequence[Segment]) -> dict[str, Tensor]:
    """Pixels and samples as the model's `forward` takes them: padded to the largest item of their kind."""
    kinds = {kind: [segment for segment in segments if segment.kind == kind] for kind in TYPES}
    features: dict[str, Tensor] = {}
    if kinds["image"]:
        features["pixel_values"], features["image_position_ids"] = _pictures(kinds["image"])
    if kinds["video"]:
        features["pixel_values_videos"], features["video_position_ids"] = _pictures(kinds["video"])
        features["num_frames_per_video"] = torch.tensor([len(kinds["video"])])
    if kinds["audio"]:
        longest = max(len(segment.ids) for segment in kinds["audio"])
        frames = torch.zeros(len(kinds["audio"]), longest, FRAME_VALUES)
        valid = torch.zeros(frames.shape[:2], dtype=torch.bool)
        for row, segment in enumerate(kinds["audio"]):
            frames[row, : len(segment.ids)] = torch.from_numpy(segment.features)
            valid[row, : len(segment.ids)] = True
        features["input_features"], features["input_features_mask"] = frames, valid
    return features


def _pictures(segments: Sequence[Segment]) -> tuple[Tensor, Tensor]:
    longest = max(len(segment.ids) for segment in segments)
    pixels = torch.zeros(len(segments), longest, PATCH_VALUES)
    positions = torch.full((len(segments), longest, 2), -1)
    for row, segment in enumerate(segments):
        pixels[row, : len(segment.ids)] = torch.from_numpy(segment.features).float() / 255
        positions[row, : len(segment.ids)] = torch.from_numpy(segment.positions).long()
    return pixels, positions


def _fill(model: Target | Assistant, seed: int) -> None:
    """Weights away from their defaults, which hide missing norms and scalars, and scores and logits of useful size."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.empty_like(like).uniform_(low, high, generator=generator)

    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                value.copy_(uniform(value, 0.7, 1.8) * value.shape[0] ** -0.25)
            elif name.endswith("bias"):
                value.normal_(0, 0.3, generator=generator)
            elif name.endswith("layer_scalar"):
                value.copy_(uniform(value, 0.6, 1.3))
            elif name.endswith("pos_embedding"):
                value.normal_(0, 0.7, generator=generator)
            elif name.endswith("embed_tokens.weight"):
                value.normal_(0, 3 * value.shape[1] ** -0.5, generator=generator)
            elif value.ndim == 2:
                value.normal_(0, value.shape[1] ** -0.5, generator=generator)
            elif name.endswith(".weight"):
                value.copy_(uniform(value, 0.4, 1.8))
    model.tie_weights()
    model.eval()
