"""The demo model's forward for training: the arithmetic of `reference.run`, fused, in the type that is quick here.

It reads the weights of the transformers model, so that what is trained is that model; `test_lean` compares the two in
float32. It knows no text, no loss and no cache. Source: transformers' gemma4_unified, written anew.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from .reference import Batch, SharedKV, Target, masks

Cast = Callable[[Tensor], Tensor]


def rms(x: Tensor) -> Tensor:
    """x / √(mean x² + 1e-6) over the last axis, in float32."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


@dataclass(frozen=True)
class Heads:
    """Numbers of query and of key heads, and their width."""

    query: int
    key: int
    dim: int


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


def _normal(patches: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """Patches uint8 (M, 6912) after the first layer norm, which is not trained: that would cost more than the rest."""
    return layer_norm(patches.float() / 255, weight.shape, weight, bias).to(dtype)


def _project(x: Tensor, norms: Sequence[Tensor], weight: Tensor, rope: Sequence[Tensor], heads: Heads) -> list[Tensor]:
    """Queries, keys and values (T, heads, dim) of T tokens. `weight` holds q, k and, unless V = K, v."""
    before, q_norm, k_norm = norms
    y = linear((rms(x) * before).to(weight.dtype), weight)
    parts = [part.reshape(len(x), -1, heads.dim) for part in y.split((heads.query * heads.dim, *_rest(y, heads)), -1)]
    q, k, v = parts[0], parts[1], parts[-1]
    return [t.to(y.dtype) for t in (_rotate(rms(q) * q_norm, *rope), _rotate(rms(k) * k_norm, *rope), rms(v))]


def _rest(y: Tensor, heads: Heads) -> list[int]:
    width = heads.key * heads.dim
    return [width] * ((y.shape[-1] - heads.query * heads.dim) // width)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """q (B, kv, r, L, dim), k and v (B, kv, L, dim), mask (B or 1, 1, 1, L, L) added to the scores."""
    count, kv, repeats, length, dim = q.shape
    scores = torch.matmul(q.reshape(count, kv, repeats * length, dim), k.transpose(2, 3))
    scores = scores.view(count, kv, repeats, length, length).float() + mask
    weights = torch.softmax(scores, -1).to(q.dtype).view(count, kv, repeats * length, length)
    return torch.matmul(weights, v)


def _finish(x: Tensor, seen: Tensor, norms: Sequence[Tensor], weights: Sequence[Tensor], scalar: Tensor) -> Tensor:
    """The rest of a layer after attention, for T tokens."""
    after_attention, before_mlp, after_mlp = norms
    out, gate, up, down = weights
    x = x + rms(linear(seen, out)) * after_attention
    y = (rms(x) * before_mlp).to(out.dtype)
    y = linear(gelu(linear(y, gate), approximate="tanh") * linear(y, up), down)
    return (x + rms(y) * after_mlp) * scalar


class Lean:
    """The forward of `model`. `weight(parameter)` gives the matrix to use: cast, or as 4 bits round it."""

    def __init__(self, model: Target, weight: Cast, compiled: bool = True) -> None:
        self.model, self.weight = model, weight
        torch._dynamo.config.recompile_limit = 64  # two kinds of layer, three of gradient, a few kinds of shape
        parts: list[Any] = [_project, _attend, _finish, _normal]
        self._project, self._attend, self._finish, self._normal = [
            torch.compile(part, dynamic=True) if compiled else part for part in parts
        ]

    def embed(self, batch: Batch) -> Tensor:
        """Embeddings (B, L, hidden) float32, as `reference.embed` gives them."""
        inner = self.model.model
        table = self.weight(inner.language_model.embed_tokens.weight)
        x = table[batch.ids.masked_fill(batch.types > 0, 0)].float() * table.shape[1] ** 0.5
        visual = (batch.types == 1) | (batch.types == 2)
        if len(batch.positions):
            vision = inner.embed_vision
            wide = torch.zeros(len(batch.positions), vision.patch_dense.out_features)
            if len(batch.patches):
                dense = vision.patch_dense.weight.to(table.dtype)
                norm = vision.patch_ln1
                shown = self._normal(batch.patches, norm.weight.detach(), norm.bias.detach(), dense.dtype)
                wide = wide.index_put((batch.places,), linear(shown, dense).float())
            wide = vision.patch_ln2(wide + vision.patch_dense.bias)
            at = batch.positions
            wide = wide + vision.pos_embedding[at[:, 0], 0] + vision.pos_embedding[at[:, 1], 1]
            last = vision.multimodal_embedder.embedding_projection.weight.to(table.dtype)
            seen = linear(rms(vision.pos_norm(wide)).to(last.dtype), last).float()
            x = x.masked_scatter(visual[..., None], seen)
        if len(batch.frames):
            last = inner.embed_audio.embedding_projection.weight.to(table.dtype)
            heard = linear(rms(batch.frames).to(last.dtype), last).float()
            x = x.masked_scatter((batch.types == 3)[..., None], heard)
        return x

    def __call__(self, batch: Batch, tap: int | None = None) -> tuple[Tensor, SharedKV, Tensor | None]:
        """Hidden states (B, L, hidden) after the last norm, the last K and V of each kind, and layer `tap`'s output."""
        shared: SharedKV = {}
        tapped, last = None, torch.empty(0)
        for index, (kind, keys, last) in enumerate(self._layers(batch)):
            shared[kind] = keys
            if index == tap:
                tapped = last
        return rms(last) * self.model.model.language_model.norm.weight, shared, tapped

    def begin(self, batch: Batch, tap: int) -> Tensor:
        """Layer `tap`'s output (B, L, hidden) alone; later layers are not computed."""
        *_, (_, _, x) = itertools.islice(self._layers(batch), tap + 1)
        return x

    def _layers(self, batch: Batch) -> Iterator[tuple[str, tuple[Tensor, Tensor], Tensor]]:
        """Layer by layer its kind, its K and V, and its output (B, L, hidden)."""
        decoder, x = self.model.model.language_model, self.embed(batch)
        count, length, width = x.shape
        x = x.reshape(count * length, width)
        ropes, added = {}, {}
        for kind, mask in masks(batch.types, decoder.config.sliding_window).items():
            turn = decoder.rotary_emb(torch.zeros(1), torch.arange(length)[None], kind)
            ropes[kind] = [part.expand(count, length, -1).reshape(count * length, 1, -1) for part in turn]
            added[kind] = torch.zeros(mask.shape).masked_fill(~mask, -1e9)[:, :, None]
        for kind, layer in zip(decoder.config.layer_types, decoder.layers, strict=True):
            x, keys = self._layer(layer, x, ropes[kind], added[kind], (count, length))
            yield kind, keys, x.view(count, length, width)

    def _layer(
        self, layer: Any, x: Tensor, rope: list[Tensor], mask: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attention, mlp, (count, length) = layer.self_attn, layer.mlp, shape
        dim = attention.head_dim
        heads = Heads(attention.q_proj.out_features // dim, attention.k_proj.out_features // dim, dim)
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        weight = torch.cat([self.weight(part.weight) for part in parts if part is not None])
        norms = [layer.input_layernorm.weight, attention.q_norm.weight, attention.k_norm.weight]
        q, k, v = self._project(x, norms, weight, rope, heads)
        q = q.view(count, length, heads.key, -1, dim).permute(0, 2, 3, 1, 4).contiguous()
        k, v = (part.view(count, length, heads.key, dim).transpose(1, 2).contiguous() for part in (k, v))
        seen = self._attend(q, k, v, mask).view(count, heads.key, -1, length, dim)
        seen = seen.permute(0, 3, 1, 2, 4).reshape(count * length, -1)
        norms = [layer.post_attention_layernorm.weight, layer.pre_feedforward_layernorm.weight]
        norms.append(layer.post_feedforward_layernorm.weight)
        weights = [self.weight(part.weight) for part in (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)]
        return self._finish(x, seen, norms, weights, layer.layer_scalar), (k, v)

    def logits(self, hidden: Tensor) -> Tensor:
        """Soft-capped logits (..., vocab) float32."""
        table = self.weight(self.model.model.language_model.embed_tokens.weight)
        cap = self.model.config.text_config.final_logit_softcapping
        return cap * torch.tanh(linear(hidden.to(table.dtype), table).float() / cap)
