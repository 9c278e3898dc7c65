"""One position through a layer, compiled up to its attention's look and from there on.

The graph of one position takes longer to build than a fast device takes to compute it. Its shapes are always the same
but for what the attention looks at, so each half is traced once a layer; equal parts are computed once, and what goes
element by element in one loop. The numbers are those of the layer itself. Knows the halves of a layer by their names.
"""

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn


def pays() -> bool:
    """On a GPU. On a CPU a C++ compiler builds every kernel first: that takes longer than most answers."""
    return bool(mx.default_device() == mx.gpu)


class SinglePosition:
    """The halves of a layer, compiled. The layer's arrays are arguments: they can be loaded, packed or replaced at any
    time, and a trace that is interrupted leaves the layer as it was."""

    def __init__(self, layer: nn.Module) -> None:
        alive: Callable[[], Any] = weakref.ref(layer)  # it holds this: weights go with the last that holds the layer
        self._layer = alive

        def enter(x: mx.array, offset: mx.array, arrays: Mapping[str, Any]) -> tuple[mx.array, ...]:
            return _over(alive(), arrays).enter(x, offset)

        def leave(x: mx.array, attended: mx.array, arrays: Mapping[str, Any]) -> mx.array:
            return _over(alive(), arrays).leave(x, attended)

        self._enter, self._leave = mx.compile(enter), mx.compile(leave)

    def enter(self, x: mx.array, offset: int) -> Sequence[mx.array]:
        """(1, 1, hidden) at `offset` → what the attention looks with."""
        entered: Sequence[mx.array] = self._enter(x, mx.array(offset), self._layer())
        return entered

    def leave(self, x: mx.array, attended: mx.array) -> mx.array:
        """(1, 1, hidden) as it entered and what the attention found → (1, 1, hidden)."""
        left: mx.array = self._leave(x, attended, self._layer())
        return left


def _over(module: Any, arrays: Mapping[str, Any]) -> Any:
    """A module like this one with the arrays of a trace in place of its own."""
    twin = copy.copy(module)
    for name, value in arrays.items():
        part = module[name]
        twin[name] = _over(part, value) if isinstance(part, nn.Module) else value
    return twin
