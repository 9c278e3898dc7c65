"""Attention of one layer: grouped queries, normed queries and keys, scale 1.

Knows weights and a layer cache: not masks' rules, not other layers. On full-attention layers keys and values come from
one projection: K = rope(k_norm(raw)), V = norm without weight(raw). Source: transformers `modeling_gemma4_unified`.
"""

from typing import Protocol

import mlx.core as mx
import mlx.nn as nn

from gemma_mlx.config import AttentionConfig, TextConfig
from gemma_mlx.model.masks import Mask
from gemma_mlx.model.rope import Rope


class Memory(Protocol):
    """What a query may read: the position of its first token and the keys and values it sees."""

    @property
    def offset(self) -> int: ...

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

    def read(self, x: mx.array, keys: mx.array, values: mx.array, offset: int, mask: Mask) -> mx.array:
        """(1, L, hidden) queries at `offset` over (1, kv_heads, n, head_dim) keys and values → (1, L, hidden)."""
        length = x.shape[1]
        queries = self.q_norm(self.q_proj(x).reshape(1, length, self.heads, self.head_dim))
        queries = self.rope(queries.transpose(0, 2, 1, 3), offset)
        out = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=1.0, mask=mask)
        return self.o_proj(out.transpose(0, 2, 1, 3).reshape(1, length, -1))


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

    def __call__(self, x: mx.array, memory: Memory, mask: Mask) -> mx.array:
        """(1, L, hidden) → (1, L, hidden); `memory` grows by L positions."""
        shape = (1, x.shape[1], self.kv_heads, self.head_dim)
        offset = memory.offset
        raw = self.k_proj(x).reshape(shape)
        values = raw if self.k_eq_v else self.v_proj(x).reshape(shape)
        values = mx.fast.rms_norm(values, None, self.eps).transpose(0, 2, 1, 3)
        keys = self.rope(self.k_norm(raw).transpose(0, 2, 1, 3), offset)
        return self.read(x, *memory.append(keys, values), offset, mask)
