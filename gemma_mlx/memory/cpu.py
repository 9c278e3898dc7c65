"""One piece through the model on MLX's CPU backend, on sizes instead of numbers, operation by operation.

Mirrors `stream.py` and `model/` with what MLX makes of norms, rotary embeddings, attention and masks on a CPU, in the
order in which it queues them: keys before queries before values. Queue entries (see `tape.py`) are those of the graphs
that MLX builds. Results of one number a row are left out. Scratch is counted in float32, the default on a CPU; for
16-bit activations, whose norms take copies in float32, it is an estimate that may be a fifth too small or too large.
Source: mlx 0.32.4, `mx.export_to_dot` of a layer and `fast.cpp`; measured by `benchmarks/memory.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gemma_mlx.config import AttentionConfig, VisionConfig
from gemma_mlx.memory.caches import Caches, Span, length_of, row_bytes
from gemma_mlx.memory.tape import Sized, Tape
from gemma_mlx.memory.values import ModelBytes

_FLOAT32 = 4


def peak(model: ModelBytes, caches: Caches, spans: Sequence[Span], *, last: bool) -> int:
    """Most bytes at once, weights not counted, while a piece is read into the caches; `last`: only the last position
    goes through the last layer."""
    text, length = model.config.text_config, length_of(spans)
    images = sum(span.kind == "image" for span in spans)
    windowed = length > 1 and (images > 0 or caches.position + length > text.sliding_window)
    run = _Pass(model, Tape(), length, caches, images if windowed else None)
    buffers = [[run.tape.held(_capacity(model, caches, layer)) for _ in range(2)] for layer in text.layers]
    x = _embeddings(run, spans)
    final = len(text.layers) - 1 if last and length > 1 else None
    for number, (layer, (keys, values)) in enumerate(zip(text.layers, buffers, strict=True)):
        run.queries = 1 if number == final else length
        x = _layer(run, x, layer, keys, values)
    run.norm(x)
    return run.tape.peak()


def _capacity(model: ModelBytes, caches: Caches, layer: AttentionConfig) -> int:
    return caches.of(layer).capacity * row_bytes(layer, model.item)


@dataclass
class _Pass:
    """A piece on its way. `images` in it if sliding layers need a mask of their own, else None; `queries`: positions
    that leave the layer."""

    model: ModelBytes
    tape: Tape
    length: int
    caches: Caches
    images: int | None = None
    sliding_mask: Sized | None = None
    queries: int = 0

    def rows(self, width: int) -> int:
        """Bytes of (length, width) numbers."""
        return self.length * width * _FLOAT32

    def linear(self, x: Sized, width: int) -> Sized:
        packed = self.model.config.quantization is not None
        return self.tape.new(self.rows(width), x, entries=2 if packed else 5)

    def leaving(self) -> "_Pass":
        """The same for the positions that leave the layer."""
        return replace(self, length=self.queries)

    def squares(self, x: Sized, entries: int = 2) -> None:
        """Their mean: a norm's first half."""
        self.tape.read(self.tape.new(x.nbytes, x, entries=entries), entries=3)

    def scaled(self, x: Sized, weight: bool = True) -> Sized:
        """A norm's second half."""
        out = self.tape.new(x.nbytes, x, entries=11)
        self.tape.read(out, entries=2 if weight else 0)
        return out

    def norm(self, x: Sized, weight: bool = True) -> Sized:
        self.squares(x)
        return self.scaled(x, weight)

    def angles(self, head_dim: int, entries: int) -> tuple[Sized, Sized]:
        """Cosines and sines of the positions."""
        nbytes = self.rows(head_dim // 2)
        theta = self.tape.new(nbytes, entries=entries)
        return self.tape.new(nbytes, theta, entries=11), self.tape.new(nbytes, theta, entries=3)

    def products(self, x: Sized, angles: tuple[Sized, Sized]) -> list[Sized]:
        """Both halves of a head with cosine and sine."""
        return [self.tape.new(x.nbytes // 2, x, *angles) for _ in range(4)]

    def rotated(self, products: Sequence[Sized], entries: int) -> Sized:
        """Their difference and sum, which take over two of the buffers, side by side."""
        self.tape.read(*products, entries=4)
        return self.tape.new(2 * products[0].nbytes, *products, entries=entries)


def _embeddings(run: _Pass, spans: Sequence[Span]) -> Sized:
    """What a piece starts from. The loop over pieces holds the spans' embeddings and the whole until the next one.

    MLX goes through its graph level by level: pictures of one piece are embedded side by side.
    """
    parts = [_span(replace(run, length=span.length), span) for span in spans if span.kind != "image"]
    pictures = [span for span in spans if span.kind == "image"]
    if pictures and run.model.config.vision_config is not None:
        run.tape.lanes = len(pictures)
        parts.append(_picture(replace(run, length=length_of(pictures)), run.model.config.vision_config))
        run.tape.lanes = 1
    if len(spans) > 1:
        parts.append(run.tape.new(run.rows(run.model.config.text_config.hidden_size), *parts, entries=1 + len(spans)))
    run.tape.keep(*parts)
    return parts[-1]


def _span(run: _Pass, span: Span) -> Sized:
    config, hidden = run.model.config, run.model.config.text_config.hidden_size
    if span.kind == "sound" and config.audio_config is not None:
        frames = run.tape.held(run.rows(config.audio_config.audio_embed_dim))
        return run.linear(run.norm(frames, weight=False), hidden)
    return run.tape.new(run.rows(hidden), entries=8)


def _picture(run: _Pass, vision: VisionConfig) -> Sized:
    tape = run.tape
    patches = tape.held(run.length * vision.patch_dim)
    pixels = tape.new(run.rows(vision.patch_dim), patches)
    tape.read(pixels, entries=5)
    centred = tape.new(pixels.nbytes, pixels, entries=3)
    tape.read(centred, entries=3)
    x = _layer_norm(run, run.linear(_layer_norm(run, centred), vision.mm_embed_dim))
    places = [tape.new(x.nbytes, entries=6) for _ in range(2)]
    tape.read(x, *places, entries=4)
    return run.linear(run.norm(_layer_norm(run, x), weight=False), run.model.config.text_config.hidden_size)


def _layer_norm(run: _Pass, x: Sized) -> Sized:
    tape = run.tape
    tape.read(x, entries=5)
    squares = tape.new(x.nbytes, x)
    tape.read(squares)
    centred = tape.new(x.nbytes, x, entries=15)
    out = tape.new(x.nbytes, centred, entries=6)
    tape.read(out, entries=6)
    return out


def _layer(run: _Pass, x: Sized, layer: AttentionConfig, keys: Sized, values: Sized) -> Sized:
    """`keys`, `values`: the layer's buffers so far."""
    tape, text, left = run.tape, run.model.config.text_config, run.leaving()
    attended = _attention(run, run.norm(x), layer, keys, values)
    out = run.norm(left.linear(attended, text.hidden_size))
    tape.read(x, out)
    normed = run.norm(out)
    gate, up = left.linear(normed, text.intermediate_size), left.linear(normed, text.intermediate_size)
    inner = tape.new(gate.nbytes, gate)
    tape.read(gate, up, inner)
    fed = run.norm(left.linear(inner, text.hidden_size))
    tape.read(out, fed, entries=5)
    return fed


def _attention(run: _Pass, x: Sized, layer: AttentionConfig, old_keys: Sized, old_values: Sized) -> Sized:
    tape, width, left = run.tape, layer.num_key_value_heads * layer.head_dim, run.leaving()
    keys = run.linear(x, width)
    queries = left.linear(x, run.model.config.text_config.num_attention_heads * layer.head_dim)
    run.squares(keys)
    run.squares(queries, entries=18)
    values = keys if layer.k_eq_v else run.linear(x, width)
    keys = run.scaled(keys)
    angles = run.angles(layer.head_dim, entries=7)
    run.squares(values, entries=6)
    queries = run.scaled(queries)
    products = run.products(keys, angles)
    angles = left.angles(layer.head_dim, entries=2)
    _append(run, layer, old_keys, run.rotated(products, entries=3))
    products = run.products(queries, angles)
    values = run.scaled(values, weight=False)
    queries = run.rotated(products, entries=4)
    tape.read(queries, entries=7)
    _append(run, layer, old_values, values)
    out = _weighted(run, queries, layer)
    return tape.new(out.nbytes, out, entries=4)


def _append(run: _Pass, layer: AttentionConfig, old: Sized, new: Sized) -> None:
    rows = run.caches.of(layer)
    if rows.grows(run.length):
        grown = rows.append(run.length).capacity * row_bytes(layer, run.model.item)
        run.tape.keep(run.tape.new(grown, old, new, entries=5))
    else:
        run.tape.read(old, new, entries=3)
        run.tape.keep(old)


def _weighted(run: _Pass, queries: Sized, layer: AttentionConfig) -> Sized:
    """Scores of all heads at once, whose buffer mask and softmax take over, and what they weight."""
    tape, heads = run.tape, run.model.config.text_config.num_attention_heads
    pairs = run.queries * run.caches.of(layer).append(run.length).visible(run.length)
    mask = _mask(run, layer, pairs)
    scores = tape.new(pairs * heads * _FLOAT32, queries, entries=3)
    if mask is not None:
        tape.read(scores, mask, entries=4)
    tape.read(scores)
    return tape.new(queries.nbytes, scores)


def _mask(run: _Pass, layer: AttentionConfig, pairs: int) -> Sized | None:
    """One byte for a pair of query and key. MLX makes causal ones in every layer, the window's is made once."""
    if run.queries == 1:
        return None
    if run.images is None or not layer.is_sliding:
        return run.tape.new(pairs, entries=10)
    if run.sliding_mask is None:
        run.sliding_mask = _window_mask(run.tape, pairs, run.images)
    return run.sliding_mask


def _window_mask(tape: Tape, pairs: int, images: int) -> Sized:
    visible = tape.new(pairs, entries=9)
    for _ in range(images):
        tape.read(visible, tape.new(pairs, entries=16))
    distances = tape.new(4 * pairs, entries=5)
    tape.read(distances)
    tape.read(visible, tape.new(pairs, distances, entries=3))
    return visible
