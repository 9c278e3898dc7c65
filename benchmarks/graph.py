"""How many nodes a graph has, and what a program does between two evaluations.

A node is one primitive of MLX: a fused function is one, a fast operation that the device has no kernel for is as many
as MLX makes of it there. Knows graphs and clocks: no model and no program.
"""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import mlx.core as mx

from gemma_mlx.model import single

_NODE = "shape=rectangle"  # how `mx.export_to_dot` draws a primitive, and nothing else


def nodes(outputs: Sequence[mx.array]) -> int:
    """Primitives that must run for these arrays and have not been begun."""
    text = io.StringIO()
    mx.export_to_dot(text, *outputs)
    return text.getvalue().count(_NODE)


@dataclass
class Dispatches:
    """Of each `mx.async_eval`: nodes if they are counted, and milliseconds that this thread computed in it."""

    nodes: list[int] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)


@contextmanager
def dispatches(*, counted: bool = False) -> Iterator[Dispatches]:
    """Watch every `mx.async_eval` of this process."""
    found, evaluate = Dispatches(), mx.async_eval

    def watched(*arguments: Any) -> None:
        if counted:
            found.nodes.append(nodes(_arrays(arguments)))
        began = time.thread_time()
        evaluate(*arguments)
        found.ms.append(1e3 * (time.thread_time() - began))

    with mock.patch.object(mx, "async_eval", watched):
        yield found


def kept_together(build: Callable[[], mx.array]) -> int:
    """Nodes of what `build` makes, though it may have begun to evaluate parts of it."""
    with mock.patch.object(mx, "async_eval", return_value=None):
        return nodes([build()])


@contextmanager
def compiled() -> Iterator[None]:
    """Single positions go through compiled halves of layers, as they do on a GPU."""
    with mock.patch.object(single, "pays", return_value=True):
        yield


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """As `compiled`; fast operations are one node each, as where there are kernels for them. What is built meanwhile
    can be counted, not computed; models must be new, since compiled functions keep what they traced."""

    def one(x: mx.array, *others: Any, **more: Any) -> mx.array:
        inputs = [other for other in (*others, *more.values()) if isinstance(other, mx.array)]
        return mx.depends(x, inputs)

    with (
        compiled(),
        mock.patch.object(mx.fast, "rms_norm", one),
        mock.patch.object(mx.fast, "rope", one),
        mock.patch.object(mx.fast, "scaled_dot_product_attention", one),
    ):
        yield


def _arrays(tree: Any) -> list[mx.array]:
    if isinstance(tree, mx.array):
        return [tree]
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return [array for child in children for array in _arrays(child)]
