"""A model directory on disk into a model that answers: weights, tokenizer, template, defaults, memory plan.

What fits is decided from headers before a weight is read. Knows directories: not how tensors are packed
(`weights.py`), what takes how much (`memory`), nor conversations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten

from gemma_mlx.config import DrafterConfig, ModelConfig
from gemma_mlx.device import this_machine
from gemma_mlx.errors import CheckpointError, ConfigError
from gemma_mlx.fields import Fields, read_json
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.prompt import PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import Tokenizer, load_tokenizer
from gemma_mlx.memory.plan import model_bytes, plan
from gemma_mlx.memory.values import ModelBytes, Plan, Wish
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.models import DEMO, drafter_mismatch, find_drafter, find_model
from gemma_mlx.names import drafter_name, target_name
from gemma_mlx.progress import Progress
from gemma_mlx.weights import Weights, activation_dtype, fill


@dataclass(frozen=True)
class LoadOptions:
    """How to load. `dtype`: type of activations, "auto" = float32 on a CPU and the stored type on a GPU; `context`:
    positions that a conversation may hold, None = as many as fit; `image_tokens`: most tokens of a picture to plan
    for; `draft`: the assistant's directory or name, "auto" = the one that belongs to the model if there is one and
    memory for it, "off" or None = none; `memory`: plan for so many bytes instead of what this machine has.
    """

    dtype: str = "auto"
    context: int | None = None
    image_tokens: int | None = None
    draft: str | Path | None = "auto"
    memory: int | None = None


@dataclass(frozen=True, eq=False)
class Gemma:
    """A loaded model with what belongs to it: how it reads prompts, samples and stops, and what it may take."""

    path: Path
    config: ModelConfig
    model: GemmaModel
    drafter: Drafter | None
    tokenizer: Tokenizer
    prompts: PromptBuilder
    sampler: Sampler
    stop_ids: frozenset[int]
    bits: Mapping[str, float]
    sizes: ModelBytes
    plan: Plan

    @property
    def weights_bytes(self) -> int:
        """Resident bytes of target and drafter."""
        modules = [self.model] if self.drafter is None else [self.model, self.drafter]
        return sum(array.nbytes for module in modules for array in dict(tree_flatten(module.parameters())).values())


@dataclass(frozen=True)
class Prepared:
    """What is known of a model before its weights are read."""

    directory: Path
    drafter: Path | None
    config: ModelConfig
    options: LoadOptions
    sizes: ModelBytes
    plan: Plan

    @property
    def weights_bytes(self) -> int:
        """Resident bytes of what will be loaded, the drafter with it if the plan has room for one."""
        return self.sizes.weights + (self.sizes.drafter_weights if self.plan.knobs.drafter else 0)


def prepare(source: str | Path = DEMO, options: LoadOptions = LoadOptions()) -> Prepared:
    """Find a model and plan its memory, from `config.json` and headers alone.

    `source`: a directory, the name of a pulled model, a Hub id that was downloaded, or "demo". Raises `GemmaError`s
    that name what is missing or wrong, `MemoryPlanError` if the model does not fit.
    """
    directory = find_model(source)
    config = ModelConfig.load(directory)
    drafter = find_drafter(options.draft, directory)
    if options.context is not None:
        checked_context(config, options.context)
    weights = Weights.read(directory, target_name, config.quantization)
    drafter_item = None
    if drafter is not None:
        drafter_item = activation_dtype(options.dtype, _drafter_weights(drafter, config)[1]).size
    sizes = model_bytes(directory, drafter, activation_dtype(options.dtype, weights).size, drafter_item)
    wanted = None if options.draft == "auto" else drafter is not None
    wish = Wish(options.context, options.image_tokens, wanted)
    return Prepared(directory, drafter, config, options, sizes, plan(sizes, this_machine(options.memory), wish))


def load(
    source: str | Path | Prepared = DEMO, options: LoadOptions = LoadOptions(), progress: Progress | None = None
) -> Gemma:
    """Load a model, as `prepare` finds and plans it; what is prepared already keeps its own options."""
    known = source if isinstance(source, Prepared) else prepare(source, options)
    directory, config = known.directory, known.config
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
    dtype, drafter = known.options.dtype, None
    if known.drafter is not None and known.plan.knobs.drafter:
        drafter = load_drafter(known.drafter, dtype=dtype, target=config)
    model = load_model(directory, dtype=dtype, progress=progress)
    bits = Weights.read(directory, target_name, config.quantization).bits()
    return Gemma(
        directory, config, model, drafter, tokenizer, prompts, sampler, stop_ids, bits, known.sizes, known.plan
    )


def checked_context(config: ModelConfig, wanted: int) -> int:
    """Positions that a conversation may hold. Raises `ConfigError` if the model holds fewer."""
    longest = config.text_config.max_position_embeddings
    if not 0 < wanted <= longest:
        raise ConfigError(f"context is {wanted}, the model holds 1 to {longest} positions: choose a --context of those")
    return wanted


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
    config, weights = _drafter_weights(directory, target)
    drafter = Drafter(config)
    fill(drafter, weights, activation_dtype(dtype, weights), None)
    return drafter


def _drafter_weights(directory: Path, target: ModelConfig | None) -> tuple[DrafterConfig, Weights]:
    """An assistant's configuration and the headers of its files."""
    config = DrafterConfig.load(directory)
    if target is not None and (fault := drafter_mismatch(config, target.text_config)):
        raise ConfigError(f"{directory} is the drafter of another model: {fault}")
    return config, Weights.read(directory, drafter_name, config.quantization)
