"""What several programs need alike: the type of activations, how drafts are counted, which files are what.

Knows no program.
"""

import sys
from collections.abc import Iterable, Iterator
from mimetypes import guess_type
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

from gemma_mlx.benchmarks.peers.program import Settings
from gemma_mlx.errors import GemmaError

_TYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}


def make_resident(model: nn.Module, dtype: str) -> None:
    """Evaluate the weights of a model that was loaded lazily, floating-point ones as `dtype`, packed ones as they are;
    "auto" is what gemma-mlx takes for it: float32 on a CPU, the stored type on a GPU."""
    if dtype == "auto" and mx.default_device() == mx.cpu:
        dtype = "float32"
    if dtype != "auto":
        if dtype not in _TYPES:
            raise GemmaError(f"dtype is {dtype}, expected auto, {', '.join(_TYPES)}")
        model.set_dtype(_TYPES[dtype])
    mx.eval(model.parameters())


def hide(*packages: str) -> None:
    """From all imports in this process that follow: what a program does not need, but would import and hold, or fail
    with, where it happens to be installed."""
    for package in packages:
        sys.modules[package] = None  # type: ignore[assignment]  # what import itself takes for "there is none"


def by_position(rounds: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Rounds as (drafts, accepted ones) to how many were accepted at each position, then the number of rounds. Plain
    steps, without drafts, are none."""
    done = [(drafts, accepted) for drafts, accepted in rounds if drafts]
    deepest = max((drafts for drafts, _ in done), default=0)
    return (*(sum(accepted > place for _, accepted in done) for place in range(deepest)), len(done))


def until(ids: Iterator[int], stops: frozenset[int]) -> Iterator[int]:
    """Ids up to the first of `stops`, which is among them."""
    for token in ids:
        yield token
        if token in stops:
            return


def pictures_and_recordings(files: Iterable[Path]) -> tuple[list[str], list[str]]:
    """Paths by kind, told by suffix. Raises `GemmaError` for a file that is neither."""
    found: dict[str, list[str]] = {"image": [], "audio": []}
    for file in files:
        kind = (guess_type(file.name)[0] or "").partition("/")[0]
        if kind not in found:
            raise GemmaError(f"{file} is neither picture nor recording by its name: give a .png or .wav")
        found[kind].append(str(file))
    return found["image"], found["audio"]


def refuse_drafter(name: str, settings: Settings) -> None:
    """Raises `GemmaError` if there is a drafter."""
    if settings.drafter is not None:
        raise GemmaError(f"{name} is not measured with a drafter: compare drafts with mlx-vlm only")
