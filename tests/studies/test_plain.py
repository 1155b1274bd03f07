"""Runs as rows: the core's loop, with input_scaling and fashion on top of it."""

import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints import fashion as fashion_endpoints
from bnstudy.claims.endpoints import input_scaling as input_scaling_endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.settings import Settings
from bnstudy.studies import fashion, input_scaling, plain
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model, train

CPU = torch.device("cpu")
OPTIONS = {"epochs": 2, "batch_size": 32, "probe_every": 5, "target": 0.5}


@pytest.fixture(scope="module")
def data(digits_data):
    return open_prepared(digits_data)


def test_a_row_is_the_run_of_the_core_with_the_same_settings(data):
    (row,) = plain.run(data, {"norm": "batch"}, OPTIONS, [3], CPU)
    settings = Settings("batch", 32, 3, epochs=2, probe_every=5)
    result = train(make_model(64, 10, settings), make_splits(data, settings, CPU), settings)
    assert row["test_accuracy"] == result.last("test", "accuracy")
    assert row["val_loss"] == result.last("validation", "loss")
    losses = [v for e, _, s, m, v in result.metrics if (s, m) == ("validation", "loss")]
    assert row["first_epoch_val_loss"] == losses[0] != row["val_loss"]
    assert row["n_steps"] == 2 * 36
    probes = {t: v for _, t, s, m, v in result.metrics if (s, m) == ("probe", "accuracy")}
    assert probes[row["steps_to_target"]] > 0.3  # the median of three reached one half


def test_what_a_cell_says_wins_and_a_study_s_own_keys_are_passed_over():
    settings = plain.make_settings(
        1, {"batch_size": 8, "hidden": [4, 4], "gains": [1]}, {"norm": "none", "batch_size": 16}
    )
    assert settings == Settings("none", 16, 1, hidden=(4, 4))


def test_a_diverged_run_has_a_row_without_results(data):
    options = OPTIONS | {"optimizer": "sgd", "learning_rate": 1e30}
    (row,) = plain.run(data, {"norm": "none"}, options, [0], CPU)
    assert row["status"] == "diverged"
    assert row["steps_to_target"] is row["test_accuracy"] is row["first_epoch_val_loss"] is None


def test_input_scaling_from_runs_to_endpoints(data):
    rows = [
        cell | row
        for norm in ("none", "batch")
        for scaling in ("symmetric", "standardize")
        for cell in [{"norm": norm, "scaling": scaling}]
        for row in input_scaling.run(data, cell, OPTIONS, [0, 1], CPU)
    ]
    found = input_scaling_endpoints.endpoints(pd.DataFrame(rows), OPTIONS)
    assert set(found) == {
        *("steps_symmetric", "steps_standardize", "steps_explained"),
        *("test_accuracy_symmetric", "test_accuracy_standardize", "test_accuracy_explained"),
    }
    assert all(list(endpoint.effect.index) == [0, 1] for endpoint in found.values())


def test_input_scaling_explains_the_difference_of_the_two_gains():
    rows = [
        {
            "norm": norm,
            "scaling": scaling,
            "seed": 0,
            "status": "ok",
            "n_steps": 100,
            "val_accuracy": 0.9,
            "test_accuracy": accuracy,
            "steps_to_target": 50,
        }
        for norm, scaling, accuracy in [
            ("none", "symmetric", 0.90),
            ("batch", "symmetric", 0.95),
            ("none", "standardize", 0.93),
            ("batch", "standardize", 0.95),
        ]
    ]
    found = input_scaling_endpoints.endpoints(pd.DataFrame(rows), {})
    assert found["test_accuracy_symmetric"].effect[0] == pytest.approx(5)
    assert found["test_accuracy_standardize"].effect[0] == pytest.approx(2)
    assert found["test_accuracy_explained"].effect[0] == pytest.approx(3)


def test_fashion_is_the_plain_study(data):
    rows = [
        {"norm": norm} | row
        for norm in ("none", "batch")
        for row in fashion.run(data, {"norm": norm, "dataset": "digits"}, OPTIONS, [0, 1], CPU)
    ]
    table = pd.DataFrame(rows)
    found = fashion_endpoints.endpoints(table, OPTIONS)
    wide = 100 * table.pivot(index="seed", columns="norm", values="test_accuracy")
    expected = (wide["batch"] - wide["none"]).tolist()
    assert found["test_accuracy"].effect.tolist() == pytest.approx(expected)
