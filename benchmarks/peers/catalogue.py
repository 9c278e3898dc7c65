"""The programs by the names that people type, what installs each, and how one is made. Imports none before that."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from gemma_mlx.benchmarks.peers.program import Program
from gemma_mlx.benchmarks.schema import OURS
from gemma_mlx.errors import GemmaError

PEERS: Mapping[str, str] = MappingProxyType(
    {
        "mlx-vlm": "pip install mlx-vlm==0.7.10",
        "mlx-lm": "pip install mlx-lm==0.32.2",
        "transformers": "pip install torch==2.13.0 transformers==5.23.0",
        "llama.cpp": "brew install llama.cpp",
    }
)
"""Name to the command that installs it."""
_OWN = "pip install gemma-mlx"


def known(names: str) -> dict[str, Path | None]:
    """Peers separated by commas, each once and in their order; `NAME=PLACE` says where its model is, if that is not
    ours. Raises `GemmaError` for a name that is not known."""
    found: dict[str, Path | None] = {}
    for each in names.split(","):
        name, _, place = each.strip().partition("=")
        if name not in PEERS:
            raise GemmaError(f"{name or 'an empty name'} cannot be compared with: choose of {', '.join(PEERS)}")
        found.setdefault(name, Path(place).expanduser() if place else None)
    return found


def installation(name: str) -> str:
    """What installs a program of `PEERS`, or ours."""
    return _OWN if name == OURS else PEERS[name]


def program(name: str) -> Program:
    """Make one of `PEERS`, or ours. Raises `ImportError` if it is not installed."""
    if name == "mlx-vlm":
        from gemma_mlx.benchmarks.peers.vlm import Vlm

        return Vlm()
    if name == "mlx-lm":
        from gemma_mlx.benchmarks.peers.lm import Lm

        return Lm()
    if name == "transformers":
        from gemma_mlx.benchmarks.peers.reference import Reference

        return Reference()
    if name == "llama.cpp":
        from gemma_mlx.benchmarks.peers.llama import Llama

        return Llama()
    from gemma_mlx.benchmarks.peers.ours import Ours

    return Ours()
