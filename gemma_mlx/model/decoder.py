"""The decoder stack: embeddings in, hidden states out.

Knows layers and caches: not tokens' text, images or sampling. `hidden` and `logits` are separate calls, because logits
of every position cost 1 MiB a token on the 12B. Source: transformers `modeling_gemma4_unified`.
"""

from collections.abc import Sequence
from functools import partial

import mlx.core as mx
import mlx.nn as nn

from gemma_mlx.config import TextConfig
from gemma_mlx.model import single
from gemma_mlx.model.attention import Attention, GrowingMemory, Memory
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.masks import Block, Mask, last_row, piece_masks
from gemma_mlx.model.rope import Offset
from gemma_mlx.model.single import SinglePosition


@partial(mx.compile, shapeless=True)
def geglu(gate: mx.array, up: mx.array) -> mx.array:
    """GELU (tanh form) of the gate, times the other branch."""
    return nn.gelu_approx(gate) * up


@partial(mx.compile, shapeless=True)
def softcap(logits: mx.array, cap: mx.array) -> mx.array:
    """Squeeze logits smoothly into (-cap, cap)."""
    return mx.tanh(logits / cap) * cap


class MLP(nn.Module):
    """Gated feed-forward: down(gelu(gate(x)) · up(x))."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(geglu(self.gate_proj(x), self.up_proj(x)))


class DecoderLayer(nn.Module):
    """Four norms around attention and feed-forward, and a scalar on the output."""

    def __init__(self, config: TextConfig, attention: nn.Module) -> None:
        super().__init__()
        self.self_attn = attention
        self.mlp = MLP(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.pre_feedforward_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_feedforward_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.layer_scalar = mx.ones((1,))
        self._single = SinglePosition(self)

    def __call__(self, x: mx.array, memory: Memory, mask: Mask) -> mx.array:
        """(1, L, hidden) → (1, L, hidden); `memory` is what this layer's attention reads and extends."""
        halves = self._single if x.shape[1] == 1 and single.pays() else self
        attended = self.self_attn.look(halves.enter(x, memory.offset), memory, mask)
        return halves.leave(x, attended)

    def last(self, x: mx.array, memory: GrowingMemory, mask: Mask) -> mx.array:
        """The last row alone of what calling the layer gives, (1, 1, hidden); `memory` grows by all L positions."""
        entered = self.self_attn.enter_last(self.input_layernorm(x), memory.offset)
        return self.leave(x[:, -1:], self.self_attn.look(entered, memory, last_row(mask)))

    def enter(self, x: mx.array, offset: Offset) -> Sequence[mx.array]:
        """(1, L, hidden) at `offset` → what the attention looks with."""
        entered: Sequence[mx.array] = self.self_attn.enter(self.input_layernorm(x), offset)
        return entered

    def leave(self, x: mx.array, attended: mx.array) -> mx.array:
        """(1, L, hidden) as it entered and what the attention found → (1, L, hidden)."""
        x = x + self.post_attention_layernorm(self.self_attn.leave(attended))
        x = x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        return x * self.layer_scalar


class Decoder(nn.Module):
    """The language model: scaled token embedding, layers, final norm, tied head."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [DecoderLayer(config, Attention(config, layer)) for layer in config.layers]
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.embed_scale = config.hidden_size**0.5
        self._cap = None if config.final_logit_softcapping is None else mx.array(config.final_logit_softcapping)

    def embed(self, ids: mx.array) -> mx.array:
        """Token ids (1, L) → (1, L, hidden), times √hidden in the precision that the checkpoint stores."""
        # Some packings unpack to bfloat16 whatever the rest computes in.
        return self.embed_tokens(ids).astype(self.norm.weight.dtype) * self.embed_scale

    def __call__(
        self, embeddings: mx.array, caches: Caches, blocks: Sequence[Block] = (), *, last: bool = False
    ) -> mx.array:
        """Embeddings (1, L, hidden) at the caches' position → hidden states after the final norm, (1, L, hidden), or
        with `last` that of the last position alone, (1, 1, hidden), which spares most of the last layer.

        `blocks`: [start, end) of images inside the piece, whole ones only. The caches grow by L positions.
        """
        length = embeddings.shape[1]
        masks = piece_masks(length, caches.offset, self.config.sliding_window, blocks)
        x, final = embeddings, len(self.layers) - 1 if last and length > 1 else len(self.layers)
        for number, (layer, attention) in enumerate(zip(self.layers, self.config.layers, strict=True)):
            take = layer.last if number == final else layer
            x = take(x, caches.layers[number], masks.sliding if attention.is_sliding else masks.full)
        return self.norm(x)

    def logits(self, hidden: mx.array) -> mx.array:
        """Hidden states (1, L, hidden) → logits (1, L, vocab), softcapped."""
        logits = self.embed_tokens.as_linear(hidden)
        return logits if self._cap is None else softcap(logits, self._cap.astype(logits.dtype))
