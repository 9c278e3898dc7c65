"""What every suite is given, and how programs take turns: A B, B A, A B.

A suite is a function of a `Bench` that yields results as they are known. Programs run in processes of their own
(`peers.link`). Where their models do not fit into memory together, each is started anew for every turn. Knows no suite
and no program.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from gemma_mlx.benchmarks import ceiling
from gemma_mlx.benchmarks.ceiling import Bandwidth
from gemma_mlx.benchmarks.peers.catalogue import installation
from gemma_mlx.benchmarks.peers.link import Linked, Unavailable
from gemma_mlx.benchmarks.peers.program import Settings
from gemma_mlx.benchmarks.schema import OURS, Result
from gemma_mlx.loading import Prepared

T = TypeVar("T")
VLM = "mlx-vlm"
_TOGETHER = 0.7  # of the memory that may be used: what models of several programs may take at once


@dataclass(frozen=True)
class Bench:
    """`repetitions` of everything, after one that warms up; `quick`: fewer and shorter cases; `peers`: other programs,
    with the place of their model if it is not ours; `folder` for what is written; `tell` shows progress, `skip` notes
    what is left out and why; `lengths` of what is read, if others are wanted than the suite's own."""

    prepared: Prepared
    repetitions: int
    quick: bool
    peers: Mapping[str, Path | None]
    folder: Path
    bandwidth: Bandwidth
    bytes_per_token: int
    tell: Callable[[str], None]
    skip: Callable[[str, str], None]
    lengths: tuple[int, ...] = ()

    @property
    def model(self) -> Path:
        return self.prepared.directory

    @property
    def drafter(self) -> Path | None:
        """Of the model, if memory is planned for it."""
        return self.prepared.drafter if self.prepared.plan.knobs.drafter else None

    def has_vlm(self, what: str, models: int = 0) -> bool:
        """Whether mlx-vlm is asked for, is installed, and so many models fit into memory; if not, why is noted."""
        if VLM not in self.peers:
            return False
        reason = ""
        if find_spec("mlx_vlm") is None:
            reason = f"it is not installed: {installation(VLM)}"
        elif models * self.prepared.weights_bytes > _TOGETHER * self.prepared.plan.limit:
            reason = "both programs with the model do not fit into memory"
        if reason:
            self.skip(f"{what}, {VLM}", reason)
        return not reason

    def place(self, name: str) -> Path:
        """Of the model that a program takes."""
        return self.peers.get(name) or self.model

    @property
    def longest(self) -> int:
        """Positions that a context may have here."""
        return self.prepared.plan.knobs.context

    def settings(self, *, drafter: bool = False, depth: int | None = None, image_tokens: int = 280) -> Settings:
        """As the plan has them, without the drafter unless it is asked for."""
        options = self.prepared.options
        own = self.drafter if drafter else None
        return Settings(options.dtype, own, depth, image_tokens, options.memory, options.context)

    def bound(self, context: int) -> float:
        """Tokens/s that memory allows with so many positions held: weights, keys and values are read once for each."""
        held = ceiling.kv_bytes(self.prepared.config.text_config, context, self.prepared.sizes.item)
        return ceiling.most_tokens(self.bandwidth, self.bytes_per_token, held)


Suite = Callable[[Bench, frozenset[str]], Iterator[Result]]
"""Yields results of those suites that are named; a file may measure several at once."""


@dataclass
class Programs:
    """Ours and the peers that are available."""

    names: tuple[str, ...]
    _open: Callable[[str], Linked]
    _kept: dict[str, Linked]
    _skip: Callable[[str, str], None]

    def take(self, name: str, task: Callable[[Linked], T]) -> T:
        """Let a program do something, once more if it was only started for this: the first time warms up."""
        if name in self._kept:
            return task(self._kept[name])
        with self._open(name) as linked:
            task(linked)
            return task(linked)

    def alternate(self, task: Callable[[Linked], T], repetitions: int) -> Mapping[str, list[T]]:
        """What the task gives with each program, turn by turn, in changing order, after one turn that warms up. A peer
        that cannot do it, or dies, is left out; the others go on."""
        found: dict[str, list[T]] = {name: [] for name in self.names}
        turns = range(0 if self._kept else 1, repetitions + 1)
        for turn in turns:
            for name in [name for name in self.names if name in found][:: 1 if turn % 2 else -1]:
                try:
                    found[name].append(self.take(name, task))
                except (Unavailable, RuntimeError) as fault:
                    if name == OURS:
                        raise
                    self._skip(name, one_line(fault))
                    del found[name]
        return {name: values[-repetitions:] for name, values in found.items()}


@contextmanager
def programs(bench: Bench, settings: Settings, peers: Sequence[str] | None = None) -> Iterator[Programs]:
    """Started, with the model in memory if it fits there as often as there are programs."""

    def start(name: str) -> Linked:
        return Linked(name, bench.place(name), settings, bench.folder / f"{name}.log")

    wanted = (OURS, *(bench.peers if peers is None else peers))
    together = bench.prepared.weights_bytes * len(wanted) <= _TOGETHER * bench.prepared.plan.limit
    names, kept = list[str](), dict[str, Linked]()
    with ExitStack() as stack:
        for name in wanted:
            try:
                if together:
                    kept[name] = stack.enter_context(start(name))
                else:
                    with start(name):
                        pass  # it can be started
            except Unavailable as fault:
                if name == OURS:
                    raise
                bench.skip(name, one_line(fault))
            else:
                names.append(name)
        yield Programs(tuple(names), start, kept, bench.skip)


def one_line(fault: Exception) -> str:
    """The first line of what a fault says, and the last, which of a log is what happened."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()] or [repr(fault)]
    return " … ".join(dict.fromkeys([lines[0], lines[-1]]))
