"""Models of the reference as model directories: in the published layout and as transformers saves it again."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.parity.reference import Assistant, Target

_IN_MEMORY, _PUBLISHED = "model.embed_vision.", "model.vision_embedder."
_NESTED = "model.embed_vision.multimodal_embedder."


def published_tensors(model: Target | Assistant) -> dict[str, Tensor]:
    """The tensors under their published names; the tied head is stored once."""
    state = {name: value.contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    return {_published(name): value for name, value in state.items()}


def save_published(
    model: Target | Assistant,
    config: dict[str, Any],
    directory: Path,
    shards: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write `config.json` and the weights in one file or several with an index. Returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    tensors = {name: value.to(dtype) for name, value in published_tensors(model).items()}
    if shards == 1:
        save_file(tensors, directory / "model.safetensors")
        return directory
    names = sorted(tensors)
    files = {f"model-{i + 1:05}-of-{shards:05}.safetensors": names[i::shards] for i in range(shards)}
    for file, members in files.items():
        save_file({name: tensors[name] for name in members}, directory / file)
    weight_map = {name: file for file, members in files.items() for name in members}
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


def save_again(model: Target | Assistant, directory: Path) -> Path:
    """Let transformers write the directory: its `config.json` has `per_layer_config` instead of the `global_*` keys."""
    model.save_pretrained(directory)
    return directory


def _published(name: str) -> str:
    if name.startswith(_NESTED):
        return name.replace(_NESTED, _IN_MEMORY)
    return name.replace(_IN_MEMORY, _PUBLISHED)
