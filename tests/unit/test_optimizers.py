"""The optimizers against PyTorch's own classes, and Adam's first step by hand."""

import copy

import pytest
import torch
from torch import nn

from bnstudy.networks.optimizers import learning_rate_at, make_optimizer
from bnstudy.settings import SETTINGS, Settings

RULES = {
    "adam": (torch.optim.Adam, {}),
    "adam, weight decay": (torch.optim.AdamW, {"weight_decay": 0.1}),
    "sgd": (torch.optim.SGD, {}),
    "sgd, momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "sgd, weight decay": (torch.optim.SGD, {"weight_decay": 0.1}),
    "sgd, both": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_every_update_is_that_of_pytorch(rule, schedule):
    reference, options = RULES[rule]
    settings = Settings(optimizer=rule.partition(",")[0], learning_rate=0.01, schedule=schedule, **options)
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    theirs = copy.deepcopy(ours)
    optimizer = make_optimizer(ours.parameters(), settings)
    other = reference(theirs.parameters(), **{"weight_decay": 0, **options}, lr=0.01, fused=True)
    for step in range(20):
        inputs = torch.randn(8, 5)
        optimizer.learning_rate = learning_rate_at(step, 20, settings)
        other.param_groups[0]["lr"] = optimizer.learning_rate
        for model, one in ((ours, optimizer), (theirs, other)):
            model.zero_grad()
            model(inputs).square().mean().backward()
            one.step()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("rule", RULES)
def test_it_goes_on_from_its_state(rule):
    options = RULES[rule][1]
    settings = Settings(optimizer=rule.partition(",")[0], learning_rate=0.1, **options)
    parameters = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    first, second = (make_optimizer([p], settings) for p in parameters)
    for step in range(4):
        if step == 2:
            second.remember(copy.deepcopy(first.memory))
            parameters[1].data.copy_(parameters[0].data)
        for parameter, optimizer in zip(parameters, (first, second), strict=True):
            parameter.grad = parameter.detach() * (step + 1)
            if step >= 2 or optimizer is first:
                optimizer.step()
    assert torch.equal(*parameters)


def rates(n: int, **changes: object) -> list[float]:
    settings = Settings(learning_rate=0.8, **changes)
    return [learning_rate_at(step, n, settings) for step in range(n)]


def test_schedules_by_hand():
    assert rates(3) == [0.8] * 3
    assert rates(4, warmup_steps=4) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates(8, schedule="step") == pytest.approx([0.8] * 4 + [0.08] * 2 + [0.008] * 2)
    assert rates(2, schedule="step", warmup_steps=1) == pytest.approx([0.8, 0.08])
    root = 0.5**0.5
    expected = [0.8, 0.4 * (1 + root), 0.4, 0.4 * (1 - root)]
    assert rates(4, schedule="cosine") == pytest.approx(expected)
    assert rates(6, schedule="cosine", warmup_steps=2) == pytest.approx([0.4, 0.8, *expected])


@pytest.mark.parametrize("schedule", SETTINGS["schedule"].names)
def test_schedules_against_pytorch(schedule):
    n = 16
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.8)
    schedulers = torch.optim.lr_scheduler
    theirs = {
        "constant": lambda: schedulers.ConstantLR(optimizer, 1.0),
        "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, n),
        "step": lambda: schedulers.MultiStepLR(optimizer, [n // 2, 3 * n // 4]),
    }[schedule]()
    for rate in rates(n, schedule=schedule):
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_first_steps_by_hand():
    for name, expected in (("adam", 1.0 - 0.1), ("sgd", 1.0 - 0.1 * 4.0)):
        parameter = torch.tensor([1.0], requires_grad=True)
        optimizer = make_optimizer([parameter], Settings(optimizer=name, learning_rate=0.1))
        (4 * parameter).backward()
        optimizer.step()  # Adam's first step is the learning rate times the gradient's sign
        assert parameter.item() == pytest.approx(expected, rel=1e-6)


def test_frozen_parameters_stay():
    frozen, free = nn.Parameter(torch.ones(1), requires_grad=False), nn.Parameter(torch.ones(1))
    optimizer = make_optimizer([frozen, free], Settings(optimizer="adam", learning_rate=0.1))
    (frozen * free).backward()
    optimizer.step()
    assert frozen.item() == 1.0
    assert free.item() < 1.0
