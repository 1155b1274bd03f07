"""Measurements whose result surprised, made a second time: in numpy, from the definitions.

Covariate shift as the change of gradients (B1b), gradients at initialization (B8), and the
generalization gap with groups of other sizes (B10b). Weights and batches are those of the study;
everything after that is `numpy_network`.
"""

import numpy as np
import pytest
import torch
from numpy_network import Adam, covariate_shift, from_torch, loss_of, sgd_step

from bnstudy.claims.endpoints.mechanisms import matched_gap
from bnstudy.data.prepared import open_prepared
from bnstudy.settings import Settings
from bnstudy.studies import init_gradients
from bnstudy.training.inputs import make_splits, stream_generator
from bnstudy.training.loop import make_model
from bnstudy.training.observers import landscape
from perceptrons import build_model
from small import rows, study

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(digits_data):
    return open_prepared(digits_data)


def numbers(split):
    return split.inputs.double().numpy(), split.labels.numpy()


def epochs_of_batches(split, seed, batch_size, epochs):
    """The batches that the training loop sees, in double precision, an epoch at a time."""
    generator = stream_generator(seed, "order")
    for _ in range(epochs):
        order = torch.randperm(len(split), generator=generator)
        x, labels = numbers(split.take(order))
        yield [(x[i : i + batch_size], labels[i : i + batch_size]) for i in range(0, len(x), batch_size)]


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_covariate_shift_of_one_step(norm, activation):
    generator = torch.Generator().manual_seed(4)
    model = build_model(7, 3, hidden=(6, 5, 4), norm=norm, activation=activation, generator=generator)
    x = torch.randn(16, 7, dtype=torch.float64, generator=generator)
    labels = torch.arange(16) % 3
    expected = covariate_shift(from_torch(model, activation=activation), x.numpy(), labels.numpy(), 0.3)
    found = landscape.covariate_shift(model.double(), x, labels, 0.3)
    assert list(found) == list(expected)
    for layer, row in found.items():
        cosine, relative = expected[layer]
        assert row["cosine"] == pytest.approx(cosine, abs=1e-9)
        assert row["relative_shift"] == pytest.approx(relative, rel=1e-6)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("network", ["relu2", "relu5", "sigmoid3"])
def test_covariate_shift_along_a_training_run(data, norm, network):
    observers = [{"landscape": {"landscape_every": 4, "drift_steps": 3}}]
    small = study("landscape", {"batch_size": 64}, observers=observers)
    small["grid"]["learning_rate"] = [0.1]
    measured = {
        (row["step"], row["layer"]): row["value"]
        for row in rows(small, data, seeds=3, norm=norm, network=network)
        if row["metric"] == "ics_cosine" and row["seed"] == 1002
    }
    hidden, activation = small["variants"]["network"][network].values()
    settings = Settings(norm=norm, seed=1002, hidden=tuple(hidden), activation=activation)
    split = make_splits(data, settings, CPU)["train"]
    ours = from_torch(make_model(64, 10, settings), activation=activation)
    (batches,) = epochs_of_batches(split, 1002, 64, 1)
    compared = 0
    for step, (x, labels) in enumerate(batches):
        if step % 4 == 0:
            for layer, (cosine, _) in covariate_shift(ours, x, labels, 0.1).items():
                assert measured[step, layer] == pytest.approx(cosine, abs=2e-3)
                compared += 1
        sgd_step(ours, ours.gradients(x, labels), 0.1)
    assert compared == len(measured) > 0


@pytest.mark.parametrize("network", ["none_scaled", "batch_scaled"])
def test_gradients_at_initialization(data, network):
    options = {"claim_batch_size": 32, "claim_depth": 12, "width": 48, "gains": [2]}
    found = init_gradients.run(data, {"network": network}, options, 1, CPU)
    norm, initialization, _ = init_gradients.NETWORKS[network]
    settings = Settings(norm=norm, seed=1, hidden=(48,) * 12, initialization=initialization, gain=2.0)
    ours = from_torch(make_model(64, 10, settings))
    order = torch.randperm(len(data.train_images), generator=stream_generator(1, "order"))[:32]
    pixels = data.train_images[order].flatten(1).double().numpy()
    x = (pixels / data.pixel_max - 0.5) / 0.5
    gradients = ours.gradients(x, data.train_labels[order].numpy())
    expected = [np.linalg.norm(own[0]) for own in gradients[:-1]]
    assert [row["weight_gradient"] for row in found] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("arm", ["batch", "ghost_4", "ghost_10"])
def test_gap_of_normalization_in_groups(data, arm):
    """Losses of every epoch, and the gap at a training loss that is passed on the way."""
    images = {"train_images": 200, "validation_images": 150}
    small = study("regularization", {"batch_size": 40, "epochs": 12} | images)
    found = [row for row in rows(small, data, seeds=6, arm=arm) if row["seed"] == 1005]
    settings = Settings(norm="batch", hidden=small["settings"]["hidden"], batch_size=40, seed=1005)
    splits = make_splits(data, settings, CPU)
    train, validation = splits["train"].first(200), splits["validation"].first(150)
    group = int(arm.partition("_")[2] or 40)
    ours = from_torch(make_model(64, 10, settings), group=group)
    optimizer = Adam(ours, 0.001)
    train_losses, validation_losses = [], []
    for batches in epochs_of_batches(train, 1005, 40, 12):
        for x, labels in batches:
            optimizer.step(ours.gradients(x, labels, track=True))
        train_losses.append(loss_of(ours, *numbers(train), training=False))
        validation_losses.append(loss_of(ours, *numbers(validation), training=False))
    assert [row["train_loss"] for row in found] == pytest.approx(train_losses, rel=5e-3)
    assert [row["val_loss"] for row in found] == pytest.approx(validation_losses, rel=5e-3)
    target = (train_losses[5] * train_losses[7]) ** 0.5
    assert train_losses == sorted(train_losses, reverse=True)  # or "first" would matter
    at_target = np.interp(-np.log(target), -np.log(train_losses), validation_losses)
    gap, reached = matched_gap(*(np.array([row[name] for row in found]) for name in ("train_loss", "val_loss")), target)
    assert reached
    assert gap == pytest.approx(at_target - target, rel=2e-2)
