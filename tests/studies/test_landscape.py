"""The landscape study on digits, and its endpoints."""

import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.mechanisms import landscape as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.settings import Settings
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model, train
from bnstudy.training.observers import make_observers
from small import rows, study

OBSERVERS = [{"landscape": {"landscape_every": 10, "drift_steps": 5}}]
ENDPOINTS = {"smoothness_networks": ["relu2"]}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def table(digits_data):
    data = open_prepared(digits_data)
    small = study("landscape", {"batch_size": 64}, observers=OBSERVERS)
    small["grid"]["network"] = ["relu2"]
    return pd.DataFrame(rows(small, data))


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
    states = []
    for observers in ([], make_observers(OBSERVERS)):
        model = make_model(64, 10, settings)
        train(model, splits, settings, observers=observers)
        states.append(model.state_dict())
    assert all(torch.equal(states[1][key], value) for key, value in states[0].items())


def test_endpoints_on_digits(table):
    found = endpoints(table, ENDPOINTS)
    assert (found["drift"].effect > 0).all()
    assert list(found["smoothness"].effect.index) == [1000, 1001]


def test_endpoints_by_hand():
    def made(metric, none, batch):
        return [
            {"network": "relu2", "norm": norm, "seed": 0, "step": 0,
             "layer": None, "metric": metric, "value": value}
            for norm, values in (("none", none), ("batch", batch))
            for value in values
        ]  # fmt: skip

    table = pd.DataFrame(
        made("beta", [10, 1000], [1, 10])
        + made("loss_range", [1], [1])
        + made("cosine", [0.2, 0.4], [0.5, 0.7])
        + made("ics_cosine", [0.9], [0.4])
        + made("ics_relative_shift", [0.1], [1.0])
        + made("drift", [0.1, None], [0.001, 0.001])
        + [r for m in ("drift_eval", "wasserstein", "wasserstein_eval") for r in made(m, [1], [1])]
    )
    found = endpoints(table, ENDPOINTS)
    assert found["smoothness"].effect[0] == pytest.approx(1.5)  # log10: mean 2 minus mean 0.5
    assert found["smoothness"].conditions["cosine"].effect[0] == pytest.approx(0.3)
    assert found["covariate_shift"].effect[0] == pytest.approx(-0.5)
    assert found["relative_covariate_shift"].effect[0] == pytest.approx(-1)
    assert found["drift"].effect[0] == pytest.approx(2)
    assert found["drift"].cells["2 ReLU layers"][0] == pytest.approx(2)
