"""Gradients of every layer while training, against backpropagation written out by hand."""

import numpy as np
import pytest
import torch

from bnstudy.data.prepared import open_prepared
from bnstudy.settings import Settings
from bnstudy.training.inputs import make_splits, stream_generator
from bnstudy.training.loop import make_model, train
from bnstudy.training.observers.gradients import GradientNorms, hidden_gradient_norms
from small import rows, study

CPU = torch.device("cpu")
SMALL = study(
    "gradient_paths",
    {"epochs": 1, "batch_size": 64, "hidden": [16] * 3},
    observers=[{"gradient_norms": {"steps": [0, 2, 7, 999]}}],
)


def backpropagated(weights, biases, inputs, labels):
    """Frobenius norms of dL/dW of the hidden layers of a ReLU network, in numpy."""
    kept, outputs = [inputs], inputs
    for weight, bias in zip(weights, biases, strict=True):
        sums = outputs @ weight.T + bias
        outputs = np.maximum(sums, 0)
        kept.append(outputs)
    odds = np.exp(sums - sums.max(axis=1, keepdims=True))
    delta = (odds / odds.sum(axis=1, keepdims=True) - np.eye(len(weights[-1]))[labels]) / len(labels)
    norms = []
    for layer in range(len(weights) - 1, -1, -1):
        norms.append(np.linalg.norm(delta.T @ kept[layer]))
        delta = (delta @ weights[layer]) * (kept[layer] > 0)
    return norms[::-1][:-1]


def test_a_row_per_step_and_layer_as_by_hand(digits_data):
    data = open_prepared(digits_data)
    cell = {"norm": "none", "initialization": "he"}
    found = [row for row in rows(SMALL, data, seeds=4, **cell) if row["seed"] == 1003]
    assert [(row["step"], row["layer"]) for row in found] == [
        (step, layer) for step in (0, 2, 7) for layer in (1, 2, 3)
    ]
    # The first batch and the first weights, without the training loop.
    settings = Settings(norm="none", batch_size=64, seed=1003, hidden=(16,) * 3, initialization="he", epochs=1)
    train_split = make_splits(data, settings, CPU)["train"]
    order = torch.randperm(len(train_split), generator=stream_generator(1003, "order"))
    batch = train_split.take(order[:64])
    parameters = [p.detach().double().numpy() for p in make_model(64, 10, settings).parameters()]
    expected = backpropagated(parameters[::2], parameters[1::2], batch.inputs.double().numpy(), batch.labels.numpy())
    assert [row["gradient_norm"] for row in found[:3]] == pytest.approx(expected, rel=1e-4)


def test_reading_gradients_does_not_change_training(digits_data):
    data = open_prepared(digits_data)
    settings = Settings(norm="batch", batch_size=64, seed=0, hidden=(16,) * 3, epochs=1)
    finals = []
    for observers in ([], [GradientNorms([0, 5])]):
        model = make_model(64, 10, settings)
        train(model, make_splits(data, settings, CPU), settings, observers=observers)
        finals.append(model.state_dict())
    assert all(torch.equal(value, finals[1][name]) for name, value in finals[0].items())


def test_a_gradient_that_is_not_finite_is_left_empty(digits_data):
    model = make_model(4, 2, Settings(norm="none", batch_size=4, seed=0, hidden=(3, 3)))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model[0].weight.grad[0, 0] = torch.nan
    settings = Settings(norm="none", batch_size=64, epochs=1, optimizer="sgd", learning_rate=1e30)
    assert hidden_gradient_norms(model)[1] == 3.0
    splits = make_splits(open_prepared(digits_data), settings, CPU)
    run = train(make_model(64, 10, settings), splits, settings, observers=[GradientNorms([0, 3])])
    found = [row[1:] for row in run.metrics if row[3].startswith("gradient_norm")]
    assert found[2:] == [(3, "train", f"gradient_norm:{layer}", None) for layer in (1, 2)]
