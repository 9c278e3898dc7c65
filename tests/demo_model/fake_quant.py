"""Weights as they will be after packing to 4 bits, with a gradient: the last part of training gets used to them.

The rule is MLX's affine one, groups of 64 along the rows; `test_fake_quant` compares it with `mlx.core.quantize`.
"""

import torch
from torch import Tensor

GROUP, LEVELS = 64, 15


def packed(weight: Tensor) -> Tensor:
    """`weight` (n, width) rounded as 4-bit affine quantization of bfloat16 values rounds it, float32."""
    groups = weight.detach().bfloat16().float().unflatten(-1, (-1, GROUP))
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    scale = ((high - low) / LEVELS).clamp(min=1e-7)
    from_low = low.abs() > high.abs()
    scale = torch.where(from_low, scale, -scale)
    edge = torch.where(from_low, low, high)
    zero = torch.round(edge / scale)
    scale = torch.where(zero != 0, edge / torch.where(zero != 0, zero, 1), scale)
    bias = torch.where(zero != 0, edge, 0)
    steps = torch.round((groups - bias) / scale).clamp(0, LEVELS)
    return (steps * scale.bfloat16().float() + bias.bfloat16().float()).flatten(-2)


def through(weight: Tensor) -> Tensor:
    """The packed weight; the gradient goes to the weight as if it had not been rounded."""
    return weight + (packed(weight) - weight).detach()
