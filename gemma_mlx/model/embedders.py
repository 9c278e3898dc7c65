"""Pictures and sound into the decoder's stream: one projection each, no encoders.

Knows patches and frames as arrays: not files, sizes or resampling. Source: transformers `modeling_gemma4_unified`.
"""

import mlx.core as mx
import mlx.nn as nn

from gemma_mlx.config import AudioConfig, TextConfig, VisionConfig

_LAYER_NORM_EPS = 1e-5  # the reference's LayerNorms keep torch's default, its RMS norms use rms_norm_eps


class Projection(nn.Module):
    """RMS norm without weight, then a projection into the decoder's width."""

    def __init__(self, width: int, eps: float, config: TextConfig) -> None:
        super().__init__()
        self.eps = eps
        self.embedding_projection = nn.Linear(width, config.hidden_size, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        """(1, n, width) → (1, n, hidden)."""
        return self.embedding_projection(mx.fast.rms_norm(x, None, self.eps))


class VisionEmbedder(nn.Module):
    """Patches of 48 × 48 pixels: norm, projection, norm, plus what stands for column and row, norm."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width = config.mm_embed_dim
        self.patch_ln1 = nn.LayerNorm(config.patch_dim, eps=_LAYER_NORM_EPS)
        self.patch_dense = nn.Linear(config.patch_dim, width)
        self.patch_ln2 = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.pos_embedding = mx.zeros((config.mm_posemb_size, 2, width))
        self.pos_norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)

    def __call__(self, patches: mx.array, positions: mx.array) -> mx.array:
        """Patches uint8 (n, 6912), each row-column-channel, and positions int (n, 2) as (x, y) → (1, n, width)."""
        pixels = patches.astype(mx.float32)
        # The first norm ignores a shift. Whole numbers sum exactly, so the mean is taken out here: summed inside the
        # norm over 6,912 values, it costs four digits where a patch is bright and flat.
        pixels = (pixels - pixels.mean(axis=-1, keepdims=True)) * (1 / 255)
        x = self.patch_ln2(self.patch_dense(self.patch_ln1(pixels.astype(self.pos_embedding.dtype))))
        place = self.pos_embedding[positions[:, 0], 0] + self.pos_embedding[positions[:, 1], 1]
        return self.pos_norm(x + place)[None]


def vision_projection(vision: VisionConfig, text: TextConfig) -> Projection:
    """The projection behind the vision embedder."""
    return Projection(vision.output_proj_dims, vision.rms_norm_eps, text)


def audio_projection(audio: AudioConfig, text: TextConfig) -> Projection:
    """The audio embedder: raw frames of 640 samples straight into the stream."""
    return Projection(audio.audio_embed_dim, audio.rms_norm_eps, text)
