"""Attention of one layer: grouped queries, normed queries and keys, scale 1.

Knows weights and a layer cache: not masks' rules, not other layers. On full-attention layers keys and values come from
one projection: K = rope(k_norm(raw)), V = norm without weight(raw). Source: transformers `modeling_gemma4_unified`.
"""

from collections.abc import Sequence
from typing import Protocol

import mlx.core as mx
import mlx.nn as nn

from gemma_mlx.config import AttentionConfig, TextConfig
from gemma_mlx.model.masks import Mask
from gemma_mlx.model.rope import Offset, Rope


class Memory(Protocol):
    """What a query reads; `offset`: the position of its first token."""

    @property
    def offset(self) -> int: ...


class GrowingMemory(Memory, Protocol):
    """Takes the keys and values of new positions and returns those that their queries see."""

    def append(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]: ...


class QueryAttention(nn.Module):
    """Attention without keys of its own: the drafter's, over keys and values of the target."""

    def __init__(self, config: TextConfig, layer: AttentionConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.num_attention_heads, layer.head_dim
        width = self.heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.q_norm = nn.RMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.rope = Rope(self.head_dim, layer.rope)

    def queries(self, x: mx.array, offset: Offset) -> mx.array:
        """(1, L, hidden) at `offset` → (1, heads, L, head_dim)."""
        return self.rope(self.q_norm(by_head(self.q_proj(x), self.heads)), offset)

    def leave(self, attended: mx.array) -> mx.array:
        """What the heads found, (1, heads, L, head_dim) → (1, L, hidden)."""
        _, heads, length, dim = attended.shape
        rows = attended if length == 1 else attended.transpose(0, 2, 1, 3)
        return self.o_proj(rows.reshape(1, length, heads * dim))


class Attention(QueryAttention):
    """Attention of the target: projects keys and values, appends them to the layer's cache, reads what it returns."""

    def __init__(self, config: TextConfig, layer: AttentionConfig) -> None:
        super().__init__(config, layer)
        self.kv_heads, self.eps = layer.num_key_value_heads, config.rms_norm_eps
        width = self.kv_heads * self.head_dim
        self.k_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_norm = nn.RMSNorm(self.head_dim, eps=self.eps)
        if not layer.k_eq_v:
            self.v_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_eq_v = layer.k_eq_v

    def enter(self, x: mx.array, offset: Offset) -> tuple[mx.array, ...]:
        """(1, L, hidden) at `offset` → queries, and keys and values to append to the cache."""
        return self.queries(x, offset), *self.remembered(x, offset)

    def enter_last(self, x: mx.array, offset: Offset) -> tuple[mx.array, ...]:
        """The same with the query of the last position alone."""
        return self.queries(x[:, -1:], offset + x.shape[1] - 1), *self.remembered(x, offset)

    def remembered(self, x: mx.array, offset: Offset) -> tuple[mx.array, mx.array]:
        """(1, L, hidden) at `offset` → keys and values to append to the cache, (1, kv_heads, L, head_dim)."""
        raw = by_head(self.k_proj(x), self.kv_heads)
        values = raw if self.k_eq_v else by_head(self.v_proj(x), self.kv_heads)
        return self.rope(self.k_norm(raw), offset), mx.fast.rms_norm(values, None, self.eps)

    def look(self, entered: Sequence[mx.array], memory: GrowingMemory, mask: Mask) -> mx.array:
        """What `enter` returned → (1, heads, L, head_dim), or one row for one query; `memory` grows by L positions."""
        queries, keys, values = entered
        return attend(queries, *memory.append(keys, values), mask)


def attend(queries: mx.array, keys: mx.array, values: mx.array, mask: Mask) -> mx.array:
    """(1, heads, L, head_dim) queries over (1, kv_heads, n, head_dim) keys and values → (1, heads, L, head_dim)."""
    return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=1.0, mask=mask)


def by_head(x: mx.array, heads: int) -> mx.array:
    """(1, L, heads · head_dim) → (1, heads, L, head_dim)."""
    _, length, width = x.shape
    if length == 1:  # the same numbers in the same order: nothing to transpose
        return x.reshape(1, heads, 1, width // heads)
    return x.reshape(1, length, heads, width // heads).transpose(0, 2, 1, 3)
