"""Initial scales: the exact law behind the study, and its endpoint by hand."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.initialization import init_gains as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.networks.weights import scale_weights
from bnstudy.settings import Settings
from bnstudy.training.loop import make_model
from perceptrons import build_model
from small import rows, study


def network(norm: str, gain: float, scaled: str) -> torch.nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    model = build_model(20, 10, hidden=(16, 8), norm=norm, initialization="he", generator=generator).double()
    scale_weights(model, gain, scaled)
    return model


@pytest.mark.parametrize("gain", [0.1, 3.0, 10.0])
def test_scaling_hidden_layers_leaves_a_normalized_network_as_it_was(gain):
    """BN((g W) u) = BN(W u), up to epsilon: in training mode and for every g."""
    inputs = torch.randn(64, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for scaled, factor in (("hidden", 1.0), ("all", gain)):
        expected = factor * network("batch", 1.0, "hidden")(inputs)
        torch.testing.assert_close(network("batch", gain, scaled)(inputs), expected, rtol=0.02, atol=0.01)
    # Without normalization the logits scale with every layer: three of them here, biases zero.
    expected = gain**3 * network("none", 1.0, "all")(inputs)
    torch.testing.assert_close(network("none", gain, "all")(inputs), expected)


def test_weights_have_he_s_deviation_times_the_gain():
    model = build_model(400, 10, hidden=(500,), initialization="he", generator=torch.Generator().manual_seed(0))
    scale_weights(model, 3.0, "all")
    assert model[0].weight.std().item() == pytest.approx(3 * (2 / 400) ** 0.5, rel=0.01)
    assert not model[0].bias.any()


def test_endpoint_by_hand():
    accuracy = {
        ("none", "adam"): [0.80, 0.95],
        ("none", "sgd"): [None, 0.90],  # diverged: 10 %
        ("batch", "adam"): [0.94, 0.96],
        ("batch", "sgd"): [0.90, 0.96],
    }
    table = pd.DataFrame(
        {
            "norm": norm,
            "optimizer": optimizer,
            "seed": seed,
            "gain": gain,
            "status": "diverged" if value is None else "ok",
            "n_classes": 10,
            "val_accuracy": value,
        }
        for (norm, optimizer), values in accuracy.items()
        for seed in (0, 1)
        for gain, value in zip([0.1, 1.0], values, strict=True)
    )
    found = endpoints(table, {})
    assert set(found) == {"accuracy_range"}
    endpoint = found["accuracy_range"]
    assert endpoint.cells["Adam"].tolist() == pytest.approx([13, 13])
    assert endpoint.cells["SGD"].tolist() == pytest.approx([74, 74])
    assert endpoint.effect.tolist() == pytest.approx([43.5, 43.5])
    assert endpoint.note.startswith("2 of 8 runs without and 0 of 8")


def test_gains_of_a_seed_scale_the_same_draws(digits_data):
    data = open_prepared(digits_data)
    small = study("init_gains", {"batch_size": 64, "probe_every": 100})
    small["grid"]["gain"] = [0.1, 1]
    cell = {"norm": "batch", "optimizer": "sgd"}
    found = rows(small, data, **cell)
    assert [(row["seed"], row["gain"]) for row in found] == [(1000, 0.1), (1000, 1), (1001, 0.1), (1001, 1)]
    assert found == rows(small, data, **cell)
    settings = Settings(norm="batch", initialization="he", gain=0.1, gain_layers="hidden")
    scaled, plain = (make_model(64, 10, s) for s in (settings, replace(settings, gain=1.0)))
    torch.testing.assert_close(scaled[0].weight, 0.1 * plain[0].weight)
    assert torch.equal(scaled[-1].weight, plain[-1].weight)
