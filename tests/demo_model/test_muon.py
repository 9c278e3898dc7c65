"""Our Muon does what torch's does."""

import pytest
import torch

from .muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(64, 64), (96, 32), (32, 96)])
def test_it_goes_where_torchs_goes(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    start, gradients = torch.randn(shape), torch.randn(6, *shape)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    other = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.01)
    mine = Muon([{"params": [ours]}], lr=0.02, weight_decay=0.01)
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        other.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.01 * moved  # what bfloat16 rounds away
    assert torch.allclose(mine.state[ours]["momentum_buffer"], other.state[theirs]["momentum_buffer"])


def test_what_torchs_has_kept_is_gone_on_with() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.eye(4)
    other = torch.optim.Muon([weight], lr=0.02, weight_decay=0.01)
    other.step()
    mine = Muon([{"params": [weight]}], lr=0.5, weight_decay=0.5)
    mine.load_state_dict(other.state_dict())
    assert mine.param_groups[0]["lr"] == 0.02
    assert torch.equal(mine.state[weight]["momentum_buffer"], other.state[weight]["momentum_buffer"])


def test_a_weight_without_a_gradient_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 4))
    Muon([{"params": [weight]}], lr=1.0, weight_decay=1.0).step()
    assert torch.equal(weight, torch.ones(4, 4))


@pytest.mark.parametrize("shape", [(8, 8), (40, 16), (16, 40)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(2)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape) + torch.eye(*shape)))
    assert values.min() > 0.5
    assert values.max() < 1.3
