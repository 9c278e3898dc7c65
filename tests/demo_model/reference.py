"""The demo model and its drafter in torch, through transformers, with the masks the published model was trained with.

It knows arrays and weights, not text. transformers 5.23 is used with two corrections: `kv_sharing_modes` (else the
target gives no keys and values to a drafter, and the drafter cannot be built), and masks made here: full-attention
layers are causal; sliding layers let the tokens of one image see each other within the window.
Source: transformers' gemma4_unified; masks after google-deepmind/gemma.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.models.gemma4_unified import configuration_gemma4_unified as unified
from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedForConditionalGeneration as Target
from transformers.models.gemma4_unified_assistant import configuration_gemma4_unified_assistant as assistant
from transformers.models.gemma4_unified_assistant.modeling_gemma4_unified_assistant import (
    Gemma4UnifiedAssistantForCausalLM as Drafter,
)

from .shapes import FULL, SLIDING

SharedKV = dict[str, tuple[Tensor, Tensor]]
PATCH_SIDE, BLOCKS = 48, 4


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded sequences. B sequences of L tokens; M image patches and N audio frames of all of them, in order."""

    ids: Tensor  # (B, L) int64
    types: Tensor  # (B, L) int64: 0 text, 1 image, 2 video, 3 audio
    targets: Tensor  # (B, L) bool: the token is part of a reply, to be predicted
    patches: Tensor  # (M, 6912) float32 in [0, 1]
    positions: Tensor  # (M, 2) int64
    frames: Tensor  # (N, 640) float32


def build_target(config: dict[str, Any]) -> Target:
    """A freshly initialised demo model. Seed torch first."""
    model = Target(unified.Gemma4UnifiedConfig(**config))
    _initialise(model)
    vision, audio = model.model.embed_vision, model.model.embed_audio
    with torch.no_grad():
        vision.patch_dense.weight[: 3 * BLOCKS**2] = _block_means()
        vision.pos_embedding.normal_(0, 0.1)
        audio.embedding_projection.weight.copy_(_fourier(audio.embedding_projection.weight))
    return model


def build_drafter(config: dict[str, Any]) -> Drafter:
    """A freshly initialised drafter; call it under `corrected_sharing`. Seed torch first."""
    model = Drafter(assistant.Gemma4UnifiedAssistantConfig(**config)).float()
    _initialise(model)
    return model


def _initialise(model: torch.nn.Module) -> None:
    """Unit-variance activations, attention scores of unit size (the model has no 1/√d), layer scalars off one."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                value.fill_(value.shape[0] ** -0.25)
            elif name.endswith(("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")):
                value.fill_(0.5)
            elif value.ndim == 2:
                value.normal_(0, value.shape[1] ** -0.5)
        for name, value in model.named_buffers():
            if name.endswith("layer_scalar"):
                value.fill_(0.875 if int(name.split(".")[-2]) % 2 else 1.125)


def _block_means() -> Tensor:
    """Projection of a patch to the mean colours of its 4 × 4 blocks, (48, 6912): a picture from afar."""
    side = PATCH_SIDE // BLOCKS
    weight = torch.zeros(BLOCKS, BLOCKS, 3, BLOCKS, side, BLOCKS, side, 3)
    for row in range(BLOCKS):
        for column in range(BLOCKS):
            for channel in range(3):
                weight[row, column, channel, row, :, column, :, channel] = 1 / side**2
    return weight.reshape(3 * BLOCKS**2, -1)


def _fourier(like: Tensor) -> Tensor:
    """Projection of a frame to cosines and sines from 100 Hz to 6 kHz, (64, 640): phase and strength of each."""
    count, length = like.shape[0] // 2, like.shape[1]
    frequency = 100 * 60 ** (torch.arange(count) / (count - 1))
    phase = 2 * math.pi * frequency[:, None] * torch.arange(length) / 16000
    return torch.cat((phase.cos(), phase.sin())) * (2 / length) * 2


def embed(model: Target, batch: Batch) -> Tensor:
    """Embeddings (B, L, hidden): tokens scaled by √hidden; patches and frames projected, not scaled."""
    inner = model.model
    text = inner.language_model.embed_tokens(batch.ids.masked_fill(batch.types > 0, 0))
    visual = (batch.types == 1) | (batch.types == 2)
    if len(batch.patches):
        seen = inner.embed_vision(batch.patches, batch.positions, return_dict=True).pooler_output
        text = text.masked_scatter(visual[..., None], seen)
    if len(batch.frames):
        text = text.masked_scatter((batch.types == 3)[..., None], inner.embed_audio(batch.frames))
    return text


def masks(types: Tensor, window: int) -> dict[str, Tensor]:
    """Boolean masks (B or 1, 1, L, L) for the two kinds of layer; true where a query (row) sees a key (column).

    Padding is on the right and never seen by a real token. Equal to transformers'
    `create_masks_for_generate` bounded on both sides (`tests/parity`).
    """
    place = torch.arange(types.shape[1])
    causal = place[:, None] >= place
    near = (place[:, None] - place).abs() < window
    visual = (types == 1) | (types == 2)
    starts = visual & ~torch.nn.functional.pad(visual, (1, 0))[:, :-1]
    block = torch.where(visual, starts.cumsum(1), -torch.arange(1, types.shape[1] + 1))
    same = block[:, :, None] == block[:, None, :]
    return {FULL: causal[None, None], SLIDING: ((causal | same) & near)[:, None]}


def run(model: Target, batch: Batch, share: bool = False) -> tuple[Tensor, SharedKV]:
    """Hidden states (B, L, hidden) after the final norm and, if asked for, the K and V a drafter attends to."""
    inner = model.model.language_model
    out = inner(
        inputs_embeds=embed(model, batch),
        attention_mask=masks(batch.types, inner.config.sliding_window),
        use_cache=False,
        return_shared_kv_states=share,
    )
    return out.last_hidden_state, dict(out.shared_kv_states) if share else {}


def logits(model: Target, hidden: Tensor) -> Tensor:
    """Soft-capped logits (..., vocab)."""
    cap = model.config.text_config.final_logit_softcapping
    return cap * torch.tanh(model.lm_head(hidden) / cap)


def draft_step(
    drafter: Drafter, embedding: Tensor, hidden: Tensor, slots: Tensor, shared: SharedKV
) -> tuple[Tensor, Tensor]:
    """One step of the drafter from T slots at once: its logits (B, T, vocab) and next hidden state (B, T, hidden).

    `embedding` (B, T, hidden): √hidden · E of the newest token; `hidden` (B, T, hidden): target state at the slot, or
    the state of the step before; `slots` (B, T): indices of the last token that the target has read. A slot attends to
    K and V up to itself; its position is one further, that of the newest token of the round.
    """
    slot, key = slots[:, :, None], torch.arange(shared[FULL][0].shape[2])
    window = drafter.config.text_config.sliding_window
    seen = {FULL: key <= slot, SLIDING: (key <= slot) & (slot + 1 - key < window)}
    out = drafter.model(
        inputs_embeds=drafter.pre_projection(torch.cat((embedding, hidden), dim=-1)),
        attention_mask={kind: mask[:, None] for kind, mask in seen.items()},
        position_ids=slots + 1,
        shared_kv_states=shared,
        use_cache=False,
    ).last_hidden_state
    return drafter.lm_head(out), drafter.post_projection(out)
