"""The landscape study on digits, and its endpoints."""

import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.landscape import endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.settings import Settings
from bnstudy.studies import landscape
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model, train

OPTIONS = {"batch_size": 64, "learning_rates": [0.1], "probe_every": 10, "drift_steps": 5}
ENDPOINTS = {"learning_rate": 0.1, "smoothness_networks": ["relu2"]}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def table(digits_data):
    data = open_prepared(digits_data)
    cells = [{"norm": norm, "network": "relu2"} for norm in ("none", "batch")]
    rows = [cell | row for cell in cells for row in landscape.run(data, cell, OPTIONS, [0, 1], CPU)]
    return pd.DataFrame(rows)


def test_rows(table):
    assert table.value.notna().all()
    assert sorted(table.step.unique()) == [0, 10]
    layers = table.groupby("metric").layer.unique().to_dict()
    assert list(layers["ics_cosine"]) == [2, 3]
    assert list(layers["drift"]) == [2]
    assert pd.isna(layers["beta"]).all()
    raw = table[(table.norm == "none") & table.metric.isin(["drift", "drift_eval", "drift_raw"])]
    assert (raw.groupby(["seed", "step"]).value.nunique() == 1).all()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_probes_leave_training_alone(norm, digits_data):
    data = open_prepared(digits_data)
    settings = Settings(norm=norm, batch_size=64, seed=0, epochs=1, optimizer="sgd",
                        learning_rate=0.1, probe_every=100)  # fmt: skip
    splits = make_splits(data, settings, CPU)
    models = {}
    observed = {}
    for name in ("plain", "observed"):
        models[name] = make_model(64, 10, settings)
    train(models["plain"], splits, settings)

    def keep(model, splits, settings, observe):
        return train(
            model,
            splits,
            settings,
            observe=lambda *seen: (observe(*seen), observed.update(model=model)),
        )

    original, landscape.train = landscape.train, keep
    try:
        landscape.observed_run(data, settings, OPTIONS, CPU)
    finally:
        landscape.train = original
    expected, found = models["plain"].state_dict(), observed["model"].state_dict()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_endpoints_on_digits(table):
    found = endpoints(table, ENDPOINTS)
    assert (found["drift"].effect > 0).all()
    assert list(found["smoothness"].effect.index) == [0, 1]
    assert found["smoothness"].censored == 0


def test_endpoints_by_hand():
    def rows(metric, none, batch):
        return [
            {"network": "relu2", "norm": norm, "learning_rate": 0.1, "seed": 0, "step": 0,
             "layer": None, "metric": metric, "value": value}
            for norm, values in (("none", none), ("batch", batch))
            for value in values
        ]  # fmt: skip

    table = pd.DataFrame(
        rows("beta", [10, 1000], [1, 10])
        + rows("loss_range", [1], [1])
        + rows("cosine", [0.2, 0.4], [0.5, 0.7])
        + rows("ics_cosine", [0.9], [0.4])
        + rows("ics_relative_shift", [0.1], [1.0])
        + rows("drift", [0.1, None], [0.001, 0.001])
        + [r for m in ("drift_eval", "wasserstein", "wasserstein_eval") for r in rows(m, [1], [1])]
    )
    found = endpoints(table, ENDPOINTS)
    assert found["smoothness"].effect[0] == pytest.approx(1.5)  # log10: mean 2 minus mean 0.5
    assert found["smoothness"].conditions["cosine"].effect[0] == pytest.approx(0.3)
    assert found["covariate_shift"].effect[0] == pytest.approx(-0.5)
    assert found["relative_covariate_shift"].effect[0] == pytest.approx(-1)
    assert found["drift"].effect[0] == pytest.approx(2)
    assert found["drift"].censored == 1
    assert found["drift"].cells["relu2"][0] == pytest.approx(2)
