"""The recipe `mixed`: 8 bits where 4 lose most, as far as a size allows.

Every matrix that the recipe packs is measured on the same rows each time: what 4 bits lose of it, relative to its
size. Matrices are then taken in the order of that loss as long as they fit. Knows weights alone: not which of them an
answer depends on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod, sqrt

from gemma_mlx.convert.layout import output_bytes
from gemma_mlx.convert.packing import pack, unpack
from gemma_mlx.convert.recipes import RECIPES, Packing, Recipe, find_recipe, kind_of, packing_of
from gemma_mlx.convert.source import Source
from gemma_mlx.convert.values import Values, open_values, squares
from gemma_mlx.errors import GemmaError
from gemma_mlx.memory.sizes import file_size
from gemma_mlx.progress import Progress

_BASE, _BETTER = RECIPES["mixed"].parts["language"], RECIPES["8bit"].parts["language"]
_PLACES, _NEIGHBOURS = 16, 16  # rows that are measured: so many places, evenly spread, and so many rows at each
_HEADER = 16  # bytes by which a header grows at most for each matrix of other shapes and offsets


@dataclass(frozen=True)
class Choice:
    """A recipe within a size. `errors`: what 4 bits lose of each matrix, by our path, relative, worst first."""

    recipe: Recipe
    nbytes: int
    target: int
    errors: Mapping[str, float]

    def lines(self) -> list[str]:
        """What got 8 bits, in all and by kind of matrix, for a person."""
        kinds: dict[str, list[str]] = {}
        for path in self.errors:
            kinds.setdefault(kind_of(f"{path}.weight", (1, 1)), []).append(path)
        lines = [f"{file_size(self.nbytes)} of {file_size(self.target)}: 8 bits for {self._count(self.errors)}"]
        for kind, paths in kinds.items():
            loss = sum(self.errors[path] for path in paths) / len(paths)
            lines.append(f"{kind:<10} 8 bits for {self._count(paths)}, where 4 bits lose {100 * loss:.2f} %")
        if len(self.recipe.modules) == len(self.errors):
            lines.append("all have 8 bits: a larger size changes nothing")
        return lines

    def _count(self, paths: Iterable[str]) -> str:
        chosen = [path in self.recipe.modules for path in paths]
        return f"{sum(chosen)} of {len(chosen)}"


def choose(source: Source, target_size: int, progress: Progress | None = None) -> Choice:
    """Which matrices get 8 bits, so that the files of weights take at most `target_size` bytes.

    Progress counts bytes of the source. Raises `GemmaError` with the numbers if not even 4 bits fit.
    """
    base = find_recipe("mixed", source.is_drafter)
    least = output_bytes(source, base)
    if target_size < least:
        most = output_bytes(source, RECIPES["8bit"])
        raise GemmaError(
            f"{file_size(target_size)} is less than the {file_size(_rounded_up(least))} that 4 bits take: "
            f"choose a --target-size between that and the {file_size(_rounded_up(most))} of 8 bits"
        )
    errors = measure(source, base, progress)
    spare, chosen = target_size - least, []
    for path in errors:
        cost = prod(source.shapes[f"{path}.weight"]) * (_BETTER.stored.bits - _BASE.stored.bits) // 8 + _HEADER
        if cost <= spare:
            spare -= cost
            chosen.append(path)
    recipe = replace(base, modules=dict.fromkeys(sorted(chosen), _BETTER))
    return Choice(recipe, output_bytes(source, recipe), target_size, errors)


def measure(source: Source, recipe: Recipe, progress: Progress | None = None) -> dict[str, float]:
    """What the recipe loses of each matrix that it packs, by our path: root mean square, relative, greatest first."""
    packings = {name: packing_of(recipe, name, shape) for name, shape in source.shapes.items()}
    packed = {name: packing for name, packing in packings.items() if packing is not None}
    done, errors = 0, {}
    with open_values(source) as values:
        total = sum(values.nbytes(name) for name in packed)
        for name, packing in packed.items():
            errors[name.removesuffix(".weight")] = _loss(values, name, packing)
            done += values.nbytes(name)
            if progress is not None:
                progress(done, total)
    return dict(sorted(errors.items(), key=lambda entry: (-entry[1], entry[0])))


def _loss(values: Values, name: str, packing: Packing) -> float:
    lost = whole = 0.0
    for first, last in _sample(values.height(name)):
        rows = values.rows(name, first, last)
        difference, size = squares(unpack(pack(rows, packing), packing.stored), rows)
        lost, whole = lost + difference, whole + size
    return sqrt(lost / whole) if whole else 0.0


def _sample(height: int) -> list[tuple[int, int]]:
    """The rows that are measured: all of a low matrix, otherwise some from its first to its last."""
    if height <= _PLACES * _NEIGHBOURS:
        return [(0, height)]
    starts = [place * (height - _NEIGHBOURS) // (_PLACES - 1) for place in range(_PLACES)]
    return [(start, start + _NEIGHBOURS) for start in starts]


def _rounded_up(nbytes: int) -> int:
    """A size that stays enough when it is written with few digits."""
    unit = 10**7 if nbytes >= 10**8 else 10**5
    return -(-nbytes // unit) * unit
