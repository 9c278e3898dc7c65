"""Gemma 4 12B: the weights of the decoder and of its embedders. Read this file first.

Text, images and sound become rows of one stream of embeddings; after that the decoder does not know where a row came
from. Knows arrays only. Module names are the published tensor names without their `model.` prefix.
"""

from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn

from gemma_mlx.config import ModelConfig
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.decoder import Decoder
from gemma_mlx.model.embedders import VisionEmbedder, audio_projection, vision_projection
from gemma_mlx.model.masks import Block


class GemmaModel(nn.Module):
    """The target model; a checkpoint without pictures or sound leaves those embedders out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        text = config.text_config
        self.language_model = Decoder(text)
        if config.vision_config is not None:
            self.vision_embedder = VisionEmbedder(config.vision_config)
            self.embed_vision = vision_projection(config.vision_config, text)
        if config.audio_config is not None:
            self.embed_audio = audio_projection(config.audio_config, text)

    def embed_text(self, ids: mx.array) -> mx.array:
        """Token ids (1, L) → (1, L, hidden)."""
        return self.language_model.embed(ids)

    def embed_image(self, patches: mx.array, positions: mx.array) -> mx.array:
        """Patches uint8 (n, 6912) and positions int (n, 2) as (x, y) → (1, n, hidden), not scaled like text."""
        return self.embed_vision(self.vision_embedder(patches, positions))

    def embed_sound(self, frames: mx.array) -> mx.array:
        """Frames float (n, 640) of 16 kHz samples → (1, n, hidden), not scaled like text."""
        weight = self.language_model.norm.weight
        return self.embed_audio(frames.astype(weight.dtype)[None])

    def __call__(
        self, embeddings: mx.array, caches: Caches, blocks: Sequence[Block] = (), *, last: bool = False
    ) -> mx.array:
        """Embeddings (1, L, hidden) → hidden states after the final norm (1, L, hidden), or with `last` that of the
        last position alone; the caches grow by L."""
        return self.language_model(embeddings, caches, blocks, last=last)

    def logits(self, hidden: mx.array) -> mx.array:
        """Hidden states (1, L, hidden) → logits (1, L, vocab): ask only for the positions that are needed."""
        return self.language_model.logits(hidden)
