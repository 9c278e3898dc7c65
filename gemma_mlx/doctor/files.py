"""Findings about model files: which model is meant, whether its files are whole, how it fits, room for more.

Reads `config.json`, tokenizer, template and safetensors headers, no weights.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.doctor.finding import Finding, State
from gemma_mlx.errors import GemmaError, MemoryPlanError
from gemma_mlx.hub.catalogue import CATALOGUE
from gemma_mlx.hub.download import cache_directory
from gemma_mlx.hub.place import existing
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import load_tokenizer
from gemma_mlx.loading import LoadOptions, prepare
from gemma_mlx.memory.plan import COMFORTABLE, parts, plan
from gemma_mlx.memory.published import published_bytes
from gemma_mlx.memory.sizes import gigabytes
from gemma_mlx.memory.values import Machine, ModelBytes, Plan, Wish
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.models import ASSISTANT, DEFAULT, default_model, drafter_for, find_model, pulled_model
from gemma_mlx.names import drafter_name, target_name
from gemma_mlx.weights import Weights, fit

_MEDIA = 105_000_000  # bytes of vision and audio tensors, fetched apart
DOWNLOAD = CATALOGUE[DEFAULT].nbytes + _MEDIA + CATALOGUE[ASSISTANT].nbytes
_SPARE = 1_000_000_000  # that a system wants free beside it; the packed drafter takes 0.24 GB of that


@dataclass(frozen=True)
class Model:
    """What was found of the model that is meant. `needed`: bytes for a conversation of comfortable length, which
    `subject` calls by its name, None if the model cannot be used."""

    findings: tuple[Finding, ...]
    needed: int | None = None
    subject: str = "a conversation"


def model(name: str | None, dtype: str, machine: Machine) -> Model:
    """The named model; without a name the pulled 12B, else the one that `pull` would fetch."""
    try:
        directory = find_model(name) if name else default_model()
        if directory is None:
            return _to_be_pulled(machine)
        found = (*_whole(directory), drafter(directory))
    except GemmaError as fault:
        return Model((Finding("model", "fix", str(fault)),))
    try:
        prepared = prepare(directory, LoadOptions(dtype=dtype))  # as the commands plan it
    except GemmaError as fault:
        return Model((*found, Finding("fit", "fix", str(fault))))
    return Model((*found, room(prepared.sizes, prepared.plan)), _comfortable(prepared.sizes, prepared.plan))


def _to_be_pulled(machine: Machine) -> Model:
    """No model of one's own: what it takes to have one."""
    advice = f"gemma-mlx pull fetches it and its drafter, {gigabytes(DOWNLOAD)}"
    found = Finding("model", "warning", "no 12B yet, commands use the built-in demo model", advice)
    sizes = published_bytes("4bit", 2 if machine.backend == "metal" else 4, drafter=True)
    try:
        planned = plan(sizes, machine, Wish())
    except MemoryPlanError as fault:
        return Model((found, Finding("fit", "warning", f"the 12B in 4 bits {fault}")))
    fit_of_it = room(sizes, planned)
    told = replace(fit_of_it, text=f"the 12B in 4 bits, once pulled: {fit_of_it.text}")
    return Model((found, told), _comfortable(sizes, planned), "a conversation with the 12B, once pulled,")


def _comfortable(sizes: ModelBytes, planned: Plan) -> int:
    knobs = replace(planned.knobs, context=min(planned.knobs.context, COMFORTABLE))
    return sum(part.nbytes for part in parts(sizes, planned.machine.backend, knobs))


def _whole(directory: Path) -> tuple[Finding, Finding]:
    """A model whose files are whole. Raises `GemmaError` for one whose files are not."""
    config = ModelConfig.load(directory)
    weights = Weights.read(directory, target_name, config.quantization)
    fit(GemmaModel(config), weights)
    load_tokenizer(directory)
    ChatTemplate.load(directory)
    return Finding("model", "ok", f"{directory}, {gigabytes(weights.nbytes)}, files whole"), bits(weights.bits())


def bits(of_parts: Mapping[str, float]) -> Finding:
    """Stored bits of each part; pictures and sound go through one small projection each, which 4 bits would coarsen."""
    text = ", ".join(f"{part} {of_parts[part]:g}" for part in ("language", "vision", "audio") if part in of_parts)
    coarse = [part for part in ("vision", "audio") if of_parts.get(part, 16) < 16]
    if not coarse:
        return Finding("bits", "ok", text)
    advice = f"gemma-mlx pull fetches them in bfloat16, {gigabytes(_MEDIA)}"
    return Finding("bits", "warning", f"{text}: {' and '.join(coarse)} should not be packed", advice)


def drafter(directory: Path) -> Finding:
    """The assistant that belongs to the model in `directory`."""
    try:
        found = drafter_for(directory)
        if found is None:
            text = f"none for this model, answers do without; gemma-mlx pull {ASSISTANT} fetches the 12B's"
            return Finding("drafter", "ok", text)
        config = DrafterConfig.load(found)
        weights = Weights.read(found, drafter_name, config.quantization)
        fit(Drafter(config), weights)
    except GemmaError as fault:
        return Finding("drafter", "fix", str(fault))
    text = f"{found}, {gigabytes(weights.nbytes)}, files whole"
    if found == pulled_model(ASSISTANT):
        text += f"; gemma-mlx pull {ASSISTANT} packs it to 4 bits"
    return Finding("drafter", "ok", text)


def room(sizes: ModelBytes, planned: Plan) -> Finding:
    """Weights, drafter and the longest conversation that fits beside them. What is free now is another check."""
    context, limit = planned.knobs.context, gigabytes(planned.limit)
    weights = f"{gigabytes(sizes.weights)} of weights"
    if planned.knobs.drafter:
        weights += f" and {gigabytes(sizes.drafter_weights)} of drafter"
    text = f"{weights}, up to {context:,} tokens of context within {limit}"
    if not planned.given_up:
        return Finding("fit", "ok", text)
    said = "; ".join(planned.given_up)
    return Finding("fit", "warning", f"{text}; {said}", "gemma-mlx plan shows what takes how much")


def disk(directory: Path, free: int, have_model: bool) -> Finding:
    """Room for a download; without any model of one's own there must be some."""
    text = f"{gigabytes(free)} free at {directory}"
    if free >= DOWNLOAD + _SPARE:
        return Finding("disk", "ok", text)
    state: State = "warning" if have_model else "fix"
    advice = f"free {gigabytes(DOWNLOAD + _SPARE - free)} before gemma-mlx pull, or set HF_HOME to another disk"
    return Finding("disk", state, f"{text}, the 12B and its drafter take {gigabytes(DOWNLOAD)}", advice)


def disk_here(name: str | None) -> Finding:
    """`disk` of the place that downloads go to. `name`: the model that is used, if one was named."""
    directory = cache_directory()
    return disk(directory, shutil.disk_usage(existing(directory)).free, bool(name) or pulled_model(DEFAULT) is not None)
