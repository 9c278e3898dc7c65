"""Write a trained model in the published layout: weights under the published names, and `config.json`.

Source: tensor names of the published checkpoints; transformers renames the vision modules when it loads them.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

_RENAMED = (
    ("model.embed_vision.multimodal_embedder.embedding_projection.", "model.embed_vision.embedding_projection."),
    ("model.embed_vision.", "model.vision_embedder."),
)


def published_name(name: str) -> str:
    """The name in the file of a parameter that transformers calls `name`."""
    for ours, theirs in _RENAMED:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def target_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """The model's weights by transformers' names, the tied head once, as the embedding."""
    return {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}


def export(model: torch.nn.Module, config: dict[str, Any], directory: Path, dtype: torch.dtype) -> None:
    """Write `config.json` and `model.safetensors`, the weights as `dtype`."""
    tensors = {published_name(name): value.to(dtype).contiguous() for name, value in target_state(model).items()}
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "model.safetensors").chmod(0o644)
    write_json(directory / "config.json", config | {"dtype": str(dtype).removeprefix("torch.")})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as the published configs are written."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
