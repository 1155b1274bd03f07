"""Gradients of every layer while training, against backpropagation written out by hand."""

import numpy as np
import pytest
import torch

from bnstudy.data.prepared import open_prepared
from bnstudy.settings import Settings
from bnstudy.studies import gradient_paths
from bnstudy.training.inputs import make_splits, stream_generator
from bnstudy.training.loop import make_model, train

CPU = torch.device("cpu")
OPTIONS = {"epochs": 1, "batch_size": 64, "width": 16, "depth": 3, "steps": [0, 2, 7, 999]}


def backpropagated(weights, biases, inputs, labels):
    """Frobenius norms of dL/dW of the hidden layers of a ReLU network, in numpy."""
    kept, outputs = [inputs], inputs
    for weight, bias in zip(weights, biases, strict=True):
        sums = outputs @ weight.T + bias
        outputs = np.maximum(sums, 0)
        kept.append(outputs)
    odds = np.exp(sums - sums.max(axis=1, keepdims=True))
    delta = (odds / odds.sum(axis=1, keepdims=True) - np.eye(len(weights[-1]))[labels]) / len(
        labels
    )
    norms = []
    for layer in range(len(weights) - 1, -1, -1):
        norms.append(np.linalg.norm(delta.T @ kept[layer]))
        delta = (delta @ weights[layer]) * (kept[layer] > 0)
    return norms[::-1][:-1]


def test_a_row_per_step_and_layer_as_by_hand(digits_data):
    data = open_prepared(digits_data)
    cell = {"norm": "none", "initialization": "he"}
    rows = gradient_paths.run(data, cell, OPTIONS, [3], CPU)
    assert [(row["step"], row["layer"]) for row in rows] == [
        (step, layer) for step in (0, 2, 7) for layer in (1, 2, 3)
    ]
    # The first batch and the first weights, without the training loop.
    settings = Settings("none", 64, 3, hidden=(16,) * 3, initialization="he", epochs=1)
    train_split = make_splits(data, settings, CPU)["train"]
    order = torch.randperm(len(train_split), generator=stream_generator(3, "order"))
    batch = train_split.take(order[:64])
    parameters = [p.detach().double().numpy() for p in make_model(64, 10, settings).parameters()]
    expected = backpropagated(
        parameters[::2], parameters[1::2], batch.inputs.double().numpy(), batch.labels.numpy()
    )
    assert [row["gradient"] for row in rows[:3]] == pytest.approx(expected, rel=1e-4)


def test_reading_gradients_does_not_change_training(digits_data):
    data = open_prepared(digits_data)
    settings = Settings("batch", 64, 0, hidden=(16,) * 3, epochs=1)
    finals = []
    for observe in (None, gradient_paths.GradientPath([0, 5]).observe):
        model = make_model(64, 10, settings)
        train(model, make_splits(data, settings, CPU), settings, observe=observe)
        finals.append(model.state_dict())
    assert all(torch.equal(value, finals[1][name]) for name, value in finals[0].items())


def test_a_gradient_that_is_not_finite_is_left_empty():
    model = make_model(4, 2, Settings("none", 4, 0, hidden=(3, 3)))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model[0].weight.grad[0, 0] = torch.nan
    path = gradient_paths.GradientPath([5])
    for step in range(7):
        path.observe(step, model, torch.zeros(0), torch.zeros(0))
    assert path.readings == [(5, [None, 3.0])]
