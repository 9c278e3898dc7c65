"""The knobs that fit a machine, the bytes that they take, and what was given up.

Order of giving up, each step only if it saves something: shorter prefill pieces, fewer snapshots, a context shorter
than is comfortable, smaller pictures, no drafter. What a person asked for stays as it is. Knows sums and this order:
not how much anything takes.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from gemma_mlx.errors import ConfigError, MemoryPlanError
from gemma_mlx.memory.parts import parts
from gemma_mlx.memory.published import packed_bytes
from gemma_mlx.memory.sizes import GIB, gigabytes
from gemma_mlx.memory.values import Knobs, Machine, ModelBytes, Plan, Wish
from gemma_mlx.memory.weights import model_bytes

__all__ = ["fits", "limit_of", "model_bytes", "parts", "plan"]

PIECES, SNAPSHOTS, IMAGES = (512, 256, 128), (2, 1, 0), (280, 140, 70)
COMFORTABLE, LEAST = 8192, 2048  # contexts: below the first, other things are given up; below the second, it is refused
_ROUND = 1024  # contexts are told in multiples of it
_SYSTEM = 5 * GIB  # of a Mac's memory, for the system and everything else
_SHARE = 0.9  # of a Mac's working set; what MLX keeps of freed buffers must fit beside the plan
_MEMORIES = (8, 16, 18, 24, 32, 36, 48, 64, 96, 128, 192, 256, 512)  # GB that machines are sold with
_SMALLER = {  # recipes to advise, the largest first, and how to come by them
    "8bit": "gemma-mlx pull reference --anyway, then gemma-mlx convert reference --recipe 8bit",
    "4bit": "gemma-mlx pull 4bit",
}


def limit_of(machine: Machine) -> int:
    """The most that a plan may come to, in bytes."""
    if machine.backend == "cpu":
        return machine.working_set
    return max(0, min(int(_SHARE * machine.working_set), machine.ram - _SYSTEM))


def fits(model: ModelBytes, machine: Machine) -> bool:
    """Whether `plan` finds anything for no wish at all; where memory is plenty, without its search."""
    return _Search(model, machine, Wish()).economize()


def plan(model: ModelBytes, machine: Machine, wish: Wish) -> Plan:
    """Knobs that fit. Raises `MemoryPlanError` with the numbers and the command that would work, `ConfigError` for a
    context that the model does not have."""
    longest = model.config.text_config.max_position_embeddings
    if wish.context is not None and not 0 < wish.context <= longest:
        raise ConfigError(
            f"context is {wish.context:,}, the model holds 1 to {longest:,} positions: choose one of those"
        )
    search = _Search(model, machine, wish)
    found = search.settle()
    if found is None:
        raise MemoryPlanError(_refusal(search))
    return found


_Step = tuple[str, Knobs, str]  # what is given up, what is left, the same in words: the last one of a thing is told


@dataclass
class _Search:
    """Knobs, given up one after the other."""

    model: ModelBytes
    machine: Machine
    wish: Wish
    known: dict[Knobs, int] = field(default_factory=dict)  # what knobs need, for this model on any such machine

    def __post_init__(self) -> None:
        self.longest = self.model.config.text_config.max_position_embeddings
        self.least = self.wish.context or min(LEAST, self.longest)
        self.comfortable = self.wish.context or min(COMFORTABLE, self.longest)
        drafter = self.model.drafter is not None and self.wish.drafter is not False
        self.knobs = Knobs(self.least, PIECES[0], SNAPSHOTS[0], self.wish.image_tokens or IMAGES[0], drafter)
        self.given_up: dict[str, str] = {}

    def economize(self) -> bool:
        """Give up until the context is long enough; False if it never is."""
        self._give_up(self._of_comfort(), self.comfortable)
        self._give_up(self._of_substance(), self.least)
        return self.fits(self.least)

    def settle(self) -> Plan | None:
        """The plan; None if nothing fits."""
        if not self.economize():
            return None
        largest = self.largest()
        if largest < self.comfortable:
            self.given_up["context"] = f"a context of {largest:,} instead of {self.comfortable:,} or more"
        knobs = replace(self.knobs, context=self.wish.context or largest)
        found = parts(self.model, self.machine.backend, knobs)
        given_up = tuple(f"short of memory: {words}" for words in self.given_up.values())
        planned = Plan(self.machine, knobs, found, limit_of(self.machine), largest, given_up)
        usual = min(knobs.context, COMFORTABLE)
        return replace(planned, warnings=tuple(_warnings(self.machine.free, usual, self.needed(knobs, usual))))

    def needed(self, knobs: Knobs, context: int) -> int:
        """Bytes for a context."""
        wanted = replace(knobs, context=context)
        if wanted not in self.known:
            self.known[wanted] = sum(part.nbytes for part in parts(self.model, self.machine.backend, wanted))
        return self.known[wanted]

    def fits(self, context: int) -> bool:
        return self.needed(self.knobs, context) <= limit_of(self.machine)

    def largest(self) -> int:
        """The longest context that fits: the model's own, a multiple of 1024, or the one that is wished; else 0."""
        steps = sorted({*range(_ROUND, self.longest, _ROUND), self.longest, self.least})
        low, high = 0, len(steps)  # the first `low` fit
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits(steps[middle - 1]) else (low, middle - 1)
        return steps[low - 1] if low else 0

    def _give_up(self, steps: Iterator[_Step], goal: int) -> None:
        for thing, knobs, words in steps:
            if self.fits(goal):
                return
            if self.needed(knobs, goal) < self.needed(self.knobs, goal):
                self.knobs = knobs
                self.given_up[thing] = words

    def _of_comfort(self) -> Iterator[_Step]:
        for new in PIECES[1:]:
            words = f"prompts are read in pieces of {new} tokens instead of {PIECES[0]}"
            yield "pieces", replace(self.knobs, piece_tokens=new), words
        for new in SNAPSHOTS[1:]:
            words = f"{new or 'no'} {'snapshot' if new == 1 else 'snapshots'} to go back to instead of {SNAPSHOTS[0]}"
            yield "snapshots", replace(self.knobs, snapshots=new), words

    def _of_substance(self) -> Iterator[_Step]:
        if self.wish.image_tokens is None:
            for new in IMAGES[1:]:
                words = f"pictures of {new} tokens instead of {IMAGES[0]}"
                yield "pictures", replace(self.knobs, image_tokens=new), words
        if self.wish.drafter is None:
            yield "drafter", replace(self.knobs, drafter=False), "no drafter"


