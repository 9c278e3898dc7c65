"""Weights rounded in training are those that packing makes of them."""

import mlx.core as mx
import numpy as np
import torch

from .fake_quant import packed, through


def test_rounding_is_that_of_mlx() -> None:
    torch.manual_seed(1)
    weight = torch.randn(96, 256) * torch.rand(96, 1)
    weight[0] = 0
    weight[1] = weight[1].abs()
    rows = mx.array(weight.numpy()).astype(mx.bfloat16)
    codes, scales, biases = mx.quantize(rows, group_size=64, bits=4)
    wanted = mx.dequantize(codes, scales.astype(mx.float32), biases.astype(mx.float32), group_size=64, bits=4)
    assert np.array_equal(packed(weight).numpy(), np.array(wanted))


def test_the_gradient_passes_as_if_nothing_were_rounded() -> None:
    weight = torch.randn(4, 64, requires_grad=True)
    through(weight).pow(2).sum().backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad, 2 * packed(weight))
