"""Gradients at initialization: the theory's published numbers, finite differences, endpoints."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.initialization import against_theory, growth_by_network
from bnstudy.claims.endpoints.initialization import init_gradients as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.studies import init_gradients
from bnstudy.studies.init_gradients import NETWORKS, growth_in_theory

OPTIONS = {"theory_depth": 12, "middle": [4, 8], "claim_depth": 12, "claim_batch_size": 32}
OPTIONS |= {"batch_sizes": [8], "width": 256, "gains": [0.5, 1, 2]}


@pytest.mark.parametrize(
    ("batch_size", "published"),
    [(4, 3.084), (8, 1.788), (16, 1.590), (32, 1.522), (64, 1.493), (128, 1.480), (256, 1.473)],
)
def test_theory_relu(batch_size, published):
    assert growth_in_theory("batch_relu", batch_size) == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize(("batch_size", "published"), [(32, 1.0345), (64, 1.0164), (128, 1.0080), (256, 1.0040)])
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
    rows = [
        {"network": network, "seed": seed} | row
        for network in NETWORKS
        for seed in range(8)
        for row in init_gradients.run(data, {"network": network}, OPTIONS, seed, torch.device("cpu"))
    ]
    return pd.DataFrame(rows)


def test_rows(table, digits_data):
    assert len(table) == (4 * 1 + 2 * 3) * 8 * 12
    # The growth is that of the gradients.
    one = table[(table.network == "batch_relu") & (table.seed == 0)].sort_values("layer")
    g = one.gradient.to_numpy()
    np.testing.assert_allclose(one.growth[:-1], g[:-1] ** 2 / g[1:] ** 2)
    assert one.growth.isna().tolist() == [False] * 11 + [True]
    data, cpu = open_prepared(digits_data), torch.device("cpu")
    again = init_gradients.run(data, {"network": "batch_relu"}, OPTIONS, 0, cpu)
    assert [row["gradient"] for row in again] == g.tolist()


def test_endpoints_on_digits(table):
    found = endpoints(table, OPTIONS)
    assert found["growth_without"].holds
    assert (found["vanishing"].effect > 0.5).all()  # 2^11 is 3 decades, in half of the cells
    assert (found["exploding"].effect > 0.5).all()
    at_he, beyond = found["exploding"].cells.values()
    assert (at_he < 0).all()  # where nothing explodes without
    assert (beyond > 1).all()
    assert found["growth_a_layer"].effect.mean() == pytest.approx(math.log10(1.48), abs=0.03)


def test_endpoints_by_hand():
    """Two layers: sizes and growths that can be read off."""
    rows = []
    # Without normalization ten times the scale is a hundred times the gradient; with it, ten times less.
    for network, size, growth in (("none", 100.0, 100.0), ("batch", 0.1, 1.5)):
        for gain, power in ((0.1, -1), (1.0, 0), (10.0, 1)):
            rows += [
                (f"{network}_scaled", gain, 3 * size**power, growth ** (power if network == "none" else 1)),
                (f"{network}_scaled", gain, 4 * size**power, None),
            ]
    rows += [(name, 1.0, 1.0, g) for name in ("batch_relu", "none_he") for g in (1.0, None)]
    table = pd.DataFrame(rows, columns=["network", "gain", "weight_gradient", "growth"])
    table = table.assign(layer=[1, 2] * 8, depth=2, batch_size=32, theory=1.0)
    table = pd.concat([table.assign(seed=seed) for seed in range(3)], ignore_index=True)
    noise = {0: 0.99, 1: 1.0, 2: 1.02}
    theory = ~table["network"].str.endswith("scaled")
    table.loc[theory, "growth"] *= table["seed"].map(noise)
    options = {"theory_depth": 2, "middle": [1, 1]}
    found = endpoints(table, options)
    # At a tenth: 10 against 0.01 is 3 decades; at one the same. Beyond: 100 against 0.1.
    assert found["vanishing"].effect.tolist() == pytest.approx([1.5] * 3)
    assert found["exploding"].effect.tolist() == pytest.approx([1.5] * 3)
    steady = (math.log(100) + 0) / 2 - math.log(1.5)
    assert found["exploding"].conditions["growth"].effect.tolist() == pytest.approx([steady] * 3)
    assert found["growth_a_layer"].effect.tolist() == pytest.approx([math.log10(1.5)] * 3)
    # t = mean / (sd / sqrt(3)) of ln 0.99, 0, ln 1.02, and 1.467 is far from it.
    logs = np.log(list(noise.values()))
    z = logs.mean() / (logs.std(ddof=1) / math.sqrt(3))
    assert found["growth_with_batch"].value == pytest.approx(z)
    assert found["growth_with_batch"].tolerance == pytest.approx(4.302653, abs=1e-6)  # t(0.975, 2)
    assert found["growth_with_batch"].holds


@pytest.mark.parametrize("truth", [1.2, 1.0, 1.25])
def test_only_the_right_theory_holds(truth):
    """Growths of linear layers at B = 8 in worlds where the theory, 6/5, is right and where it is not."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"network": "batch_linear", "batch_size": 8, "depth": 3, "layer": 1, "theory": 1.2,
         "seed": range(12), "growth": truth * np.exp(rng.normal(0, 0.01, 12))}
    )  # fmt: skip
    growth = growth_by_network(table, {"theory_depth": 3, "middle": [1, 2]})
    assert against_theory(growth).holds == (truth == 1.2)
