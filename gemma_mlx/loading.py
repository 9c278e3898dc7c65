"""A model directory on disk into a model that answers: weights, tokenizer, template, defaults.

Knows directories: not how tensors are packed (`weights.py`), nor conversations.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten

from gemma_mlx.config import DrafterConfig, ModelConfig, TextConfig
from gemma_mlx.errors import CheckpointError, ConfigError
from gemma_mlx.fields import Fields, read_json
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.prompt import PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import Tokenizer, load_tokenizer
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.names import drafter_name, target_name
from gemma_mlx.weights import Progress, Weights, activation_dtype, fill

DEMO = "demo"


@dataclass(frozen=True, eq=False)
class Gemma:
    """A loaded model with what belongs to it: how it reads prompts, samples and stops."""

    path: Path
    config: ModelConfig
    model: GemmaModel
    drafter: Drafter | None
    tokenizer: Tokenizer
    prompts: PromptBuilder
    sampler: Sampler
    stop_ids: frozenset[int]
    context: int
    bits: Mapping[str, float]

    @property
    def weights_bytes(self) -> int:
        """Resident bytes of target and drafter."""
        modules = [self.model] if self.drafter is None else [self.model, self.drafter]
        return sum(array.nbytes for module in modules for array in dict(tree_flatten(module.parameters())).values())


def load(
    source: str | Path = DEMO,
    *,
    dtype: str = "auto",
    context: int | None = None,
    draft: str | Path | None = None,
    progress: Progress | None = None,
) -> Gemma:
    """Load a model directory, or the built-in demo model for "demo".

    dtype: activation type, "auto" = float32 on a CPU and the stored type on a GPU. context: positions a conversation
    may hold (default: the model's maximum). draft: directory of the assistant. Raises `GemmaError`s that name what is
    missing or wrong.
    """
    directory = model_directory(source)
    config = ModelConfig.load(directory)
    tokenizer = load_tokenizer(directory)
    rows = config.text_config.vocab_size
    if tokenizer.vocab_size > rows:
        raise CheckpointError(
            f"{directory}: the tokenizer has {tokenizer.vocab_size} tokens, the model {rows}: download both again"
        )
    prompts = PromptBuilder(tokenizer, ChatTemplate.load(directory), config)
    generation = _generation_config(directory)
    sampler = Sampler.from_generation_config(generation)
    stop_ids = frozenset(config.eos_token_id) | frozenset(generation.ids("eos_token_id"))
    positions = checked_context(config, context)
    drafter = None if draft is None else load_drafter(model_directory(draft), dtype=dtype, target=config)
    model = load_model(directory, dtype=dtype, progress=progress)
    bits = Weights.read(directory, target_name, config.quantization).bits()
    return Gemma(directory, config, model, drafter, tokenizer, prompts, sampler, stop_ids, positions, bits)


def checked_context(config: ModelConfig, wanted: int | None) -> int:
    """Positions that a conversation may hold: `wanted`, or all. Raises `ConfigError` if the model holds fewer."""
    longest = config.text_config.max_position_embeddings
    if wanted is not None and not 0 < wanted <= longest:
        raise ConfigError(f"context is {wanted}, the model holds 1 to {longest} positions: choose a --context of those")
    return longest if wanted is None else wanted


def model_directory(source: str | Path) -> Path:
    """The directory that a user means. Raises `ConfigError` if there is none."""
    if source == DEMO:
        return Path(str(files("gemma_mlx") / "assets" / "demo"))
    directory = os.path.expanduser(source)
    if not os.path.isdir(directory):
        raise ConfigError(f"{source} is no directory: give the directory of a Gemma 4 12B model, or `demo`")
    return Path(directory)


def _generation_config(directory: Path) -> Fields:
    """The checkpoint's sampling defaults and stop tokens; without the file, greedy and those of `config.json`."""
    path = directory / "generation_config.json"
    return Fields(read_json(path) if path.exists() else {}, path)


def load_model(directory: Path, *, dtype: str = "auto", progress: Progress | None = None) -> GemmaModel:
    """The target's weights: reference layout or quantized MLX layouts, one file or shards."""
    config = ModelConfig.load(directory)
    weights = Weights.read(directory, target_name, config.quantization)
    model = GemmaModel(config)
    fill(model, weights, activation_dtype(dtype, weights), progress)
    # √hidden in the precision of the checkpoint (62 instead of 61.97 for bfloat16 at 3840), as it was trained.
    decoder = model.language_model
    decoder.embed_scale = mx.array(decoder.embed_scale).astype(weights.stored_dtype).item()
    return model


def load_drafter(directory: Path, *, dtype: str = "auto", target: ModelConfig | None = None) -> Drafter:
    """The assistant's weights. Raises `ConfigError` if it belongs to another model than `target`."""
    config = DrafterConfig.load(directory)
    if target is not None and (fault := _mismatch(config, target.text_config)):
        raise ConfigError(f"{directory} is the drafter of another model: {fault}")
    weights = Weights.read(directory, drafter_name, config.quantization)
    drafter = Drafter(config)
    fill(drafter, weights, activation_dtype(dtype, weights), None)
    return drafter


def _mismatch(drafter: DrafterConfig, target: TextConfig) -> str | None:
    """What keeps the drafter from reading the target's states, keys and values; None if nothing does."""
    text = drafter.text_config
    for name, its, ours in (
        ("hidden size", drafter.backbone_hidden_size, target.hidden_size),
        ("vocabulary", text.vocab_size, target.vocab_size),
        ("head size of sliding layers", text.head_dim, target.head_dim),
        ("head size of full layers", text.global_head_dim, target.global_head_dim),
    ):
        if its != ours:
            return f"{name} {its}, the model's is {ours}"
    return None
