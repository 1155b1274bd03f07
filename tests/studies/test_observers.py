"""Observers of general use, by hand; and that looking at a run leaves it as it is."""

import csv
import json

import pytest
import torch
from torch import nn

from bnstudy.data.prepared import open_prepared
from bnstudy.errors import UserError
from bnstudy.networks.mlp import build_model
from bnstudy.provenance import code_sha256
from bnstudy.settings import Settings
from bnstudy.training.command import main
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model, train
from bnstudy.training.observers import OBSERVERS, make_observers, observed_code
from bnstudy.training.observers.activations import dead_shares
from bnstudy.training.observers.gradients import bias_norm, weight_norms

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


@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch"])
def test_nothing_that_is_observed_changes_a_run(digits_data, norm):
    settings = Settings(norm=norm, epochs=2, dropout=0.2, probe_every=5)
    splits = make_splits(open_prepared(digits_data), settings, CPU)
    models = [make_model(64, 10, settings) for _ in range(2)]
    plain = train(models[0], splits, settings)
    watched = train(models[1], splits, settings, observers=make_observers(list(OBSERVERS)))
    assert set(plain.metrics) < set(watched.metrics)
    for name, value in models[0].state_dict().items():
        assert torch.equal(value, models[1].state_dict()[name]), name
    epochs = {step: epoch for epoch, step, split, *_ in plain.metrics if split == "probe"}
    assert all(epochs[s] == e for e, s, split, *_ in watched.metrics if split == "probe")
    found = {metric for _, _, _, metric, _ in watched.metrics}
    assert {"gradient_norm:2", "weight_norm:3", "dead_units:1", "soft_rank", "bias_end"} <= found


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
    for wrong, told in (
        (["norms"], "no observer norms"),
        ([{"drift": {"step": 1}}], "drift cannot"),
    ):
        with pytest.raises(UserError, match=told):
            main([str(digits_data), "--observers", json.dumps(wrong), *options])
