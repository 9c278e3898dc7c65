"""The files of a model directory that are not weights: its `config.json`, its index, and what is copied as it is.

Writes what mlx-vlm and mlx-lm read, and a block of our own that says where the weights come from. Knows JSON and file
names: not bytes of tensors.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gemma_mlx
from gemma_mlx.checkpoint import INDEX
from gemma_mlx.config import ModelConfig
from gemma_mlx.convert.layout import Layout, packed_modules
from gemma_mlx.convert.recipes import Recipe
from gemma_mlx.convert.source import Source
from gemma_mlx.errors import CheckpointError
from gemma_mlx.quantization import ModuleQuantization

_COPIED = re.compile(
    r"(tokenizer\.(json|model)|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|chat_template.*"
    r"|(pre|video_pre)?processor_config\.json|generation_config\.json|(LICENSE|NOTICE)(\.(txt|md))?)"
)
_EXPECTED = {
    "tokenizer": ("tokenizer.json", "tokenizer.model"),
    "chat template": ("chat_template.jinja",),
    "processor_config.json": ("processor_config.json", "preprocessor_config.json"),
}
_SNAPSHOT = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<revision>[0-9a-f]{40})$")
_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def other_files(source: Source, recipe: Recipe, layout: Layout) -> dict[str, bytes]:
    """Everything but the weights by file name; what makes a model of the directory comes last."""
    beside = [file for file in sorted(source.directory.iterdir()) if _COPIED.fullmatch(file.name) and file.is_file()]
    files = {file.name: _read(file) for file in beside}
    files["config.json"] = _json(_config(source, recipe))
    if len(layout.headers) > 1:
        files[INDEX] = _json(_index(layout))
    return files


def missing_files(source: Source) -> tuple[str, ...]:
    """What a model needs to answer prompts, and the source does not have."""
    if source.is_drafter:
        return ()
    missing = [
        what for what, names in _EXPECTED.items() if not any((source.directory / each).is_file() for each in names)
    ]
    tokenizer = _noted(source.directory / "tokenizer_config.json")
    embedded = isinstance(tokenizer, Mapping) and "chat_template" in tokenizer
    return tuple(what for what in missing if what != "chat template" or not embedded)


def provenance(source: Source) -> tuple[str, str | None]:
    """The name of the source's repository or directory, and its revision if that is known.

    Known from its place in the Hub's cache, from what a download left there, or from an earlier conversion.
    """
    if found := _SNAPSHOT.search(source.directory.as_posix()):
        return f"{found['owner']}/{found['name']}", found["revision"]
    pulled, earlier = _noted(source.directory / "pulled.json"), source.raw.get("gemma_mlx")
    for note, name, revision in ((pulled, "repo", "revision"), (earlier, "source", "source_revision")):
        if isinstance(note, Mapping) and isinstance(note.get(name), str):
            return note[name], note.get(revision)
    return source.directory.name, _downloaded_revision(source.directory)


def _noted(path: Path) -> object:
    """What a JSON file says, None if there is none or it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _downloaded_revision(directory: Path) -> str | None:
    """The commit that `hf download --local-dir` notes for each file."""
    note = directory / ".cache" / "huggingface" / "download" / "config.json.metadata"
    try:
        first, *_ = note.read_text().splitlines()
    except (OSError, ValueError):
        return None
    return first if re.fullmatch("[0-9a-f]{40}", first) else None


def _config(source: Source, recipe: Recipe) -> dict[str, Any]:
    """The source's `config.json` with the packing of the output."""
    raw = {key: value for key, value in source.raw.items() if key not in ("quantization", "quantization_config")}
    if isinstance(source.config, ModelConfig):
        text = source.config.text_config
        widths = {
            "global_head_dim": text.global_head_dim,
            "num_global_key_value_heads": text.num_global_key_value_heads,
        }
        raw["text_config"] = {**raw["text_config"], **widths}  # a re-saved config spells them in a way of its own
    if recipe.cast:
        raw["dtype"] = _DTYPES[recipe.cast]
    if quantization := _quantization(source, recipe):
        raw["quantization"] = raw["quantization_config"] = quantization
    name, revision = provenance(source)
    raw["gemma_mlx"] = {
        "recipe": recipe.name,
        "source": name,
        "source_revision": revision,
        "version": gemma_mlx.__version__,
    }
    return raw


def _quantization(source: Source, recipe: Recipe) -> dict[str, Any] | None:
    """The default packing and the modules that differ from it, as MLX spells them; None if nothing is packed."""
    modules = packed_modules(source, recipe)
    if not modules:
        return None
    default: ModuleQuantization = recipe.default or next(iter(modules.values()))
    others = {source.stored_name(path): asdict(packing) for path, packing in modules.items() if packing != default}
    return {**asdict(default), **others}


def _index(layout: Layout) -> dict[str, Any]:
    outputs = layout.outputs
    return {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in outputs)},
        "weight_map": {tensor.name: tensor.file.name for tensor in sorted(outputs, key=lambda tensor: tensor.name)},
    }


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as fault:
        raise CheckpointError(f"{file} cannot be read ({fault.strerror}): check its permissions") from None


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
