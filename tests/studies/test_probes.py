"""Probes against hand-computed cases; and that they leave training alone."""

import copy
import math

import pytest
import torch
from torch import nn

from bnstudy.networks.layers import ShiftingNoise
from bnstudy.settings import Settings
from bnstudy.training.observers import activations, landscape
from bnstudy.training.observing import Moment
from perceptrons import build_model


@pytest.fixture
def quadratic(monkeypatch):
    """The loss becomes half the squared output, times the label, summed."""
    monkeypatch.setattr(landscape.F, "cross_entropy", lambda outputs, labels: (labels * outputs**2).sum() / 2)


def scalar_network(*weights):
    layers = [nn.Linear(1, 1, bias=False) for _ in weights]
    for layer, weight in zip(layers, weights, strict=True):
        nn.init.constant_(layer.weight, weight)
    return nn.Sequential(*layers)


def test_landscape_of_a_parabola(quadratic):
    """L = a w^2 / 2 has gradient a w, smoothness a, and a gradient that turns at eta = 1 / a."""
    a, w = 4.0, 3.0
    model = scalar_network(w)
    found = landscape.landscape(model, torch.ones(1, 1), torch.tensor([[a]]), [0.125, 0.5])
    at = [w * (1 - 0.125 * a), w * (1 - 0.5 * a)]  # 1.5, -3
    assert found["loss_range"] == pytest.approx(a / 2 * (at[1] ** 2 - at[0] ** 2))
    assert found["gradient_change_min"] == pytest.approx(0.125 * a * a * w)
    assert found["gradient_change_max"] == pytest.approx(0.5 * a * a * w)
    assert found["beta"] == pytest.approx(a)
    assert found["relative_change"] == pytest.approx(0.5 * a)
    assert found["cosine"] == pytest.approx((1 - 1) / 2)
    assert model[0].weight.item() == w


def test_covariate_shift_of_two_weights(quadratic):
    """y = w2 w1, L = y^2 / 2: the gradient by w2 is w2 w1^2, before and after w1's step."""
    w1, w2, rate = 2.0, 0.5, 0.1
    ((layer, row),) = landscape.covariate_shift(
        scalar_network(w1, w2), torch.ones(1, 1), torch.ones(1, 1), rate
    ).items()
    moved = w1 - rate * w2**2 * w1
    before, after = w2 * w1**2, w2 * moved**2
    assert layer == 2
    assert row["shift"] == pytest.approx(before - after, rel=1e-5)
    assert row["relative_shift"] == pytest.approx((before - after) / before, rel=1e-5)
    assert row["cosine"] == pytest.approx(1)


def test_covariate_shift_moves_all_earlier_layers(quadratic):
    """For the third layer both layers before it have made their steps, its own weight has not."""
    w1, w2, w3, rate = 1.5, 0.8, 1.2, 0.1
    rows = landscape.covariate_shift(scalar_network(w1, w2, w3), torch.ones(1, 1), torch.ones(1, 1), rate)
    y = w1 * w2 * w3
    new1, new2 = w1 - rate * y * w2 * w3, w2 - rate * y * w1 * w3
    assert list(rows) == [2, 3]
    before, after = w3 * (w1 * w2) ** 2, w3 * (new1 * new2) ** 2
    assert rows[3]["shift"] == pytest.approx(before - after, rel=1e-5)


def test_drift():
    torch.manual_seed(0)
    x = torch.randn(4_000, 3, dtype=torch.float64)
    x = (x - x.mean(0)) / x.std(0, unbiased=False)
    moved = x + torch.tensor([0.0, 1.0, 2.0])
    assert activations.drift(x, moved) == pytest.approx(1)
    assert activations.drift(5 * x, 5 * moved) == pytest.approx(1)
    assert activations.wasserstein(x, moved) == pytest.approx(1)
    # A change of scale moves no mean: W1 of N(0, 1) and N(0, 4) is E|z| = sqrt(2 / pi).
    assert activations.drift(x, 2 * x) == pytest.approx(0, abs=1e-12)
    expected = math.sqrt(2 / math.pi) / math.sqrt((1 + 4) / 2)
    assert activations.wasserstein(x, 2 * x) == pytest.approx(expected, rel=0.03)
    dead = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    assert activations.drift(dead, dead + 1) == pytest.approx(1)


def test_last_activations():
    torch.manual_seed(0)
    model = build_model(6, 3, hidden=(5, 4), norm="batch")
    x = torch.randn(32, 6)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    found = activations.last_activations(model, x)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert model.training
    torch.testing.assert_close(found["train"].mean(0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(found["raw"], model[:4](x))
    torch.testing.assert_close(found["eval"], copy.deepcopy(model).eval()[:5](x), atol=1, rtol=1)
    plain = activations.last_activations(build_model(6, 3, hidden=(5, 4)), x)
    assert torch.equal(plain["raw"], plain["train"])
    assert torch.equal(plain["raw"], plain["eval"])


def test_drift_draws_noise_of_its_own_and_leaves_the_generator_alone(monkeypatch):
    noise = ShiftingNoise(3)
    look = lambda now: {"train": noise(torch.zeros(2, 3))}
    monkeypatch.setattr(activations, "activations_in_training", look)

    def seen(step):
        observer = activations.Drift(drift_every=5)
        observer.observe(Moment(Settings(seed=0), {}, noise, step))
        return observer.waiting[step]

    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    first = seen(25)
    assert torch.equal(seen(25), first)
    assert not torch.equal(seen(35), first)
    assert torch.equal(torch.rand(4), expected)
