"""One piece through the model on Metal, by formulas. UNVERIFIED: nobody has measured them on a Mac.

Attention over 512-wide heads has no fused kernel for long pieces, so the scores of a layer are made; softmax reuses
their buffer in part. Source: mlx 0.32.4's kernel choice, and one public figure: mlx-lm took 2.7 GB beside the weights
to read 13,221 tokens of the 4-bit 12B in pieces of 2048. These formulas say 3.0 GB, 0.1 of it for longer caches.
"""

from collections.abc import Sequence

from gemma_mlx.memory.caches import Caches, Span, length_of
from gemma_mlx.memory.values import ModelBytes

_SCORES = 1.5  # buffers of all scores of one layer, alive at once
_FEED_FORWARD = 3  # of the feed-forward's width
_STREAM = 8  # of the hidden size: norms, projections and residuals of the command buffers in flight
_PIXEL_BYTES = 9  # whole number, then float32 before and after the mean is taken out


def peak(model: ModelBytes, caches: Caches, spans: Sequence[Span], *, last: bool) -> int:
    """Most bytes at once, weights not counted, while a piece is read into the caches. `last`, whether only the last
    position goes through the last layer, changes nothing: other layers take as much."""
    text, length = model.config.text_config, length_of(spans)
    after = caches.append(length)
    keys = max(after.full.visible(length), after.sliding.visible(length))
    scores = _SCORES * text.num_attention_heads * length * keys
    embeddings = 1 if len(spans) == 1 else 2  # the parts, and the whole that they are put together to
    widths = length * (_FEED_FORWARD * text.intermediate_size + (_STREAM + embeddings) * text.hidden_size)
    held = max(caches.nbytes(text, model.item), after.nbytes(text, model.item)) + _one_layer(model, caches)
    return held + _pictures(model, spans) + int((scores + widths) * model.item)


def _one_layer(model: ModelBytes, caches: Caches) -> int:
    """Buffers of the layer that is being moved to larger ones."""
    return caches.nbytes(model.config.text_config, model.item) // model.config.text_config.num_hidden_layers


def _pictures(model: ModelBytes, spans: Sequence[Span]) -> int:
    vision = model.config.vision_config
    if vision is None:
        return 0
    patches = sum(span.length for span in spans if span.kind == "image")
    return patches * vision.patch_dim * (_PIXEL_BYTES + 2 * model.item)
