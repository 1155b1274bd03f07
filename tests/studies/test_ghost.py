"""Normalization over other groups of images than the batch."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnstudy.networks.layers import GhostBatchNorm, PopulationBatchNorm, group_lengths, with_population
from bnstudy.training.inputs import Scaling, Split
from bnstudy.training.loop import evaluate
from bnstudy.training.observers.inference import evaluate_with_batch_statistics, with_precise_statistics
from perceptrons import build_model

EPSILON = 1e-5


@pytest.fixture
def split():
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (50, 12), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 4, (50,), generator=generator)
    return Split(pixels, labels, Scaling(255))


@pytest.fixture
def network():
    model = build_model(12, 4, hidden=(6, 5), norm="batch", generator=torch.Generator().manual_seed(1))
    for layer in model:
        if isinstance(layer, nn.BatchNorm1d):  # as after some training
            nn.init.normal_(layer.weight, 1, 0.3, generator=torch.Generator().manual_seed(2))
            nn.init.normal_(layer.bias, 0, 0.3, generator=torch.Generator().manual_seed(4))
            nn.init.normal_(layer.running_mean, generator=torch.Generator().manual_seed(5))
    return model


def random_inputs(n: int, width: int = 3) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(n)) * 2 + 1


def test_one_group_is_batch_normalization():
    ghost, plain = GhostBatchNorm(3, 8), nn.BatchNorm1d(3)
    inputs = random_inputs(8)
    assert torch.equal(ghost(inputs), plain(inputs))
    assert torch.equal(ghost.running_var, plain.running_var)


def test_groups_are_normalized_apart():
    ghost, plain = GhostBatchNorm(3, 4), nn.BatchNorm1d(3)
    with torch.no_grad():
        for layer in (ghost, plain):
            layer.weight.copy_(torch.tensor([1.0, 2.0, -0.5]))
            layer.bias.copy_(torch.tensor([0.0, 1.0, 3.0]))
    inputs = random_inputs(12).requires_grad_()
    expected_inputs = inputs.detach().clone().requires_grad_()
    outputs = ghost(inputs)
    expected = torch.cat([plain(group) for group in expected_inputs.split(4)])
    weights = random_inputs(12) ** 2
    (outputs * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(inputs.grad, expected_inputs.grad)
    torch.testing.assert_close(ghost.weight.grad, plain.weight.grad)
    torch.testing.assert_close(ghost.bias.grad, plain.bias.grad)


def test_pairs_by_hand():
    ghost = GhostBatchNorm(1, 2)
    outputs = ghost(torch.tensor([[1.0], [3.0], [10.0], [4.0]]))
    first, second = 1 / math.sqrt(1 + EPSILON), 3 / math.sqrt(9 + EPSILON)
    torch.testing.assert_close(outputs, torch.tensor([[-first], [first], [second], [-second]]))
    # Means 2 and 7, unbiased variances 2 and 18; a tenth of their averages, once.
    assert ghost.running_mean.item() == pytest.approx(0.1 * 4.5)
    assert ghost.running_var.item() == pytest.approx(0.9 + 0.1 * 10)
    assert ghost.num_batches_tracked == 1


def test_last_group_is_shorter():
    inputs = random_inputs(10)
    ghost = GhostBatchNorm(3, 4, momentum=1.0)
    groups = [inputs[:4], inputs[4:8], inputs[8:]]
    expected = torch.cat([F.batch_norm(group, None, None, training=True) for group in groups])
    torch.testing.assert_close(ghost(inputs), expected)
    means = sum(len(group) * group.mean(0) for group in groups) / 10
    variances = sum(len(group) * group.var(0) for group in groups) / 10
    torch.testing.assert_close(ghost.running_mean, means)
    torch.testing.assert_close(ghost.running_var, variances)


@pytest.mark.parametrize(
    ("n", "size", "lengths"),
    [(8, 4, [4, 4]), (10, 4, [4, 4, 2]), (9, 4, [4, 5]), (5, 4, [5]), (3, 4, [3]), (1, 4, [1]), (2, 2, [2])],
)
def test_group_lengths(n, size, lengths):
    assert group_lengths(n, size) == lengths


@pytest.mark.parametrize("n", [5, 9])
def test_single_image_left_over_joins_the_group_before(n):
    inputs = random_inputs(n)
    groups = inputs.split(group_lengths(n, 4))
    expected = torch.cat([F.batch_norm(group, None, None, training=True) for group in groups])
    torch.testing.assert_close(GhostBatchNorm(3, 4)(inputs), expected)


def test_one_image_has_no_variance():
    with pytest.raises(ValueError, match="more than 1 value"):
        GhostBatchNorm(3, 4)(random_inputs(1))
    with pytest.raises(ValueError, match="two images"):
        GhostBatchNorm(3, 1)


def test_evaluation_uses_running_statistics():
    ghost = GhostBatchNorm(1, 2).eval()
    ghost.running_mean.fill_(2)
    ghost.running_var.fill_(4)
    before = copy.deepcopy(ghost.state_dict())
    outputs = ghost(torch.tensor([[1.0], [3.0], [10.0], [4.0]]))
    expected = torch.tensor([[-1.0], [1.0], [8.0], [2.0]]) / math.sqrt(4 + EPSILON)
    torch.testing.assert_close(outputs, expected)
    assert all(torch.equal(before[key], value) for key, value in ghost.state_dict().items())


def test_cumulative_momentum_averages_all_steps():
    ghost = GhostBatchNorm(3, 2, momentum=None)
    batches = random_inputs(24).split(6)
    for batch in batches:
        ghost(batch)
    torch.testing.assert_close(ghost.running_mean, torch.cat(batches).mean(0))


def test_ghost_gradient_against_finite_differences():
    ghost = GhostBatchNorm(2, 3).double()
    inputs = random_inputs(8, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(ghost, (inputs,), atol=1e-4)


def test_population_normalizes_the_batch_like_the_rest():
    population = random_inputs(20)
    layer, plain = PopulationBatchNorm(3), nn.BatchNorm1d(3)
    layer.population_size = 20
    outputs = layer(torch.cat([population[5:9], population]))
    expected = plain(population)
    torch.testing.assert_close(outputs[4:], expected)
    torch.testing.assert_close(outputs[:4], expected[5:9])
    torch.testing.assert_close(layer.running_mean, plain.running_mean)
    torch.testing.assert_close(layer.running_var, plain.running_var)


def test_population_gradient_against_finite_differences():
    layer = PopulationBatchNorm(2).double()
    layer.population_size = 6
    inputs = random_inputs(9, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(layer, (inputs,), atol=1e-4)


def test_population_network_has_no_noise(split):
    """The output of an image does not depend on the batch that it is in."""
    inner = build_model(12, 4, hidden=(6,), norm="population")
    network = with_population(inner, split)
    inputs = split.inputs
    assert network(inputs[:7]).shape == (7, 4)
    torch.testing.assert_close(network(inputs[:7])[:3], network(inputs[:3]))
    # One group of all images is the same function.
    ghost = build_model(12, 4, hidden=(6,), norm="ghost:50")
    ghost.load_state_dict(inner.state_dict())
    torch.testing.assert_close(network(inputs[:7]), ghost(inputs)[:7])
    plain = build_model(12, 4, hidden=(6,), norm="batch")
    assert with_population(plain, split) is plain


def test_precise_statistics_against_numpy(network, split):
    precise = with_precise_statistics(network, split)
    activations = split.inputs.double().numpy()
    for linear, norm in ((0, 1), (3, 4)):
        weight, bias = (p.detach().double().numpy() for p in network[linear].parameters())
        values = activations @ weight.T + bias
        mean, variance = values.mean(0), values.var(0)
        np.testing.assert_allclose(precise[norm].running_mean, mean, atol=1e-5)
        np.testing.assert_allclose(precise[norm].running_var, values.var(0, ddof=1), rtol=1e-4)
        scale, shift = (p.detach().double().numpy() for p in network[norm].parameters())
        normalized = (values - mean) / np.sqrt(variance + EPSILON)
        activations = np.maximum(normalized * scale + shift, 0)


def test_batch_statistics_against_training_mode(network, split):
    loss, accuracy = evaluate_with_batch_statistics(network, split, 10)
    trained = copy.deepcopy(network).train()
    logits = torch.cat([trained(inputs) for inputs, _ in split.batches(10)])
    assert loss == pytest.approx(F.cross_entropy(logits, split.labels).item(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(1) == split.labels).double().mean().item())
    assert loss != pytest.approx(evaluate(network, split)[0], rel=1e-3)


def test_probes_leave_no_trace(network, split):
    network.train()
    before, generator = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    precise = with_precise_statistics(network, split)
    evaluate_with_batch_statistics(network, split, 10)
    assert network.training
    assert not precise.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_probes_leave_dropout_off(split):
    model = build_model(12, 4, hidden=(6,), norm="batch", dropout=0.5)
    first, second = (evaluate_with_batch_statistics(model, split, 10) for _ in range(2))
    assert first == second
