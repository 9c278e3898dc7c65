"""The multi-token-prediction drafter: four layers that read the target's keys and values.

Stateless: one step turns (token embedding, hidden state) into (logits, next hidden state). It knows neither how many
steps are taken nor what is accepted. Source: transformers `modeling_gemma4_unified_assistant`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from gemma_mlx.config import FULL, SLIDING, DrafterConfig, TextConfig
from gemma_mlx.model.attention import QueryAttention, attend
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.decoder import DecoderLayer
from gemma_mlx.model.masks import Mask
from gemma_mlx.model.rope import Offset


@dataclass(frozen=True)
class TargetMemory:
    """What one kind of drafter layer reads: (1, kv_heads, n, head_dim) rows of the target, and the query's position."""

    keys: mx.array
    values: mx.array
    offset: int


class DrafterAttention(QueryAttention):
    """Queries only: keys and values are the target's."""

    def enter(self, x: mx.array, offset: Offset) -> tuple[mx.array, ...]:
        """(1, L, hidden) at `offset` → queries, (1, heads, L, head_dim)."""
        return (self.queries(x, offset),)

    def look(self, entered: Sequence[mx.array], memory: TargetMemory, mask: Mask) -> mx.array:
        """What `enter` returned → (1, heads, L, head_dim)."""
        (queries,) = entered
        return attend(queries, memory.keys, memory.values, mask)


class DrafterDecoder(nn.Module):
    """The drafter's layers, final norm and head. Its `embed_tokens` is the head alone: inputs are the target's."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [DecoderLayer(config, DrafterAttention(config, layer)) for layer in config.layers]
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class Drafter(nn.Module):
    """Proposes the token after next from the target's hidden state."""

    def __init__(self, config: DrafterConfig) -> None:
        super().__init__()
        self.config = config
        text, backbone = config.text_config, config.backbone_hidden_size
        self.model = DrafterDecoder(text)
        self.pre_projection = nn.Linear(2 * backbone, text.hidden_size, bias=False)
        self.post_projection = nn.Linear(text.hidden_size, backbone, bias=False)

    def __call__(
        self, embedding: mx.array, hidden: mx.array, memory: dict[str, TargetMemory]
    ) -> tuple[mx.array, mx.array]:
        """One draft step.

        embedding: the newest token as the target embeds it (scaled), (1, 1, backbone).
        hidden: the target's state after its final norm, or the previous step's second result, (1, 1, backbone).
        memory: `target_memory(caches)`, the same for all steps of a round.
        Returns logits (1, 1, vocab), not softcapped, and the next hidden state (1, 1, backbone).
        """
        x = self.pre_projection(mx.concatenate([embedding, hidden], axis=-1))
        for layer, kind in zip(self.model.layers, self.config.text_config.layer_types, strict=True):
            x = layer(x, memory[kind], None)
        x = self.model.norm(x)
        return self.model.embed_tokens.as_linear(x), self.post_projection(x)


def target_memory(caches: Caches) -> dict[str, TargetMemory]:
    """Keys and values of the target's last sliding and last full layer, cut to the valid length.

    The query stands at the position of the newest token, which the target has not read yet.
    """
    return {kind: TargetMemory(*caches.shared(kind), caches.offset) for kind in (SLIDING, FULL)}
