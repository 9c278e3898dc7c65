"""What the catalogue's repositories hold here: the demo model as the reference, in 4 bits, mixed, and its assistant."""

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from gemma_mlx.hub.catalogue import CATALOGUE
from gemma_mlx.loading import load_model
from tests import unpacked
from tests.hub.server import Files
from tests.saved import Arrays, arrays, of_mlx_vlm, renamed, write

FOUR, REFERENCE, ASSISTANT = CATALOGUE["4bit"], CATALOGUE["reference"], CATALOGUE["assistant"]
MIXED, COMMIT = "someone/gemma-4-12B-it-qat-4bit", "e" * 40


def read_files(directory: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


@functools.cache
def reference() -> Files:
    """The demo model, unpacked, which has the reference's layout."""
    return _plain(unpacked.demo)


@functools.cache
def assistant() -> Files:
    return _plain(unpacked.assistant)


@functools.cache
def four_bit() -> Files:
    """Everything in 4 bits, in two shards, as mlx-vlm converts it."""
    return _quantized(lambda path: 4)


@functools.cache
def mixed() -> Files:
    """With feed-forward layers in 8 bits."""
    return _quantized(lambda path: 8 if ".mlp." in path else 4)


def repositories() -> dict[str, dict[str, Files]]:
    """A Hub with the catalogue's checkpoints at their commits, and a mixed one beside them."""
    return {
        FOUR.repo: {FOUR.revision: dict(four_bit())},
        REFERENCE.repo: {REFERENCE.revision: dict(reference())},
        ASSISTANT.repo: {ASSISTANT.revision: dict(assistant())},
        MIXED: {"d" * 40: dict(four_bit()), COMMIT: dict(mixed())},
    }


def _plain(write_to: Callable[[Path], Path]) -> Files:
    with tempfile.TemporaryDirectory() as directory:
        return read_files(write_to(Path(directory) / "plain"))


def _quantized(bits_of: Callable[[str], int]) -> Files:
    with tempfile.TemporaryDirectory() as directory:
        network = load_model(unpacked.demo(Path(directory) / "demo"), dtype="bfloat16")
        mx.eval(network.parameters())
    entries: dict[str, Any] = {}

    def choose(path: str, module: nn.Module) -> bool | dict[str, Any]:
        if not isinstance(module, nn.Linear | nn.Embedding):
            return False
        packing = {"group_size": 64, "bits": bits_of(path)}
        if packing["bits"] != 4:
            entries[of_mlx_vlm(path)] = packing
        return packing

    nn.quantize(network, class_predicate=choose)
    tensors: Arrays = renamed(arrays(network), of_mlx_vlm)
    mx.eval(tensors)
    raw = json.loads(reference()["config.json"])
    raw["quantization"] = {"group_size": 64, "bits": 4, "mode": "affine", **entries}
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory), raw, tensors, shards=2)
        companions = {name: content for name, content in reference().items() if not name.endswith(".safetensors")}
        return companions | {"README.md": b"# not needed"} | read_files(Path(directory))
