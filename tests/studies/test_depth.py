"""Depth: gradient ranges, soft ranks, and the endpoints by hand."""

import copy
import math

import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.initialization import depth as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.settings import Settings
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model, train
from bnstudy.training.observers.activations import last_hidden_activations, soft_rank
from bnstudy.training.observers.gradients import DECADES_AT_MOST, dynamic_range, hidden_gradient_norms, log_size
from small import rows, study

CPU = torch.device("cpu")


def test_dynamic_range_in_decades():
    assert dynamic_range([1e-3, 1.0, 1e-1]) == pytest.approx(3)
    assert dynamic_range([2.0, 2.0]) == 0
    # A layer without a gradient, no gradient at all, and one that is not finite.
    for norms in ([0.0, 1.0], [1e-20, 1.0], [0.0, 0.0], [1.0, float("nan")], [1.0, float("inf")]):
        assert dynamic_range(norms) == DECADES_AT_MOST


def test_gradients_are_those_of_the_hidden_layers():
    """A deep linear-in-effect network: dL/dW of each layer by finite differences."""
    settings = Settings(norm="none", batch_size=8, seed=0, hidden=(5, 5), activation="tanh")
    model = make_model(6, 3, settings).double()
    inputs = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % 3
    loss = torch.nn.functional.cross_entropy
    loss(model(inputs), labels).backward()
    measured = hidden_gradient_norms(model)
    assert len(measured) == 2
    step = 1e-6
    for layer, norm in zip((model[0], model[2]), measured, strict=True):
        square = 0.0
        with torch.no_grad():
            for i in range(layer.weight.numel()):
                values = []
                for sign in (1, -1):
                    layer.weight.view(-1)[i] += sign * step
                    values.append(loss(model(inputs), labels).item())
                    layer.weight.view(-1)[i] -= sign * step
                square += ((values[0] - values[1]) / (2 * step)) ** 2
        assert norm == pytest.approx(square**0.5, rel=1e-6)


def test_soft_rank_counts_singular_values_above_one_percent():
    orthogonal, _ = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)))
    for values, rank in [([1, 0.5, 0.02, 0.005, 0], 3), ([3, 0, 0, 0, 0], 1), ([0] * 5, 0)]:
        matrix = orthogonal @ torch.diag(torch.tensor(values, dtype=torch.float32)) @ orthogonal.T
        assert soft_rank(matrix) == rank


def test_looking_at_activations_leaves_the_network_alone(digits_data):
    data = open_prepared(digits_data)
    settings = Settings(norm="batch", batch_size=64, seed=0, hidden=(16, 16), epochs=1)
    splits = make_splits(data, settings, CPU)
    model = make_model(64, 10, settings)
    before = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    activations = last_hidden_activations(model, splits["validation"].inputs)
    assert activations.shape == (287, 16)
    assert (activations.mean(0) > 0).all()  # after the ReLU of normalized values
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(torch.get_rng_state(), generator)


def test_observing_gradients_does_not_change_training(digits_data):
    data = open_prepared(digits_data)
    settings = Settings(norm="batch", batch_size=64, seed=1000, hidden=(16, 16), epochs=1)
    small = study(
        "depth",
        {"epochs": 1, "batch_size": 64},
        variants={"depth": {"2": {"hidden": [16, 16]}}},
        grid={"norm": ["batch"], "activation": ["relu"], "initialization": ["default"], "depth": [2]},
        observers=[{"gradient_range": {"gradient_every": 3}}, {"soft_rank": {"probe_images": 100}}],
    )
    (row,) = rows(small, data, seeds=1)
    assert row["depth"] == 2
    plain = train(make_model(64, 10, settings), make_splits(data, settings, CPU), settings)
    assert row["test_loss"] == plain.last("test", "loss")
    assert 0 < row["gradient_range"] < DECADES_AT_MOST
    assert -2 < row["gradient_size"] < 1
    assert 0 < row["soft_rank"] <= 16


def row(norm, initialization, activation, layers, seed, accuracy, gradient_range):
    return {
        "norm": norm,
        "initialization": initialization,
        "activation": activation,
        "depth": layers,
        "seed": seed,
        "status": "ok",
        "n_classes": 10,
        "val_accuracy": accuracy,
        "gradient_range": gradient_range,
        "gradient_range_initial": 2 * gradient_range,
        "gradient_size": -gradient_range,
        "soft_rank": layers,
    }


def test_endpoints_by_hand():
    rows = []
    for seed in (0, 1):
        for initialization, last in (("default", 0.11), ("he", 0.92)):
            for norm, values in (
                ("none", {2: (0.90, 0.1), 5: (0.91, 1.0), 20: (last, 6.0)}),
                ("batch", {2: (0.95, 0.4), 5: (0.95, 0.5), 20: (0.93, 1.5)}),
            ):
                for layers, (accuracy, gradient_range) in values.items():
                    rows.append(row(norm, initialization, "relu", layers, seed, accuracy, gradient_range))
            for norm, values in (("none", {2: 0.86, 5: 0.41}), ("batch", {2: 0.94, 5: 0.93})):
                for layers, accuracy in values.items():
                    rows.append(row(norm, initialization, "sigmoid", layers, seed, accuracy, 1.0))
    # Twice He's weights: 10^6 without and 10^1.5 with batch normalization.
    rows += [row("none", "he2", "relu", 20, seed, 0.1, -6.0) for seed in (0, 1)]
    rows += [row("batch", "he2", "relu", 20, seed, 0.9, -1.5) for seed in (0, 1)]
    found = endpoints(pd.DataFrame(rows), {})
    assert found["gradient_size"].effect.tolist() == pytest.approx([2.5, 2.5])
    assert found["gradient_size_beyond"].effect.tolist() == pytest.approx([4.5, 4.5])
    ranges = found["gradient_range"]
    assert ranges.cells["5 layers"].tolist() == pytest.approx([0.5, 0.5])
    assert ranges.cells["20 layers"].tolist() == pytest.approx([4.5, 4.5])
    assert ranges.effect.tolist() == pytest.approx([2.5, 2.5])
    deepest = found["deepest_accuracy"]
    assert deepest.effect.tolist() == pytest.approx([83, 83])  # 0.11 counts as 10 %
    assert deepest.cells["2 layers"].tolist() == pytest.approx([5, 5])
    assert "2 of 2 runs without and 0 of 2 with" in deepest.note
    assert found["deepest_accuracy_he"].effect.tolist() == pytest.approx([1, 1])
    activation = found["activation_range"]
    assert activation.cells["2 layers"].tolist() == pytest.approx([3, 3])  # 4 - 1
    assert activation.cells["5 layers"].tolist() == pytest.approx([48, 48])  # 50 - 2
    assert activation.effect.tolist() == pytest.approx([25.5, 25.5])


def test_the_size_of_the_gradient_is_that_of_all_layers_together():
    assert log_size([3e3, 4e3]) == pytest.approx(math.log10(5e3))
    assert log_size([0.0, 0.0]) == log_size([1e-30]) == -DECADES_AT_MOST
    assert log_size([math.inf]) == log_size([math.nan]) == log_size([1e30]) == DECADES_AT_MOST
