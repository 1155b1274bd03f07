"""Gradients at initialization: the theory's published numbers, finite differences, endpoints."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.init_gradients import endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.studies import init_gradients
from bnstudy.studies.init_gradients import NETWORKS, growth_in_theory

OPTIONS = {"theory_depth": 12, "middle": [4, 8], "claim_depth": 12}


@pytest.mark.parametrize(
    ("batch_size", "published"),
    [(4, 3.084), (8, 1.788), (16, 1.590), (32, 1.522), (64, 1.493), (128, 1.480), (256, 1.473)],
)
def test_theory_relu(batch_size, published):
    assert growth_in_theory("batch_relu", batch_size) == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize(
    ("batch_size", "published"), [(32, 1.0345), (64, 1.0164), (128, 1.0080), (256, 1.0040)]
)
def test_theory_linear(batch_size, published):
    assert growth_in_theory("batch_linear", batch_size) == pytest.approx(published, abs=6e-5)


def test_theory_limits():
    assert growth_in_theory("batch_relu", 10**7) == pytest.approx(math.pi / (math.pi - 1))
    assert growth_in_theory("none_he", 32) == 1
    assert growth_in_theory("none_default", 32) == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="at least 4"):
        growth_in_theory("batch_relu", 3)


def test_theory_relu_by_simulation():
    """The step of the theorem that is no arithmetic, for B = 8, by Monte Carlo.

    With z uniform on the centred sphere of radius sqrt(B), D = diag(z > 0), C the centring and P
    the centring that also removes z: growth = B / (B - 3) * E tr(P D C D P) / ((B - 1) V), where
    V = E relu(z_1)^2 - E relu(z_1) relu(z_2).
    """
    size, n = 8, 100_000
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n, size))
    z -= z.mean(1, keepdims=True)
    z *= math.sqrt(size) / np.linalg.norm(z, axis=1, keepdims=True)
    centring = np.eye(size) - 1 / size
    positive = (z > 0).astype(float)
    projection = centring - z[:, :, None] * z[:, None, :] / size
    middle = positive[:, :, None] * centring * positive[:, None, :]
    trace = np.einsum("nij,njk,nki->n", projection, middle, projection).mean()
    relu = z * positive
    variance = (relu**2).mean() - (relu[:, 0] * relu[:, 1]).mean()
    simulated = size / (size - 3) * trace / ((size - 1) * variance)
    assert growth_in_theory("batch_relu", size) == pytest.approx(simulated, rel=0.01)


@pytest.fixture(scope="module")
def table(digits_data):
    data = open_prepared(digits_data)
    options = {"batch_sizes": [32], "depths": [12], "width": 256}
    rows = [
        {"network": network} | row
        for network in NETWORKS
        for row in init_gradients.run(
            data, {"network": network}, options, [0, 1, 2], torch.device("cpu")
        )
    ]
    return pd.DataFrame(rows)


def test_rows(table, digits_data):
    assert len(table) == 4 * 3 * 12
    # The growth is that of the gradients.
    one = table[(table.network == "batch_relu") & (table.seed == 0)].sort_values("layer")
    g = one.gradient.to_numpy()
    np.testing.assert_allclose(one.growth[:-1], g[:-1] ** 2 / g[1:] ** 2)
    assert one.growth.isna().tolist() == [False] * 11 + [True]
    again = init_gradients.run(
        open_prepared(digits_data),
        {"network": "batch_relu"},
        {"batch_sizes": [32], "depths": [12], "width": 256},
        [0],
        torch.device("cpu"),
    )
    assert [row["gradient"] for row in again] == g.tolist()


def test_endpoints_on_digits(table):
    found = endpoints(table, OPTIONS)
    assert found["growth_with_batch"].value < 0.08  # a quarter of the study's networks and width
    assert found["growth_without"].value < 0.08
    assert (found["vanishing"].effect > 2).all()  # 6^(11/2) is 4 decades
    assert (found["exploding"].effect < -0.5).all()  # batch normalization explodes, He does not


def test_endpoints_by_hand():
    """Two layers, one seed: ranges and ratios that can be read off."""
    gradients = {
        "none_default": (1, 1000),  # vanishes towards the input: range 3, explosion -3
        "none_he": (1, 1),
        "batch_relu": (10, 1),  # range 1, explosion 1
        "batch_linear": (2, 1),
    }
    table = pd.DataFrame(
        {
            "network": network,
            "batch_size": 32,
            "seed": 0,
            "depth": 2,
            "layer": layer,
            "weight_gradient": gradient,
            "growth": 1.03 if layer == 1 else None,
            "theory": 1.0,
        }
        for network, pair in gradients.items()
        for layer, gradient in enumerate(pair, start=1)
    )
    found = endpoints(table, {"theory_depth": 2, "middle": [1, 1], "claim_depth": 2})
    assert found["vanishing"].effect.tolist() == pytest.approx([2])
    assert found["exploding"].effect.tolist() == pytest.approx([-1])
    assert found["exploding"].cells["batch size 32"].tolist() == pytest.approx([-1])
    assert found["growth_with_batch"].holds
    assert found["growth_with_batch"].value == pytest.approx(0.03)
    table["growth"] *= 1.05
    assert not endpoints(table, {"theory_depth": 2, "middle": [1, 1], "claim_depth": 2})[
        "growth_with_batch"
    ].holds
