"""What the rehearsal does, one function a stage. Each runs in a process of its own and returns its figures.

Knows the directories of a rehearsal and the package: not the order of stages, bars or results.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from gemma_mlx.benchmarks.child import peak_resident, resident
from gemma_mlx.benchmarks.full_size import write_assistant, write_target
from gemma_mlx.benchmarks.layout import FRAME, PATCH, Size
from gemma_mlx.checkpoint import Tensor, read_tensors
from gemma_mlx.config import ModelConfig
from gemma_mlx.context.context import Context
from gemma_mlx.device import memory_limits, this_machine
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.loading import LoadOptions, Prepared, load_drafter, load_model, prepare
from gemma_mlx.memory.caches import Span
from gemma_mlx.memory.guard import Guard
from gemma_mlx.memory.moments import Written, of_run
from gemma_mlx.memory.plan import model_bytes, plan
from gemma_mlx.memory.values import Wish
from gemma_mlx.model.drafter import Drafter, target_memory
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.names import target_name

TOKENS = 4  # generated
PICTURE = (7, 10)  # patches: 70 tokens, the smallest budget
CLIP = 25  # frames: a second
# What the memory plan calls a segment.
_SPANS: Mapping[str, Literal["text", "sound", "image"]] = {"text": "text", "image": "image", "audio": "sound"}
Figures = dict[str, Any]


@dataclass(frozen=True)
class Places:
    """The directories of a rehearsal."""

    root: Path

    @property
    def source(self) -> Path:
        return self.root / "published" / "target"

    @property
    def source_assistant(self) -> Path:
        return self.root / "published" / "assistant"

    @property
    def converted(self) -> Path:
        return self.root / "converted" / "target"

    @property
    def converted_assistant(self) -> Path:
        return self.root / "converted" / "assistant"


def fabricate(places: Places, size: Size) -> Figures:
    """Write the published layout with random weights."""
    return {
        "target_bytes": write_target(places.source, size),
        "assistant_bytes": write_assistant(places.source_assistant, size),
        "tensors": len(read_tensors(places.source)) + len(read_tensors(places.source_assistant)),
    }


def inspect(places: Places, size: Size) -> Figures:
    """What the conversion wrote: bytes of each part by type, and whether all that is not packed is unchanged."""
    before = {target_name(name): tensor for name, tensor in read_tensors(places.source).items()}
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    kept = changed = 0
    converted = read_tensors(places.converted)
    for name, tensor in converted.items():
        ours = target_name(name) or name
        part = "vision" if "vision" in ours else "audio" if "audio" in ours else "language"
        found[part][tensor.dtype] += tensor.nbytes
        if ours in before and (before[ours].dtype, before[ours].shape) == (tensor.dtype, tensor.shape):
            kept += 1
            changed += _bytes(before[ours]) != _bytes(tensor)
    return {
        "output_bytes": _file_bytes(places.converted),
        "assistant_output_bytes": _file_bytes(places.converted_assistant),
        "bytes_by_part_and_type": found,
        "kept_tensors": kept,
        "changed_tensors": changed,
    }


def planned(places: Places, size: Size) -> Figures:
    """What the plan says of this machine, and of a Mac with 16 GB."""
    figures: Figures = {}
    for name, machine, item in (("here", this_machine(), 4), ("mac_16gb", this_machine(16 * 2**30, mac=True), 2)):
        found = plan(model_bytes(places.converted, places.converted_assistant, item), machine, Wish())
        figures[name] = {
            "parts": {part.name: part.nbytes for part in found.parts},
            "total_bytes": found.total,
            "limit_bytes": found.limit,
            "knobs": asdict(found.knobs),
            "largest_context": found.largest_context,
            "given_up": found.given_up,
        }
    return figures


def loaded(places: Places, size: Size) -> Figures:
    """Load the target alone: how far the peak lies above what stays."""
    steps: list[int] = []
    base = resident()
    started = time.perf_counter()
    model = load_model(places.converted, progress=lambda done, _: steps.append(done))
    seconds = time.perf_counter() - started
    held = _held(model)
    expected = model_bytes(places.converted, None, _item())
    return {
        "load_seconds": round(seconds, 1),
        "weights_bytes": held,
        "predicted_weights_bytes": expected.weights,
        "largest_layer_bytes": expected.largest_layer,
        "steps": len(steps),
        "resident_before_bytes": base,
        "resident_after_bytes": resident(),
        "resident_peak_bytes": peak_resident(),
        "peak_over_weights_bytes": peak_resident() - held,
        "mlx_peak_bytes": mx.get_peak_memory(),
        "mlx_peak_over_weights_bytes": mx.get_peak_memory() - held,
    }


def generate(places: Places, size: Size) -> Figures:
    """Load both within the plan, read text, a picture and a clip, take a step of the drafter, and decode greedily."""
    prompt = rehearsal_prompt(ModelConfig.load(places.converted))
    positions, image_tokens = prompt.n_tokens + TOKENS, PICTURE[0] * PICTURE[1]
    prepared = prepare(places.converted, LoadOptions("auto", positions, image_tokens, places.converted_assistant))
    with memory_limits(prepared.plan, prepared.weights_bytes):
        model = load_model(places.converted)
        drafter = load_drafter(places.converted_assistant, target=model.config)
        return _answer(model, drafter, prepared, prompt)


def _answer(model: GemmaModel, drafter: Drafter, prepared: Prepared, prompt: Prompt) -> Figures:
    """Read, draft and decode, with what each takes."""
    knobs, guard = prepared.plan.knobs, Guard(prepared.sizes, prepared.plan, lambda: 0)
    context = Context(model, knobs.context, knobs.piece_tokens, admit=guard.admit)
    mx.reset_peak_memory()
    read, read_seconds = _timed(lambda: context.read(prompt))
    assert read.hidden is not None
    hidden = read.hidden
    newest = mx.argmax(model.logits(hidden), axis=-1)
    mx.eval(newest)  # the target's work, not the drafter's
    drafted, draft_seconds = _timed(lambda: _draft(drafter, model.embed_text(newest), hidden, context))
    options = DecodeOptions(Sampler(temperature=0), TOKENS)
    tokens, decode_seconds = _timed(lambda: [token.id for token in context.decode(hidden, options)])
    measured, predicted = mx.get_peak_memory(), _predicted(prepared, prompt)
    return {
        "prompt_tokens": _kinds(prompt),
        "read_seconds": round(read_seconds, 1),
        "seconds_per_prompt_token": round(read_seconds / prompt.n_tokens, 2),
        "draft_step_seconds": round(draft_seconds, 2),
        "drafted": drafted,
        "tokens": tokens,
        "seconds_per_token": round(decode_seconds / (TOKENS - 1), 2),  # the first needs no pass through the model
        "weights_bytes": _held(model) + _held(drafter),
        "kv_bytes": context.caches.nbytes,
        "mlx_peak_bytes": measured,
        "predicted_peak_bytes": predicted,
        "planned_peak_bytes": prepared.plan.peak,
        "predicted_over_measured": round(predicted / measured, 4),
        "resident_peak_bytes": peak_resident(),
    }


def rehearsal_prompt(config: ModelConfig) -> Prompt:
    """Text, a picture of random pixels, text, a second of noise, text."""
    rng = np.random.default_rng(0)
    rows, columns = PICTURE
    places = np.array([(x, y) for y in range(rows) for x in range(columns)], np.int32)
    pixels = rng.integers(0, 256, (rows * columns, PATCH), np.uint8)
    samples = rng.uniform(-0.5, 0.5, (CLIP, FRAME)).astype(np.float32)
    text = [Segment("text", np.array(ids, np.int32)) for ids in ([2, 105, 107], [107, 108, 109], [106, 107, 105, 107])]
    picture = Segment("image", np.full(rows * columns, config.image_token_id, np.int32), pixels, places, "picture")
    clip = Segment("audio", np.full(CLIP, config.audio_token_id, np.int32), samples, None, "clip")
    return Prompt((text[0], picture, text[1], clip, text[2]))


def _draft(drafter: Drafter, embedding: mx.array, hidden: mx.array, context: Context) -> int:
    """The token after the embedded one, as the drafter proposes it."""
    logits, _ = drafter(embedding, hidden, target_memory(context.caches))
    return int(np.array(mx.argmax(logits, axis=-1)).item())


def _predicted(prepared: Prepared, prompt: Prompt) -> int:
    """Peak that the plan's arithmetic gives for this prompt, read in one piece without a point to come back to."""
    sizes = prepared.sizes
    spans = [Span(_SPANS[segment.kind], len(segment.ids)) for segment in prompt.segments]
    moment = of_run(sizes, prepared.plan.machine.backend, [spans], written=Written(TOKENS))
    return sizes.weights + sizes.drafter_weights + moment.nbytes


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def _kinds(prompt: Prompt) -> dict[str, int]:
    """Positions of each kind."""
    counts = Counter[str]()
    for segment in prompt.segments:
        counts[segment.kind] += len(segment.ids)
    return dict(counts)


def _item() -> int:
    """Bytes of a number in the type that models are computed in here."""
    return 4 if mx.default_device() == mx.cpu else 2


def _held(model: GemmaModel | Drafter) -> int:
    return sum(array.nbytes for array in dict(tree_flatten(model.parameters())).values())


def _file_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*.safetensors"))


def _bytes(tensor: Tensor) -> bytes:
    """The tensor as it is stored."""
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        return file.read(tensor.nbytes)
