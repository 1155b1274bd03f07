"""Observers of general use, by hand; and that looking at a run leaves it as it is."""

import csv
import json

import numpy as np
import pytest
import torch
from torch import nn

from bnstudy.data.prepared import open_prepared
from bnstudy.errors import UserError
from bnstudy.networks.models import build
from bnstudy.provenance import code_sha256
from bnstudy.settings import Settings
from bnstudy.training.command import main
from bnstudy.training.inputs import Scaling, Split, make_splits
from bnstudy.training.loop import make_model, train
from bnstudy.training.observers import OBSERVERS, make_observers, observed_code, refused
from bnstudy.training.observers.activations import dead_shares, last_activations, last_hidden_activations
from bnstudy.training.observers.gradients import bias_norm, weight_norms
from bnstudy.training.observers.inference import (
    evaluate_with_batch_statistics,
    variance_shifts,
    with_precise_statistics,
)
from perceptrons import build_model

CPU = torch.device("cpu")


def two_layers() -> nn.Sequential:
    model = build_model(2, 2, hidden=(2,))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
        model[0].bias.copy_(torch.tensor([-6.0, 8.0]))
        model[2].weight.fill_(1.0)
        model[2].bias.fill_(9.0)
    return model


def test_norms_by_hand():
    nothing = torch.zeros(0)
    norms = weight_norms(two_layers(), nothing, nothing)
    assert norms == {"weight_norm:1": 5.0, "weight_norm:2": 2.0}
    assert bias_norm(two_layers()) == 10.0  # the output layer's does not count


def test_a_unit_is_dead_where_no_image_wakes_it():
    """The first unit needs an input above 2, the second one above -2."""
    asleep = torch.tensor([[1.0, -3.0], [2.0, 0.0]])
    assert dead_shares(two_layers(), asleep) == [0.5]
    assert dead_shares(two_layers(), asleep + torch.tensor([0.5, 0.0])) == [0.0]
    assert dead_shares(two_layers(), torch.tensor([[0.0, -3.0]])) == [1.0]


@pytest.mark.parametrize(
    ("kind", "norm"),
    [
        *(("mlp", norm) for norm in ("none", "batch", "noisy_batch", "weight", "population")),
        *(("cnn", norm) for norm in ("none", "batch", "ghost:16", "batch_no_affine", "weight")),
        ("resnet", "batch_detached"),
        ("resnet", "group:4"),
    ],
)
def test_nothing_that_is_observed_changes_a_run(digits_data, kind, norm):
    settings = Settings(
        kind=kind, norm=norm, channels=(4,), depth=8, epochs=2, dropout=0.2, probe_every=5,
        train_images=320,
    )  # fmt: skip
    splits = make_splits(open_prepared(digits_data), settings, CPU)
    shape = splits["train"].pixels.shape[1:]
    models = [make_model(shape, 10, settings) for _ in range(2)]
    plain = train(models[0], splits, settings)
    fit = [name for name in OBSERVERS if not refused([name], norm)]
    watched = train(models[1], splits, settings, observers=make_observers(fit))
    assert set(plain.metrics) < set(watched.metrics)
    for name, value in models[0].state_dict().items():
        assert torch.equal(value, models[1].state_dict()[name]), name
    epochs = {step: epoch for epoch, step, split, *_ in plain.metrics if split == "probe"}
    assert all(epochs[s] == e for e, s, split, *_ in watched.metrics if split == "probe")
    found = {metric for _, _, _, metric, _ in watched.metrics}
    assert {"weight_norm:2", "dead_units:1", "soft_rank", "bias_end", "drift"} <= found
    assert ("gradient_norm:1" in found) == (norm != "weight")
    assert ("variance_shift_1" in found) == ("batch" in norm or "ghost" in norm or norm == "population")


