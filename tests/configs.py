"""Published configurations and ways to change them.

`data/configs` holds the published files of google/gemma-4-12B-it, gemma-4-12B and gemma-4-12B-it-assistant.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gemma_mlx.config import FULL, ModelConfig

CONFIGS = Path(__file__).parent / "data" / "configs"
JSON = dict[str, Any]


def published(name: str) -> JSON:
    """A published `config.json`, parsed."""
    parsed: JSON = json.loads((CONFIGS / f"{name}_config.json").read_text())
    return parsed


def target(change: Callable[[JSON], object] = lambda raw: None) -> ModelConfig:
    """The published target after a change of its JSON."""
    raw = published("target_it")
    change(raw)
    return ModelConfig.from_dict(raw)


def resaved(raw: JSON) -> None:
    """As `save_pretrained` of a recent transformers writes it: widths of the full layers by zero-padded index."""
    text = raw["text_config"]
    del text["global_head_dim"], text["num_global_key_value_heads"]
    full = [index for index, kind in enumerate(text["layer_types"]) if kind == FULL]
    text["per_layer_config"] = {f"{index:02}": {"head_dim": 512, "num_key_value_heads": 1} for index in full}


def without(*path: str) -> Callable[[JSON], None]:
    def change(raw: JSON) -> None:
        *way, last = path
        for key in way:
            raw = raw[key]
        del raw[last]

    return change


def with_value(value: Any, *path: str) -> Callable[[JSON], None]:
    def change(raw: JSON) -> None:
        *way, last = path
        for key in way:
            raw = raw[key]
        raw[last] = value

    return change
