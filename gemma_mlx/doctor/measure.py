"""`doctor --measure`: the memory that a plan predicts, beside what MLX counted.

Reads a fixed prompt of text, a picture and a recording, longer than the sliding window of the 12B, and answers it. The
formulas of the plan for Metal are checked this way: nobody has measured them there yet. Knows counters: not formulas.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import mlx.core as mx

from gemma_mlx.chat import Chat
from gemma_mlx.device import memory_limits
from gemma_mlx.doctor.finding import Finding
from gemma_mlx.generation.depth import MOST
from gemma_mlx.generation.events import Finished
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Audio, Image, Message, Text
from gemma_mlx.inputs.prompt import PromptBuilder, Segment
from gemma_mlx.loading import Prepared, load
from gemma_mlx.memory.caches import Span
from gemma_mlx.memory.moments import Written, of_run
from gemma_mlx.memory.sizes import gigabytes
from gemma_mlx.progress import Progress
from gemma_mlx.stream import cut, pack

SAMPLES = Path(str(files("gemma_mlx") / "assets" / "samples"))
_TEXT = "In the morning the harbour is quiet, and the boats wait for the tide. " * 60
_QUESTION = "What do you see, what do you hear, and what waits for the tide?"
_TOKENS = 16  # answered
_FLOAT32 = 4  # bytes of a number
_LOADING = 300_000_000  # that reading the largest layer may take beside it
_KINDS: dict[str, Literal["text", "sound", "image"]] = {
    "text": "text",
    "audio": "sound",
    "image": "image",
    "video": "image",
}
_OVER, _UNDER = 1.10, 0.97  # predicted over measured: ten per cent too much is waste, three too little a risk


@dataclass(frozen=True)
class Measured:
    """Bytes at the worst moments of loading and of answering, as planned and as counted, and how fast it went.

    `item`: bytes of an activation; `tokens`: positions held at the end; speeds are tokens a second.
    """

    backend: str
    item: int
    tokens: int
    load_allowed: int
    load_peak: int
    predicted_peak: int
    measured_peak: int
    weights: int
    prefill_tok_s: float
    decode_tok_s: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted_peak / self.measured_peak

    def as_json(self) -> dict[str, Any]:
        """As `doctor --json` reports it."""
        return {**asdict(self), "predicted_over_measured": self.ratio}


def measure(prepared: Prepared, progress: Progress | None = None) -> Measured:
    """Load the model, answer the fixed prompt greedily, and count. Raises `ContextError` if the planned context is too
    short for it, and what loading raises."""
    sizes, plan = prepared.sizes, prepared.plan
    with memory_limits(plan, prepared.weights_bytes):
        foreign = mx.get_active_memory()  # what the rest of the process holds
        mx.reset_peak_memory()
        gemma = load(prepared, progress=progress)
        load_peak = mx.get_peak_memory()
        mx.reset_peak_memory()
        chat = Chat(gemma)
        picture = Image.open(SAMPLES / "picture.png", max_soft_tokens=plan.knobs.image_tokens)
        parts = (picture, Text(_TEXT), Audio.open(SAMPLES / "recording.wav"))
        for part in parts:
            chat.add(part, read=False)  # with the question, so that the timing is of all
        finished = _answer(chat)
        measured_peak = mx.get_peak_memory()
    turn = Message("user", (*parts, Text(_QUESTION)))
    return Measured(
        backend=plan.machine.backend,
        item=sizes.item,
        tokens=finished.usage.prompt_tokens + len(finished.tokens),
        load_allowed=prepared.weights_bytes + sizes.largest_layer + _LOADING,
        load_peak=load_peak - foreign,
        predicted_peak=predicted_peak(prepared, gemma.prompts, turn, len(finished.tokens)),
        measured_peak=measured_peak - foreign,
        weights=prepared.weights_bytes,
        prefill_tok_s=finished.timing.prefill_tok_s,
        decode_tok_s=finished.timing.decode_tok_s,
    )


def predicted_peak(prepared: Prepared, prompts: PromptBuilder, turn: Message, written: int) -> int:
    """What the plan's formulas say of a conversation of one turn and an answer of so many tokens, in the pieces of
    `Chat`. Of its marks, one stands at the very beginning, and nothing is dropped of the other within such an answer.
    """
    sizes, knobs = prepared.sizes, prepared.plan.knobs
    segments = prompts.build([turn]).segments
    end = sum(len(segment.ids) for segment in segments)
    pieces = list(pieces_until(segments, (end,), knobs.piece_tokens))
    depth = MOST if knobs.drafter else 0
    moment = of_run(sizes, prepared.plan.machine.backend, pieces, written=Written(written, depth))
    return prepared.weights_bytes + moment.nbytes


def pieces_until(segments: Sequence[Segment], stops: Sequence[int], most: int) -> Iterator[list[Span]]:
    """What the stream cuts a prompt into that is read up to each of the stops, the last of which is its end."""
    start = 0
    for stop in stops:
        for spans in pack(cut(segments, start, stop), start, most=most):
            yield [Span(_KINDS[span.segment.kind], span.length) for span in spans]
        start = stop


def _answer(chat: Chat) -> Finished:
    for event in chat.reply(_QUESTION, Sampler(temperature=0), max_tokens=_TOKENS):
        if isinstance(event, Finished):
            return event
    raise AssertionError("a reply ends with Finished")


def findings(measured: Measured) -> list[Finding]:
    """Peaks planned and counted, and the speed."""
    speed = f"{measured.prefill_tok_s:.0f} tokens read and {measured.decode_tok_s:.1f} written a second"
    return [_loading(measured), _answering(measured), Finding("speed", "ok", f"{speed}, {measured.tokens} in all")]


def _loading(measured: Measured) -> Finding:
    text = f"{gigabytes(measured.load_peak)} at the worst moment, {gigabytes(measured.load_allowed)} planned"
    if measured.load_peak <= measured.load_allowed:
        return Finding("loading", "ok", text)
    return Finding("loading", "warning", text, "please report this line and the one of chip")


def _answering(measured: Measured) -> Finding:
    sizes = f"{gigabytes(measured.predicted_peak)} predicted, {gigabytes(measured.measured_peak)} measured"
    beside = [gigabytes(peak - measured.weights) for peak in (measured.predicted_peak, measured.measured_peak)]
    text = f"{sizes}, ratio {measured.ratio:.2f}; beside the weights {beside[0]} and {beside[1]}"
    if _UNDER <= measured.ratio <= _OVER:
        return Finding("answering", "ok", text)
    if measured.backend == "cpu" and measured.item < _FLOAT32:
        return Finding("answering", "ok", f"{text}: for 16 bits on a CPU the plan is an estimate")
    known = " (its formulas for Metal are unverified)" if measured.backend == "metal" else ""
    if measured.ratio > _OVER:
        return Finding("answering", "warning", f"{text}: the plan asks for too much{known}", "please report this line")
    advice = "plan for less with --memory, and please report this line"
    return Finding("answering", "warning", f"{text}: the plan asks for too little{known}", advice)
