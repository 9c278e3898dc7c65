"""The values of a memory plan: the machine, the model, what is wanted, and what it comes to.

Bytes throughout; GB and MB in messages are 10^9 and 10^6, and "16GB" of a Mac's memory is 16 * 2^30 as Apple counts it.
Knows no arithmetic beyond sums.
"""

from dataclasses import dataclass, replace
from typing import Literal

from gemma_mlx.config import DrafterConfig, ModelConfig

Backend = Literal["metal", "cpu"]
_UNITS = ((2**40, "TB"), (2**30, "GB"), (2**20, "MB"))


@dataclass(frozen=True)
class Machine:
    """What a machine offers. `working_set`: most that the backend should use, `free`: what nothing else uses."""

    name: str
    backend: Backend
    ram: int
    working_set: int
    free: int | None = None

    @property
    def memory(self) -> str:
        """As machines are sold, in powers of 1024: "16 GB", "23.5 GB", "1 TB", "512 MB"."""
        size, unit = next((each for each in _UNITS if self.ram >= each[0]), _UNITS[-1])
        return f"{self.ram / size:.1f}".removesuffix(".0") + f" {unit}"

    @property
    def kind(self) -> str:
        """Such as "16 GB Mac"."""
        return f"{self.memory} {'Mac' if self.backend == 'metal' else 'machine'}"


@dataclass(frozen=True)
class ModelBytes:
    """A model as loaded: resident bytes in the activation type, whose items take `item` bytes."""

    config: ModelConfig
    weights: int
    largest_layer: int  # of the groups that are loaded one after the other
    item: int
    drafter: DrafterConfig | None = None
    drafter_weights: int = 0

    def with_drafter(self, config: DrafterConfig, weights: int) -> "ModelBytes":
        return replace(self, drafter=config, drafter_weights=weights)


@dataclass(frozen=True)
class Wish:
    """What a person asked for; None: whatever fits."""

    context: int | None = None
    image_tokens: int | None = None
    drafter: bool | None = None


@dataclass(frozen=True)
class Knobs:
    """What a plan settles on. `piece_tokens`: longest prefill piece; `snapshots`: ways back beyond the slack."""

    context: int
    piece_tokens: int
    snapshots: int
    image_tokens: int
    drafter: bool


@dataclass(frozen=True)
class Part:
    """One line of the plan. `counted`: whether MLX's own counters, and so its limit, include it."""

    name: str
    nbytes: int
    counted: bool = True


@dataclass(frozen=True)
class Plan:
    """Knobs that fit, the bytes they take at the worst moment, and what was given up to make them fit.

    `largest_context`: the longest that fits with all other knobs as they are, in steps of 1024.
    """

    machine: Machine
    knobs: Knobs
    parts: tuple[Part, ...]
    limit: int
    largest_context: int
    given_up: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(part.nbytes for part in self.parts)

    @property
    def peak(self) -> int:
        """What `mx.get_peak_memory` should come to at the worst moment."""
        return sum(part.nbytes for part in self.parts if part.counted)
