"""The optimizers against PyTorch's own classes, and Adam's first step by hand."""

import copy

import pytest
import torch
from torch import nn

from bnstudy.networks.optimizers import OPTIMIZERS


@pytest.mark.parametrize(
    ("name", "reference"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_updates_are_those_of_pytorch(name, reference):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    theirs = copy.deepcopy(ours)
    optimizers = (
        OPTIMIZERS[name](ours.parameters(), 0.01),
        reference(theirs.parameters(), lr=0.01, fused=True),
    )
    for _ in range(20):
        inputs = torch.randn(8, 5)
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_first_steps_by_hand():
    for name, expected in (("adam", 1.0 - 0.1), ("sgd", 1.0 - 0.1 * 4.0)):
        parameter = torch.tensor([1.0], requires_grad=True)
        optimizer = OPTIMIZERS[name]([parameter], 0.1)
        (4 * parameter).backward()
        optimizer.step()  # Adam's first step is the learning rate times the gradient's sign
        assert parameter.item() == pytest.approx(expected, rel=1e-6)
        optimizer.zero_grad()
        assert parameter.grad is None


def test_frozen_parameters_stay():
    frozen, free = nn.Parameter(torch.ones(1), requires_grad=False), nn.Parameter(torch.ones(1))
    optimizer = OPTIMIZERS["adam"]([frozen, free], 0.1)
    (frozen * free).backward()
    optimizer.step()
    assert frozen.item() == 1.0
    assert free.item() < 1.0
