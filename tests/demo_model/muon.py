"""The optimizer Muon in float32: torch's own multiplies in bfloat16, which some processors are 60 times slower in.

Its arithmetic is that of `torch.optim.Muon`, and so are the names of what it keeps; `test_muon` compares the two.
Source: torch.optim.Muon, and Keller Jordan's account of it, https://kellerjordan.github.io/posts/muon/.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_ROUNDS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of x, x³ and x⁵: they lift small singular values fastest
_MOMENTUM = 0.95


class Muon(torch.optim.Optimizer):  # type: ignore[misc]  # torch is not followed
    """Moves matrices by their momentum, made nearly orthogonal. `groups` are dicts with `params`, all of two axes."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, weight_decay: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self) -> None:
        """One step along the gradients; parameters without one stay."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                kept = self.state[weight]
                if not kept:
                    kept["momentum_buffer"] = torch.zeros_like(weight)
                kept["momentum_buffer"].lerp_(weight.grad, 1 - _MOMENTUM)
                ahead = weight.grad.lerp(kept["momentum_buffer"], _MOMENTUM)
                rows, columns = weight.shape
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonal(ahead), alpha=-group["lr"] * math.sqrt(max(1, rows / columns)))


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix (m, n) with all its singular values near 1, by a few Newton-Schulz iterations."""
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    first, third, fifth = _COEFFICIENTS
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = torch.addmm(x, torch.addmm(square, square, square, beta=third, alpha=fifth), x, beta=first)
    return x.mT if matrix.shape[0] > matrix.shape[1] else x
