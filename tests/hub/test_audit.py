"""Checkpoints of the real size, as tables of tensors without data: what is said of them, and where they fit."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx.utils import tree_flatten

from gemma_mlx.checkpoint import Tensor
from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.device import this_machine
from gemma_mlx.errors import CheckpointError, ConfigError, HubError
from gemma_mlx.hub.audit import Audit, audit, room
from gemma_mlx.hub.media import index_with, media_of, replaced
from gemma_mlx.hub.repository import Repository
from gemma_mlx.memory.sizes import GIB
from gemma_mlx.memory.values import Machine
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel
from tests.configs import published
from tests.saved import of_mlx_vlm

Table = tuple[dict[str, Any], dict[str, Tensor]]
MAC = this_machine(16 * GIB, mac=True)
CPU = Machine("some Xeon", "cpu", 32 * GIB, 25 * GIB, None)


def table(network: nn.Module, raw: dict[str, Any], bits_of: Callable[[str], int]) -> Table:
    """A configuration and the tensors of its checkpoint with so many bits a module, 0 for none; no weight is made."""
    entries = {}

    def choose(path: str, module: nn.Module) -> bool | dict[str, Any]:
        bits = bits_of(path) if isinstance(module, nn.Linear | nn.Embedding) else 0
        if bits not in (0, 4):
            entries[of_mlx_vlm(path)] = {"group_size": 64, "bits": bits}
        return {"group_size": 64, "bits": bits} if bits else False

    nn.quantize(network, class_predicate=choose)
    tensors, place = {}, 0
    for name, array in dict(tree_flatten(network.parameters())).items():
        packed = array.dtype == mx.uint32
        nbytes = array.size * (4 if packed else 2)
        spelling = of_mlx_vlm(name)
        tensors[spelling] = Tensor(spelling, Path("x"), "U32" if packed else "BF16", array.shape, nbytes, place)
        place += nbytes
    return raw | {"quantization": {"group_size": 64, "bits": 4, **entries}}, tensors


@cache
def model(kind: str) -> Table:
    choices: dict[str, Callable[[str], int]] = {
        "4bit": lambda path: 4,
        "mixed": lambda path: 8 if ".mlp." in path else 4,
        "bf16": lambda path: 0,
    }
    raw = published("target_it")
    return table(GemmaModel(ModelConfig.from_dict(raw)), raw, choices[kind])


def checked(kind: str) -> Audit:
    return audit("owner/repo", *model(kind))


def assistant() -> Audit:
    raw = published("assistant")
    return audit("owner/assistant", *table(Drafter(DrafterConfig.from_dict(raw)), raw, lambda path: 0))


@pytest.mark.parametrize(
    ("kind", "nbytes", "words"),
    [
        ("4bit", 6_740_867_168, "4-bit language, vision and audio, 6.74 GB"),
        (
            "mixed",
            10_987_599_968,
            "6.85-bit language (embed_tokens 4, self_attn 4, mlp 8), 4-bit vision and audio, 10.99 GB",
        ),
        ("bf16", 23_919_460_448, "16-bit language, vision and audio, 23.92 GB"),
    ],
)
def test_what_published_checkpoints_are(kind: str, nbytes: int, words: str) -> None:
    """The byte counts are those of the files on the Hub, less their headers."""
    assert checked(kind).nbytes == nbytes
    assert str(checked(kind)) == words


def test_the_assistant() -> None:
    assert assistant().nbytes == 845_713_928
    assert str(assistant()) == "16-bit drafter, 0.85 GB"
    assert room("assistant", assistant(), MAC) == "0.24 GB of memory once packed to 4 bits, beside what the model takes"
    assert room("owner/assistant", assistant(), MAC) == "0.85 GB of memory once loaded, beside what the model takes"
    assert room("owner/assistant", assistant(), CPU).startswith("1.69 GB of memory once loaded")  # in float32


def test_the_hybrid(tmp_path: Path) -> None:
    raw, tensors = model("4bit")
    media = media_of(Repository("owner/reference", "0" * 40, {}), model("bf16")[1])
    hybrid = audit("owner/repo", raw, replaced(tensors, media))
    assert str(hybrid) == "4-bit language, 16-bit vision and audio, 6.80 GB"
    assert 104_000_000 < media.nbytes < 106_000_000
    assert hybrid.nbytes < 6_850_000_000
    index = index_with(tensors, media)
    assert json.dumps(index).count("vision-and-audio.safetensors") == len(media.tensors) == 11
    assert room("4bit", hybrid, MAC) == "fits in 16 GB with a context of 56,320"
    assert room("4bit", hybrid, MAC, assistant()) == "fits in 16 GB with a context of 48,128 and the drafter"


@pytest.mark.parametrize("kind", ["mixed", "bf16"])
def test_what_16_gb_are_too_small_for(kind: str) -> None:
    size = f"{checked(kind).nbytes / 1e9:.2f} GB"
    with pytest.raises(HubError) as found:
        room("owner/repo", checked(kind), MAC)
    message = str(found.value)
    assert message.startswith("owner/repo does not fit in 16 GB: ")
    assert f"{size} of weights once loaded, 10.31 GB may be used in all" in message
    assert message.endswith("take `gemma-mlx pull 4bit`, or add --anyway")
    assert "\n" not in message
    with pytest.raises(HubError, match=r"all: add --anyway$"):
        room("4bit", checked(kind), MAC)


def test_more_memory_holds_the_mixed_one() -> None:
    assert room("mixed", checked("mixed"), this_machine(32 * GIB, mac=True)).startswith("fits in 32 GB with")


def test_checkpoints_that_would_not_load() -> None:
    raw, tensors = model("mixed")
    plain = {"group_size": 64, "bits": 4}
    with pytest.raises(CheckpointError, match=r"owner/repo: .*mlp\S+ is packed in groups of 64 with 8 bits, config"):
        audit("owner/repo", raw | {"quantization": plain}, tensors)
    with pytest.raises(CheckpointError, match=r"config\.json does not say how"):
        audit("owner/repo", published("target_it"), tensors)
    missing = {name: tensor for name, tensor in tensors.items() if "layers.3.mlp.up_proj" not in name}
    with pytest.raises(CheckpointError, match=r"owner/repo lacks language_model\.layers\.3\.mlp\.up_proj\.weight"):
        audit("owner/repo", raw, missing)
    with pytest.raises(ConfigError, match=r"owner/repo/config\.json is 'llama', supported: Gemma 4 12B"):
        audit("owner/repo", raw | {"model_type": "llama"}, tensors)
    with pytest.raises(CheckpointError, match="owner/repo lacks"):
        audit("owner/repo", published("assistant"), tensors)
