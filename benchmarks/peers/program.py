"""What a program must do to be measured: load a directory, continue token ids, answer a question about files.

Each program is a class in a file of its own here, driven in a process of its own (`serve`), by its own public entry
points, greedily, with the ids that it is given. Knows no program.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Settings:
    """`dtype` of activations, as `gemma-mlx --dtype`; `drafter`: directory of an assistant, to draft with; `depth`: how
    many drafts a round, None: as the program decides; `image_tokens`: most soft tokens of a picture; `memory` in bytes
    and `context` in positions to plan for, None: what there is."""

    dtype: str = "auto"
    drafter: Path | None = None
    depth: int | None = None
    image_tokens: int = 280
    memory: int | None = None
    context: int | None = None


@dataclass(frozen=True)
class Asked:
    """A question with files as the program renders it: `prompt_tokens` it takes, and the `ids` of the answer as they
    come, the one that ends it among them."""

    prompt_tokens: int
    ids: Iterator[int]


class Program(Protocol):
    """A program with one model in memory. Every call begins with empty caches. Making one imports what it needs, so
    that loading is not timed with it: raises `ImportError` if the program is not installed."""

    name: str

    def load(self, directory: Path, settings: Settings) -> None:
        """Weights are in memory afterwards, not only mapped. Raises `GemmaError` if the program cannot take them."""

    def generate(self, ids: list[int], tokens: int) -> Iterator[int]:
        """Greedy ids after `ids`, `tokens` of them whatever they are, each when it is known."""

    def ask(self, question: str, files: list[Path], tokens: int) -> Asked:
        """At most `tokens` of a greedy answer about pictures and recordings. Raises `NotImplementedError` where the
        program cannot."""

    def set_depth(self, depth: int | None) -> None:
        """Draft so many a round from here on, 0: none, None: as the program decides. Raises `NotImplementedError` where
        that is said when the model is loaded, or never."""

    def drafted(self) -> tuple[int, ...]:
        """Of the last `generate`: accepted drafts by position in a round, then rounds; empty without a drafter."""

    def elsewhere(self) -> int:
        """Bytes that are resident in processes which the program started; 0 if it runs in this one."""
