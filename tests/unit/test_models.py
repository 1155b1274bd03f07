"""The networks: shape, paired initial weights, and BN against formulas written by hand."""

import math

import pytest
import torch
from torch import nn

from bnstudy.networks.weights import count_parameters, initialize
from perceptrons import build_model


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linears(model: nn.Module) -> list[nn.Linear]:
    return [layer for layer in model if isinstance(layer, nn.Linear)]


def test_parameter_counts_by_hand():
    plain = 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
    assert count_parameters(build_model(784, 10)) == plain == 109_386
    assert count_parameters(build_model(784, 10, norm="batch")) == plain + 2 * (128 + 64)


def test_normalization_sits_between_linear_and_activation():
    layers = [type(layer).__name__ for layer in build_model(4, 2, hidden=(3,), norm="batch")]
    assert layers == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    layers = [
        type(layer).__name__ for layer in build_model(4, 2, hidden=(3,), norm="layer", activation="tanh", dropout=0.5)
    ]
    assert layers == ["Linear", "LayerNorm", "Tanh", "Dropout", "Linear"]


@pytest.mark.parametrize("initialization", ["default", "he", "xavier"])
def test_arms_start_from_equal_linear_weights(initialization):
    arms = [
        build_model(20, 5, norm=norm, initialization=initialization, generator=generator(3))
        for norm in ("none", "batch", "layer")
    ]
    for layers in zip(*map(linears, arms), strict=True):
        for layer in layers[1:]:
            assert torch.equal(layer.weight, layers[0].weight)
            assert torch.equal(layer.bias, layers[0].bias)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    build_model(20, 5, norm="batch", dropout=0.1, generator=generator(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_default_initialization_is_that_of_pytorch():
    torch.manual_seed(5)
    theirs = nn.Linear(30, 7)
    ours = nn.Linear(30, 7)
    initialize(ours, "default", generator(5))
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


@pytest.mark.parametrize(("initialization", "variance"), [("he", 2 / 400), ("xavier", 2 / 1000), ("default", 1 / 1200)])
def test_initial_weights_have_the_published_variance(initialization, variance):
    layer = nn.Linear(400, 600)
    initialize(layer, initialization, generator(0))
    # The relative standard error of a variance over 240,000 draws is below 0.3 %.
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.02)
    if initialization == "default":
        assert layer.weight.abs().max().item() <= 1 / math.sqrt(400)


def test_batch_norm_matches_the_formulas_of_ioffe_and_szegedy():
    """Algorithm 1 and the derivatives of section 3, in double precision."""
    torch.manual_seed(0)
    m, eps, momentum = 6, 1e-5, 0.1
    layer = nn.BatchNorm1d(4, eps=eps, momentum=momentum, dtype=torch.float64)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(m, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(m, 4, dtype=torch.float64)
    y = layer(x)
    y.backward(upstream)

    with torch.no_grad():
        mean, variance = x.sum(0) / m, ((x - x.sum(0) / m) ** 2).sum(0) / m
        x_hat = (x - mean) / torch.sqrt(variance + eps)
        expected = layer.weight * x_hat + layer.bias
        d_x_hat = upstream * layer.weight
        d_variance = (d_x_hat * (x - mean) * -0.5 * (variance + eps) ** -1.5).sum(0)
        d_mean = -(d_x_hat / torch.sqrt(variance + eps)).sum(0)
        d_mean += d_variance * (-2 * (x - mean)).sum(0) / m
        d_x = d_x_hat / torch.sqrt(variance + eps) + d_variance * 2 * (x - mean) / m + d_mean / m

    exact = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(y, expected, **exact)
    torch.testing.assert_close(x.grad, d_x, **exact)
    torch.testing.assert_close(layer.weight.grad, (upstream * x_hat).sum(0), **exact)
    torch.testing.assert_close(layer.bias.grad, upstream.sum(0), **exact)
    # What is stored for inference is the unbiased variance, what normalizes is the biased one.
    torch.testing.assert_close(layer.running_mean, momentum * mean, **exact)
    torch.testing.assert_close(layer.running_var, (1 - momentum) + momentum * variance * m / (m - 1), **exact)
    layer.eval()
    inference = (x - layer.running_mean) / torch.sqrt(layer.running_var + eps)
    torch.testing.assert_close(layer(x), layer.weight * inference + layer.bias, **exact)
