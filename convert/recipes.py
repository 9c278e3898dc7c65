"""Recipes as data: what a conversion packs, and how.

A tensor belongs to one part (`part_of`), a recipe says how each part is packed, and a part it does not mention is kept.
Knows names and shapes: no files and no arrays. Names are ours (see `gemma_mlx/names.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gemma_mlx.errors import GemmaError
from gemma_mlx.quantization import ModuleQuantization

Part = Literal["language", "head", "vision", "audio", "drafter", "kept"]
Method = Literal["affine", "q4_0"]  # how scale, bias and integers are fitted; the layout is MLX's affine one for both

_PARTS: dict[str, Part] = {
    "language_model": "language",
    "vision_embedder": "vision",
    "embed_vision": "vision",
    "embed_audio": "audio",
    "model": "drafter",
    "pre_projection": "drafter",
    "post_projection": "drafter",
}
_HEAD = "language_model.embed_tokens"  # embedding and output head are one matrix
_KINDS = {"embed_tokens": "embedding", "pre_projection": "projection", "post_projection": "projection"}
FLOATS = ("F32", "BF16", "F16")


@dataclass(frozen=True)
class Packing:
    """How one matrix is packed: the layout that is stored, and how its numbers are found."""

    stored: ModuleQuantization
    method: Method = "affine"


@dataclass(frozen=True)
class Recipe:
    """What a conversion does. `modules` holds matrices, by the path of their module, that differ from their part.

    `cast`: the type, as safetensors spells it, that every floating-point tensor gets; None leaves it as stored.
    """

    name: str
    what: str
    parts: Mapping[Part, Packing] = field(default_factory=dict)
    modules: Mapping[str, Packing] = field(default_factory=dict)
    cast: str | None = None

    @property
    def default(self) -> ModuleQuantization | None:
        """What `config.json` names as the packing of the modules that it does not list; None if nothing is packed."""
        packings = list(self.parts.values())
        return packings[0].stored if packings else None

    def stored_dtype(self, dtype: str) -> str:
        """The type of an unpacked tensor, or of the scales of a packed one, that `dtype` becomes."""
        return self.cast if self.cast is not None and dtype in FLOATS else dtype


def affine(bits: int, group_size: int) -> Packing:
    """The packing of `mlx.core.quantize`: least and greatest value of each group."""
    return Packing(ModuleQuantization(group_size, bits))


_4BIT, _4BIT_G32, _8BIT = affine(4, 64), affine(4, 32), affine(8, 64)
_Q4_0 = Packing(ModuleQuantization(32, 4), "q4_0")
_KEPT = "pictures, sound, norms and positions as stored"


def _language(packing: Packing) -> dict[Part, Packing]:
    return {"language": packing, "head": packing}


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("4bit", f"4-bit in groups of 64; {_KEPT}", _language(_4BIT)),
        Recipe("4bit-g32", f"4-bit in groups of 32; {_KEPT}", _language(_4BIT_G32)),
        Recipe("8bit", f"8-bit in groups of 64; {_KEPT}", _language(_8BIT)),
        Recipe("bf16", "nothing packed, all in bfloat16", cast="BF16"),
        Recipe("mixed", f"4-bit and, where that is worst, 8-bit in groups of 64; {_KEPT}", _language(_4BIT)),
        Recipe(
            "qat-q4_0", f"for weights trained for Q4_0: its blocks of 32, scale and rounding; {_KEPT}", _language(_Q4_0)
        ),
    )
}
DRAFTER_RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("4bit", "4-bit in groups of 64; norms as stored", {"drafter": _4BIT}),
        Recipe("8bit", "8-bit in groups of 64; norms as stored", {"drafter": _8BIT}),
        RECIPES["bf16"],
    )
}


def find_recipe(name: str, drafter: bool = False) -> Recipe:
    """The recipe of that name. Raises `GemmaError` that lists the known ones."""
    known = DRAFTER_RECIPES if drafter else RECIPES
    if name not in known:
        model = "the assistant" if drafter else "the model"
        raise GemmaError(f"{name!r} is no recipe for {model}: choose one of {', '.join(known)}")
    return known[name]


def part_of(name: str, shape: tuple[int, ...]) -> Part:
    """The part that a tensor belongs to; "kept" is whatever is no matrix of a linear layer or an embedding."""
    if len(shape) != 2 or not name.endswith(".weight"):
        return "kept"
    if name == f"{_HEAD}.weight":
        return "head"
    return _PARTS.get(name.split(".")[0], "kept")


def kind_of(name: str, shape: tuple[int, ...]) -> str:
    """What a person calls the tensor in a report: q, k, v, o, gate, up, down, embedding, vision, audio, kept."""
    part = part_of(name, shape)
    if part in ("vision", "audio", "kept"):
        return part
    module = name.split(".")[-2]
    return _KINDS.get(module, module.removesuffix("_proj"))


def packing_of(recipe: Recipe, name: str, shape: tuple[int, ...]) -> Packing | None:
    """How the recipe packs a tensor; None: it is kept, also where no group divides the width (`undivided`)."""
    packing = _wanted(recipe, name, shape)
    return None if packing is None or shape[-1] % packing.stored.group_size else packing


def undivided(recipe: Recipe, name: str, shape: tuple[int, ...]) -> bool:
    """Whether the recipe would pack this matrix if its group divided the width: a converter says so."""
    return _wanted(recipe, name, shape) is not None and packing_of(recipe, name, shape) is None


def _wanted(recipe: Recipe, name: str, shape: tuple[int, ...]) -> Packing | None:
    part = part_of(name, shape)
    return None if part == "kept" else recipe.modules.get(name.removesuffix(".weight"), recipe.parts.get(part))
