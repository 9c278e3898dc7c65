"""`gemma-mlx plan`: a table of what a model takes, or one JSON object; nothing is loaded, and nothing downloaded."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma_mlx.options import ContextOption, DtypeOption, ImageTokensOption, MemoryOption, ModelOption

if TYPE_CHECKING:
    from gemma_mlx.memory.values import Machine, ModelBytes, Plan

EXAMPLES = """Examples:

\b
  gemma-mlx plan
  gemma-mlx plan --memory 16GB --mac
  gemma-mlx plan --memory 16GB --mac --context 65536 --image-tokens 1120
  gemma-mlx plan --model 4bit-g32 --memory 16GB --mac
  gemma-mlx plan --model ~/models/gemma-4-12B-it-4bit --draft off --json

Before anything is downloaded, 4bit, 4bit-g32, 8bit and bf16 stand for the published 12B packed that way."""

_ITEMS = {"float32": 4, "bfloat16": 2, "float16": 2}
_BAR = 40  # characters of the limit
_UNVERIFIED = {
    "metal": "on a Mac, keys, values and weights are exact; working space follows formulas not yet measured there",
    "cpu": "keys, values and weights are exact; working space is measured for float32 only, 16 bits are an estimate",
}


def plan(
    model: ModelOption = None,
    draft: Annotated[
        str, typer.Option(metavar="DIR|auto|off", help="The drafter; auto: the one that belongs to the model.")
    ] = "auto",
    context: ContextOption = "auto",
    image_tokens: ImageTokensOption = "auto",
    memory: MemoryOption = None,
    mac: Annotated[bool, typer.Option("--mac", help="Plan for a Mac, wherever this runs.")] = False,
    dtype: DtypeOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Show what a model takes and the longest context that fits, before anything is loaded."""
    from gemma_mlx.device import this_machine
    from gemma_mlx.memory.plan import plan as planned
    from gemma_mlx.memory.sizes import parse_size
    from gemma_mlx.memory.values import Wish

    machine = this_machine(None if memory is None else parse_size(memory), mac=mac)
    subject = _subject(model, draft, dtype, machine)
    wish = Wish(
        None if context == "auto" else int(context),
        None if image_tokens == "auto" else int(image_tokens),
        {"auto": None, "off": False}.get(draft, True),
    )
    found = planned(subject.sizes, machine, wish)
    if as_json:
        print(json.dumps(_as_json(subject, found)), flush=True)
    else:
        print("\n".join(_table(subject, found, "█" if sys.stdout.isatty() else "#")), flush=True)


@dataclass(frozen=True)
class _Subject:
    """What is planned: its name, its directory if it is on disk, its bytes."""

    name: str
    path: Path | None
    sizes: "ModelBytes"


def _subject(model: str | None, draft: str, dtype: str, machine: "Machine") -> _Subject:
    """A model on disk, or the published 12B packed as its recipe says."""
    from gemma_mlx.memory.plan import model_bytes
    from gemma_mlx.memory.published import RECIPES, published_bytes
    from gemma_mlx.memory.weights import stored_item
    from gemma_mlx.models import DEFAULT, drafter_for, find_model, pulled_model

    name = model or DEFAULT
    if name in RECIPES and not Path(name).is_dir() and pulled_model(name) is None:
        item = _ITEMS.get(dtype, 2 if machine.backend == "metal" else 4)
        sizes = published_bytes(name, item, drafter=draft == "auto")
        return _Subject(f"Gemma 4 12B as {name} (not downloaded)", None, _with_drafter(sizes, draft))
    directory = find_model(name)
    item = _ITEMS.get(dtype, stored_item(directory) if machine.backend == "metal" else 4)
    drafter = drafter_for(directory) if draft == "auto" else None if draft == "off" else find_model(draft)
    return _Subject(name, directory, model_bytes(directory, drafter, item))


def _with_drafter(sizes: "ModelBytes", draft: str) -> "ModelBytes":
    """The published model with a drafter from a directory, if one is named."""
    from gemma_mlx.memory.weights import drafter_bytes
    from gemma_mlx.models import find_model

    return sizes if draft in ("auto", "off") else sizes.with_drafter(*drafter_bytes(find_model(draft), sizes.item))


def _table(subject: _Subject, plan: "Plan", block: str) -> Iterator[str]:
    """Lines: a bar for each part, the sum and its limit, what was settled on, what was given up."""
    from gemma_mlx.memory.sizes import GIB, gigabytes

    knobs, machine = plan.knobs, plan.machine
    yield f"{subject.name} on {machine.name} with {machine.ram / GIB:.3g} GB"
    yield ""
    for part in plan.parts:
        bar = block * round(_BAR * part.nbytes / plan.limit)
        yield f"  {part.name:<16} {gigabytes(part.nbytes):>8}  {bar}".rstrip()
    yield f"  {'total':<16} {gigabytes(plan.total):>8}  of {gigabytes(plan.limit)} that may be used"
    yield ""
    yield f"  context {knobs.context:,} tokens; the longest that fits: {plan.largest_context:,}"
    pictures = f"pictures of up to {knobs.image_tokens} tokens, " if subject.sizes.config.vision_config else ""
    drafter = "with" if knobs.drafter else "without"
    yield f"  {pictures}pieces of {knobs.piece_tokens}, {knobs.snapshots} snapshots, {drafter} drafter"
    if notes := [*plan.given_up, *plan.warnings]:
        yield ""
        yield from (f"  {note}" for note in notes)
    if not _verified(subject, plan):
        yield ""
        yield f"  {_UNVERIFIED[machine.backend]}"


def _verified(subject: _Subject, plan: "Plan") -> bool:
    """Whether predictions of this kind were compared with what MLX counts."""
    return plan.machine.backend == "cpu" and subject.sizes.item == _ITEMS["float32"]


def _as_json(subject: _Subject, plan: "Plan") -> dict[str, Any]:
    return {
        "model": {"name": subject.name, "path": None if subject.path is None else str(subject.path)},
        "machine": asdict(plan.machine),
        "knobs": asdict(plan.knobs),
        "parts": [{"name": p.name, "bytes": p.nbytes, "counted_by_mlx": p.counted} for p in plan.parts],
        "total_bytes": plan.total,
        "peak_bytes": plan.peak,
        "limit_bytes": plan.limit,
        "largest_context": plan.largest_context,
        "given_up": list(plan.given_up),
        "warnings": list(plan.warnings),
        "verified": _verified(subject, plan),
    }
