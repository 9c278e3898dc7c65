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

SIDE, RADII = 16, (1.0, 1.3, 1.8)  # of a patch seen from afar; of what the first layers' units see of it
SharedKV = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded sequences: B of L tokens, with V image patches and N audio frames in all, in order.

    Most patches of a screenshot are of one grey, which the first layer norm makes zero: only the other M are held.
    """

    ids: Tensor  # (B, L) int64
    types: Tensor  # (B, L) int64: 0 text, 1 image, 2 video, 3 audio
    targets: Tensor  # (B, L) bool: the token is part of a reply, to be predicted
    positions: Tensor  # (V, 2) int64
    patches: Tensor  # (M, 6912) uint8
    places: Tensor  # (M,) int64: which of the V they are
    frames: Tensor  # (N, 640) float32


def build_target(config: dict[str, Any]) -> Target:
    """A freshly initialised demo model. Seed torch first."""
    model = Target(unified.Gemma4UnifiedConfig(**config))
    _initialise(model)
    vision, audio = model.model.embed_vision, model.model.embed_audio
    layers = model.model.language_model.layers
    with torch.no_grad():
        vision.patch_dense.weight.copy_(_thumbnail(vision.patch_dense.weight))
        vision.pos_embedding.copy_(0.2 * _waves(*vision.pos_embedding.shape))
        vision.multimodal_embedder.embedding_projection.weight.copy_(torch.eye(SIDE**2))
        for layer, radius in zip(layers, RADII, strict=False):
            layer.post_attention_layernorm.weight.fill_(0.2)
            _look_around(layer.mlp, radius)
        waves = _fourier(audio.embedding_projection.weight)
        audio.embedding_projection.weight.copy_(waves)
        _square(layers[0].mlp, len(waves))
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


def _thumbnail(like: Tensor) -> Tensor:
    """Projection of a patch to 16 × 16 grey means of 3 × 3 pixels, (256, 6912): one coordinate, one place."""
    cell = like.shape[1] // (3 * SIDE**2)
    edge = math.isqrt(cell)
    weight = torch.zeros(SIDE, SIDE, SIDE, edge, SIDE, edge, 3)
    at = torch.arange(SIDE)
    weight[at[:, None], at, at[:, None], :, at, :, :] = 1.3 / (3 * cell)
    return weight.reshape(SIDE**2, -1)


def _look_around(mlp: torch.nn.Module, radius: float) -> None:
    """Let every unit read and write around one place of the thumbnail: what is near belongs together.

    Random weights under a Gaussian window of that radius. Characters anywhere in a patch were learnt with a third
    fewer examples than from windows without an end.
    """
    count, width = mlp.gate_proj.weight.shape
    place, middle = torch.arange(SIDE), torch.rand(2, count, 1) * SIDE - 0.5
    across, down = (torch.exp(-((place - at) ** 2) / (2 * radius**2)) for at in middle)
    window = (down[:, :, None] * across[:, None, :]).reshape(count, width)
    window = window / window.square().sum(1, keepdim=True).sqrt()
    mlp.gate_proj.weight.copy_(torch.randn(count, width) * window)
    mlp.up_proj.weight.copy_(torch.randn(count, width) * window)
    mlp.down_proj.weight.copy_(0.5 * (torch.randn(count, width) * window).T)


def _waves(count: int, axes: int, width: int) -> Tensor:
    """Sines of many wavelengths, half of the width for either axis, (count, axes, width): neighbours are alike."""
    part = width // axes // 2
    angles = torch.arange(count)[:, None] * 2 * math.pi / (2 * 64 ** (torch.arange(part) / (part - 1)))
    table = torch.zeros(count, axes, axes, 2 * part)
    for axis in range(axes):
        table[:, axis, axis] = torch.cat((angles.sin(), angles.cos()), -1)
    return table.reshape(count, axes, width)


def _fourier(like: Tensor) -> Tensor:
    """Projection of a frame to windowed cosines and sines, (width, 640): two halves of 20 ms, 100 Hz to 6 kHz.

    Speech comes out with a mean square of about one, as the embeddings of words do.
    """
    count, length = like.shape[0] // 4, like.shape[1] // 2
    frequency = 100 * 60 ** (torch.arange(count) / (count - 1))
    phase = 2 * math.pi * frequency[:, None] * torch.arange(length) / 16000
    half = torch.cat((phase.cos(), phase.sin())) * torch.hann_window(length) * (20 / length)
    return torch.block_diag(half, half)


def _square(mlp: torch.nn.Module, width: int) -> None:
    """Let part of the first MLP add the squares of cosine and sine: a spectrum, whatever the phase.

    gelu(x) · x is nearly x² for x > 0 and 0 below, so every coordinate is taken with either sign.
    """
    signs = torch.cat((torch.eye(width), -torch.eye(width)))
    mlp.gate_proj.weight[: 2 * width] = signs
    mlp.up_proj.weight[: 2 * width] = signs
    half, quarter = width // 2, width // 4
    at = torch.arange(width)
    mlp.down_proj.weight[:, : 2 * width] *= 0.3
    mlp.down_proj.weight[at // half * half + at % quarter, at] += 0.5
    mlp.down_proj.weight[at // half * half + at % quarter, at + width] += 0.5


def pixels(batch: Batch) -> Tensor:
    """The patches that are held, (M, 6912) float32 in [0, 1]."""
    return batch.patches.float() / 255


def embed(model: Target, batch: Batch) -> Tensor:
    """Embeddings (B, L, hidden): tokens scaled by √hidden; patches and frames projected, not scaled."""
    inner = model.model
    text = inner.language_model.embed_tokens(batch.ids.masked_fill(batch.types > 0, 0))
    visual = (batch.types == 1) | (batch.types == 2)
    if len(batch.positions):
        whole = torch.zeros(len(batch.positions), batch.patches.shape[1])
        whole[batch.places] = pixels(batch)
        seen = inner.embed_vision(whole, batch.positions, return_dict=True).pooler_output
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
