"""A model directory of random weights, of a size that can be timed, that a person could talk to: the demo's tokenizer,
template and processor around a wider decoder in float32, and an assistant for it.

    python -m gemma_mlx.benchmarks.midsize models --size large

Its answers are a few words over and over, words that are read as the tokens that they were written as: so are a trained
model's answers. Knows the layout only.
"""

import argparse
import json
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma_mlx.config import FULL, SLIDING, DrafterConfig, ModelConfig
from gemma_mlx.inputs.tokenizer import Tokenizer, load_tokenizer
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel

_WORDS = 12  # that the model writes
_PACKED = ("quantization", "quantization_config", "gemma_mlx")  # what the demo's config says of its 4 bits
_HUSHED = 0.05  # size of all other embeddings: the head is the same matrix, so they are never the likeliest
_ASSETS = Path(str(files("gemma_mlx") / "assets"))


@dataclass(frozen=True)
class Width:
    """Width and depth of the decoder; five sliding layers to a full one."""

    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 64
    sliding_window: int = 512


SMALL = Width(128, 256, 6, 4, 2, 32, 64)  # to try a benchmark itself
LARGE = Width(1024, 3584, 24, 16, 4)  # 347 million parameters
SIZES = {"small": SMALL, "medium": Width(), "large": LARGE}


def write_pair(directory: Path, width: Width, seed: int = 0) -> int:
    """Write `target` and `assistant` below a directory. Returns the target's number of parameters."""
    mx.random.seed(seed)
    kinds = [FULL if index % 6 == 5 else SLIDING for index in range(width.num_hidden_layers)]
    sizes = {**vars(width), "global_head_dim": 2 * width.head_dim}
    raw = _config("demo")
    raw["text_config"] |= {**sizes, "layer_types": kinds}
    raw["vision_config"] |= {"mm_embed_dim": width.hidden_size, "output_proj_dims": width.hidden_size}
    shutil.copytree(_ASSETS / "demo", directory / "target", ignore=shutil.ignore_patterns("*.safetensors"))
    target = GemmaModel(ModelConfig.from_dict(raw))
    words = speakable(load_tokenizer(directory / "target"))
    loudness = mx.full((raw["text_config"]["vocab_size"], 1), _HUSHED)
    loudness[mx.array(words)] = 1.0
    embedding = target.language_model.embed_tokens
    embedding.weight = embedding.weight * loudness
    parameters = _write(directory / "target", raw, target, "model.")
    raw = _config("demo-assistant") | {"backbone_hidden_size": width.hidden_size}
    few = {"hidden_size": width.hidden_size // 4, "intermediate_size": width.intermediate_size // 2}
    raw["text_config"] |= {**sizes, **few, "num_hidden_layers": 4, "layer_types": [SLIDING] * 3 + [FULL]}
    _write(directory / "assistant", raw, Drafter(DrafterConfig.from_dict(raw)), "")
    return parameters


def speakable(tokenizer: Tokenizer) -> list[int]:
    """Tokens of letters that stay the same tokens in whatever order they are written and read."""
    found: list[int] = []
    for token in range(tokenizer.vocab_size):
        text = tokenizer.decode([token])
        if len(found) < _WORDS and len(text) > 2 and text.isascii() and text.isalpha():
            pairs = [pair for other in [*found, token] for pair in ((token, other), (other, token))]
            if all(tuple(tokenizer.encode(tokenizer.decode(list(pair)))) == pair for pair in pairs):
                found.append(token)
    return found


def _config(name: str) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((_ASSETS / name / "config.json").read_text())
    plain = {key: value for key, value in raw.items() if key not in _PACKED}
    return plain | {"dtype": "float32", "text_config": raw["text_config"] | {"dtype": "float32"}}


def _write(directory: Path, raw: dict[str, Any], model: nn.Module, prefix: str) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    weights = {f"{prefix}{name}": array for name, array in dict(tree_flatten(model.parameters())).items()}
    mx.save_safetensors(str(directory / "model.safetensors"), weights, {"format": "mlx"})
    (directory / "config.json").write_text(json.dumps(raw, indent=1))
    return sum(array.size for array in weights.values())


def main() -> None:
    """Write a pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="where target and assistant are written")
    parser.add_argument("--size", choices=SIZES, default="medium", help="default: medium")
    options = parser.parse_args()
    print(f"{write_pair(options.directory, SIZES[options.size]):,} parameters in {options.directory / 'target'}")


if __name__ == "__main__":
    main()