def _warnings(free: int | None, context: int, needed: int) -> Iterator[str]:
    """`needed`: bytes for a context that most conversations stay below."""
    if free is not None and needed > free:
        words = f"{gigabytes(needed)} for a context of {_tokens(context)}"
        yield f"{gigabytes(free)} of memory is free, this takes {words}: close other programs"


def _tokens(count: int) -> str:
    return f"{count:,} token{'s' * (count != 1)}"


def _refusal(search: _Search) -> str:
    """One line: what is needed, what is allowed, what would work."""
    wish, machine = search.wish, search.machine
    needed, limit = search.needed(search.knobs, search.least), gigabytes(limit_of(machine))
    what = f"needs {gigabytes(needed)} for a context of {_tokens(search.least)}, this {machine.kind} has {limit} for it"
    if wish.context is not None and (largest := search.largest()):
        return f"{what}: try --context {largest}"
    picture = wish.image_tokens or 0
    if picture > IMAGES[-1] and _fits(search.model, machine, replace(wish, image_tokens=IMAGES[-1])):
        return f"{what} and pictures of {picture}: try a smaller --image-tokens"
    if wish.drafter and _fits(search.model, machine, replace(wish, drafter=False)):
        return f"{what} and the drafter: try --draft off"
    for recipe, command in _SMALLER.items():
        smaller = replace(search.model, weights=packed_bytes(search.model.config, recipe, search.model.item))
        if smaller.weights < 0.97 * search.model.weights and _fits(smaller, machine, wish):
            return f"{what}: take {recipe} weights, {command}"
    return f"{what}: {_machine_for(search)}"


def _fits(model: ModelBytes, machine: Machine, wish: Wish) -> bool:
    return _Search(model, machine, wish).economize()


def _machine_for(search: _Search) -> str:
    """The least memory that is enough, in steps of half a GB, and the smallest machine that is sold with it."""
    machine = search.machine

    def enough(halves: int) -> bool:
        ram = halves * GIB // 2
        larger = replace(machine, ram=ram, working_set=int(machine.working_set / machine.ram * ram))
        return _Search(search.model, larger, search.wish, search.known).economize()

    low, high = 2 * machine.ram // GIB, 2 * _MEMORIES[-1]  # too little; perhaps enough
    if low >= high or not enough(high):
        return "no machine that is sold has enough"
    least = bisect_left(range(low + 1, high), True, key=enough) + low + 1
    sold = next(size for size in _MEMORIES if 2 * size >= least)
    kind = "a Mac" if machine.backend == "metal" else "a machine"
    return f"{least / 2:g} GB of memory are enough, as in {kind} with {sold} GB"
