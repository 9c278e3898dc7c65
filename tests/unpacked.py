"""The demo model and its drafter in bfloat16, laid out and named as the published weights are: what conversions and
pulls begin with."""

import json
from pathlib import Path

import mlx.core as mx

from gemma_mlx.convert.recipes import RECIPES
from gemma_mlx.convert.run import convert
from gemma_mlx.models import find_model
from gemma_mlx.names import target_name
from tests import saved

DEMO = find_model("demo")
ASSISTANT = DEMO.with_name("demo-assistant")


def demo(directory: Path) -> Path:
    """The model in `directory`, which is made."""
    convert(DEMO, directory, RECIPES["bf16"])
    file = directory / "model.safetensors"
    tensors = mx.load(str(file))
    assert isinstance(tensors, dict)
    mx.eval(tensors)
    named = {}
    for name, array in tensors.items():
        ours = target_name(name)
        assert ours is not None
        named[saved.published(ours)] = array
    mx.save_safetensors(str(file), named, {"format": "pt"})
    return _as_published(directory)


def assistant(directory: Path) -> Path:
    """The drafter in `directory`, which is made; its tensors have one name everywhere."""
    convert(ASSISTANT, directory, RECIPES["bf16"])
    return _as_published(directory)


def _as_published(directory: Path) -> Path:
    """Without a word of the conversion."""
    file = directory / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({key: value for key, value in config.items() if key != "gemma_mlx"}), encoding="utf-8")
    return directory