@torch.no_grad()
def test_statistics_of_maps_are_those_over_images_and_positions():
    """Against numpy, on a network of one convolution whose normalization has another epsilon."""
    torch.manual_seed(0)
    settings = Settings(kind="cnn", norm="batch", channels=(3,), norm_epsilon=0.5, activation="tanh")
    model = build(settings, (1, 4, 4), 2)
    pixels = torch.randint(0, 256, (12, 1, 4, 4), dtype=torch.uint8)
    split = Split(pixels, torch.randint(0, 2, (12,)), Scaling(255))
    before = model[:2].double()(split.inputs.double()).numpy()  # convolution and pooling
    model.float()
    model[2].running_var.fill_(2.0)
    expected = before.var(axis=(0, 2, 3), ddof=1).mean() / 2
    assert variance_shifts(model, split) == [pytest.approx(expected, rel=1e-5)]
    mean, variance = before.mean((0, 2, 3)), before.var((0, 2, 3), ddof=1)
    precise = with_precise_statistics(model, split)[2]
    assert precise.running_mean.numpy() == pytest.approx(mean, rel=1e-5, abs=1e-6)
    assert precise.running_var.numpy() == pytest.approx(variance, rel=1e-5)
    groups = before.reshape(3, 4, 3, 2, 2)
    centred = groups - groups.mean((1, 3, 4), keepdims=True)
    hidden = np.tanh(centred / np.sqrt(groups.var((1, 3, 4), keepdims=True) + 0.5))
    logits = hidden.reshape(12, 12) @ model[-1].weight.numpy().T + model[-1].bias.numpy()
    chosen = np.exp(logits)[range(12), split.labels] / np.exp(logits).sum(1)
    loss, accuracy = evaluate_with_batch_statistics(model, split, 4)
    assert loss == pytest.approx(-np.log(chosen).mean(), rel=1e-5)
    assert accuracy == (logits.argmax(1) == split.labels.numpy()).mean()


@torch.no_grad()
def test_the_last_nonlinearity_of_a_residual_network_is_behind_its_last_block():
    settings = Settings(kind="resnet", norm="batch", depth=8)
    model = build(settings, (1, 8, 8), 3).eval()
    images = torch.randn(5, 1, 8, 8)
    *_, block, _, _ = model
    into = model[:-3](images)
    summed = block.body(into) + into[:, :, ::2, ::2].repeat(1, 2, 1, 1).mul(
        torch.tensor([1.0] * 32 + [0.0] * 32).view(-1, 1, 1)  # new channels are zero
    )
    found = last_activations(model, images)
    assert torch.allclose(found["eval"], summed.permute(0, 2, 3, 1).reshape(-1, 64))
    assert last_hidden_activations(model, images).shape == (5, 64)


def test_what_cannot_be_observed_is_refused_before_a_run(digits_data, tmp_path):
    options = ["--norm", "weight", "--observers", '["gradient_norms"]', "--out", str(tmp_path)]
    with pytest.raises(UserError, match="--norm: weight cannot be observed by gradient_norms"):
        main([str(digits_data), *options])


def test_a_run_of_the_grid_is_observed_by_the_same(digits_data, tmp_path):
    entries = ["weight_norms", {"soft_rank": {"probe_images": 50}}]
    options = ["--epochs", "2", "--probe-every", "25", "--device", "cpu", "--out", str(tmp_path)]
    main([str(digits_data), "--observers", json.dumps(entries), *options])
    run = json.loads((tmp_path / "run.json").read_text())
    with open(tmp_path / "metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] in run["observed"]]
    assert run["observers"] == entries
    assert set(run["observed"]) == {
        *("soft_rank", "soft_rank_initial"),
        *(f"weight_norm:{layer}" for layer in (1, 2, 3)),
    }
    assert [row["step"] for row in rows if row["metric"] == "weight_norm:1"] == ["0", "25"]
    assert run["code_sha256"] == code_sha256(observed_code(entries)) != code_sha256()
    for wrong, told in ((["norms"], "no observer norms"), ([{"drift": {"step": 1}}], "drift cannot")):
        with pytest.raises(UserError, match=told):
            main([str(digits_data), "--observers", json.dumps(wrong), *options])
