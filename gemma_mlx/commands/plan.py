"""`gemma-mlx plan`: a table of what a model takes, or one JSON object; nothing is loaded, and nothing downloaded."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma_mlx.options import ContextOption, DraftOption, DtypeOption, ImageTokensOption, MemoryOption, ModelOption

if TYPE_CHECKING:
    from gemma_mlx.memory.values import Machine, ModelBytes, Plan

EXAMPLES = """Examples:

\b
  gemma-mlx plan
  gemma-mlx plan --memory 16GB --mac
  gemma-mlx plan --memory 16GB --mac --context 65536 --image-tokens 1120
  gemma-mlx plan 4bit-g32 --memory 16GB --mac
  gemma-mlx plan ~/models/gemma-4-12B-it-4bit --json

Before anything is downloaded, 4bit, 4bit-g32, qat-q4_0, 8bit and bf16 stand for the published 12B packed that way.

With --json, largest_context is the longest context that fits with the other knobs as they are, in steps of 1024."""

_ITEMS = {"float32": 4, "bfloat16": 2, "float16": 2}
_MIXED = "mixed"  # the recipe whose bytes are chosen
_BAR = 40  # characters of the limit
_UNVERIFIED = {
    "metal": "on a Mac, keys, values and weights are exact; working space follows formulas not yet measured there",
    "cpu": "keys, values and weights are exact; working space is measured for float32 only, 16 bits are an estimate",
}


def plan(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|DIR", help="The model, as --model names it; without: the 12B, pulled or as published."
        ),
    ] = None,
    model: ModelOption = None,
    draft: DraftOption = "auto",
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
    subject = _subject(_one_model(ctx, name, model), draft, dtype, machine)
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


def _one_model(ctx: typer.Context, name: str | None, model: str | None) -> str | None:
    """The model that is named, by position or by option; the environment's if neither is given."""
    source = ctx.get_parameter_source("model")
    if name is not None and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("the model is named twice: give NAME or --model", param_hint="NAME")
    return model if name is None else name


@dataclass(frozen=True)
class _Subject:
    """What is planned: its name, its directory if it is on disk, its bytes. `stored`: bytes of a number that is not
    packed, in its files."""

    name: str
    path: Path | None
    sizes: "ModelBytes"
    stored: int


def _subject(model: str | None, draft: str, dtype: str, machine: "Machine") -> _Subject:
    """A model on disk, or the published 12B packed as its recipe says."""
    from gemma_mlx.errors import ConfigError
    from gemma_mlx.memory.plan import model_bytes
    from gemma_mlx.memory.published import RECIPES, published_bytes
    from gemma_mlx.memory.weights import stored_item
    from gemma_mlx.models import DEFAULT, find_drafter, find_model, pulled_model

    name = model or DEFAULT
    if name in (*RECIPES, _MIXED) and not Path(name).is_dir() and pulled_model(name) is None:
        if name == _MIXED:
            raise ConfigError(f"{_MIXED} weights are as large as --target-size says: convert first, then plan DIR")
        item = _item(dtype, _ITEMS["bfloat16"], machine)
        sizes = published_bytes(name, item, drafter=draft == "auto")
        return _Subject(
            f"Gemma 4 12B as {name} (not downloaded)", None, _with_drafter(sizes, draft), _ITEMS["bfloat16"]
        )
    directory = find_model(name)
    stored = stored_item(directory)
    item = _item(dtype, stored, machine)
    drafter = find_drafter(draft, directory)
    drafter_item = None if drafter is None else _item(dtype, stored_item(drafter), machine)
    return _Subject(name, directory, model_bytes(directory, drafter, item, drafter_item), stored)


def _item(dtype: str, stored: int, machine: "Machine") -> int:
    """Bytes of an activation. `stored`: of a number in the files."""
    return _ITEMS.get(dtype, stored if machine.backend == "metal" else 4)


def _with_drafter(sizes: "ModelBytes", draft: str) -> "ModelBytes":
    """The published model with a drafter from a directory, if one is named."""
    from gemma_mlx.memory.weights import drafter_bytes
    from gemma_mlx.models import find_model

    return sizes if draft in ("auto", "off") else sizes.with_drafter(*drafter_bytes(find_model(draft), sizes.item))


def _table(subject: _Subject, plan: "Plan", block: str) -> Iterator[str]:
    """Lines: a bar for each part, the sum and its limit, what was settled on, what was given up."""
    from gemma_mlx.memory.sizes import gigabytes

    yield f"{subject.name} on {plan.machine.name} with {plan.machine.memory}"
    yield ""
    for part in filter(lambda part: part.nbytes, plan.parts):
        bar = block * round(_BAR * part.nbytes / plan.limit)
        yield f"  {part.name:<16} {gigabytes(part.nbytes):>8}  {bar}".rstrip()
    yield f"  {'total':<16} {gigabytes(plan.total):>8}  of {gigabytes(plan.limit)} that may be used"
    yield ""
    yield from _settled(plan, pictures=subject.sizes.config.vision_config is not None)
    if notes := [*plan.given_up, *plan.warnings]:
        yield ""
        yield from (f"  {note}" for note in notes)
    if remarks := [*_remarks(subject, plan)]:
        yield ""
        yield from (f"  {remark}" for remark in remarks)


def _settled(plan: "Plan", *, pictures: bool) -> Iterator[str]:
    """The knobs, in two lines."""
    knobs, longest = plan.knobs, plan.largest_context
    more = ", the longest" if knobs.context == longest else f"; up to {longest:,} fit"
    yield f"  context {_count(knobs.context, 'token')}{more} with these settings:"
    words = [f"pictures of up to {knobs.image_tokens} tokens"] if pictures else []
    words += [f"pieces of {knobs.piece_tokens}", _count(knobs.snapshots, "snapshot")]
    yield f"  {', '.join(words)}, {'with' if knobs.drafter else 'without'} drafter"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _remarks(subject: _Subject, plan: "Plan") -> Iterator[str]:
    """How the numbers are to be read."""
    if subject.sizes.item > subject.stored:
        where = " on a CPU" if plan.machine.backend == "cpu" else ""
        yield f"weights are larger than their files: 16-bit parts are held in float32{where}"
    if not _verified(subject, plan):
        yield _UNVERIFIED[plan.machine.backend]


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
