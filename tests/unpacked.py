"""The demo model and its drafter in bfloat16, laid out and named as the published weights are: what conversions and
pulls begin with."""

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
    named = saved.renamed(tensors, lambda name: saved.published(str(target_name(name))))
    mx.save_safetensors(str(file), named, {"format": "pt"})
    return directory


def assistant(directory: Path) -> Path:
    """The drafter in `directory`, which is made; its tensors have one name everywhere."""
    convert(ASSISTANT, directory, RECIPES["bf16"])
    return directory
