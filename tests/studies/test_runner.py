"""Runs as rows: the core's loop, with input_scaling and fashion on top of it."""

import json

import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.base import metric_endpoint
from bnstudy.data.prepared import open_prepared
from bnstudy.errors import UserError
from bnstudy.settings import Settings
from bnstudy.studies import declaration
from bnstudy.studies.declaration import CODE_STUDIES
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model, train
from small import all_shipped, rows, study

CPU = torch.device("cpu")
SETTINGS = {"epochs": 2, "batch_size": 32, "probe_every": 5, "target": 0.5}


@pytest.fixture(scope="module")
def data(digits_data):
    return open_prepared(digits_data)


def test_a_row_is_the_run_of_the_core_with_the_same_settings(data):
    one = {"settings": SETTINGS, "grid": {"norm": ["batch"]}, "targets": [0.3]}
    row = rows(one, data, seeds=4)[3]
    settings = Settings(norm="batch", batch_size=32, seed=1003, epochs=2, probe_every=5)
    result = train(make_model(64, 10, settings), make_splits(data, settings, CPU), settings)
    assert (row["norm"], row["seed"], row["n_classes"]) == ("batch", 1003, 10)
    assert row["test_accuracy"] == result.last("test", "accuracy")
    assert row["val_loss"] == result.last("validation", "loss")
    assert row["n_steps"] == 2 * 36
    assert row["steps_to_30"] < row["steps_to_target"] == result.steps_to(0.5)


def test_what_a_level_stands_for_wins_over_the_settings_of_all_runs():
    one = {
        "settings": {"batch_size": 8, "hidden": [4, 4]},
        "variants": {"arm": {"a": {"batch_size": 16}, "b": {"norm": "batch"}}},
        "grid": [{"arm": ["a", "b"]}, {"norm": ["layer"], "dropout": [0.5]}],
    }
    found = declaration.runs(one, "digits", 2)
    assert [levels for levels, _ in found[:3]] == [
        {"arm": "a", "norm": "none", "dropout": 0.0, "seed": 1000},
        {"arm": "b", "norm": "batch", "dropout": 0.0, "seed": 1000},
        {"arm": None, "norm": "layer", "dropout": 0.5, "seed": 1000},
    ]
    assert found[3][1] == Settings(dataset="digits", batch_size=16, seed=1001, hidden=(4, 4))


def test_every_run_of_a_study_is_in_one_cell():
    for name, shipped in all_shipped().items():
        if name in CODE_STUDIES:
            continue
        parts = [declaration.cell_part(shipped, c) for c in declaration.cells(shipped).values()]
        runs = [run for part in parts for run in declaration.runs(part, "mnist", 2)]
        whole = declaration.runs(shipped, "mnist", 2)
        assert sorted(map(repr, runs)) == sorted(map(repr, whole)), name
        assert len(set(map(repr, runs))) == len(runs), name
        # What a job is told stays the same through JSON.
        assert json.loads(json.dumps(parts)) == parts


def test_a_run_that_is_impossible_is_one_sentence(data):
    with pytest.raises(UserError, match=r"^batch_size: 1149 .*the nearest valid choice is"):
        rows({"grid": {"norm": ["batch"], "batch_size": [1149]}}, data)


def test_a_diverged_run_has_a_row_without_results(data):
    settings = SETTINGS | {"optimizer": "sgd", "learning_rate": 1e30}
    (row,) = rows({"settings": settings, "grid": {"norm": ["none"]}}, data, seeds=1)
    assert row["status"] == "diverged"
    assert row["steps_to_target"] is row["test_accuracy"] is row["val_loss"] is None


def claim(metric: str, **about) -> dict:
    known = {"axis": "norm", "baseline": "none", "level": "batch", "direction": "higher"}
    return known | {"metric": metric, "scale": "difference", "where": {}, "unit": ""} | about


def test_input_scaling_from_runs_to_endpoints(data):
    table = pd.DataFrame(rows(study("input_scaling", SETTINGS), data))
    for scaling in ("symmetric", "standardize"):
        wanted = claim("test_accuracy", where={"scaling": scaling})
        found = metric_endpoint(wanted, table, ["norm", "scaling", "seed"])
        part = table[table["scaling"] == scaling]
        wide = 100 * part.pivot(index="seed", columns="norm", values="test_accuracy")
        assert found.effect.tolist() == pytest.approx((wide["batch"] - wide["none"]).tolist())


def test_fashion_on_its_own_dataset_only(data):
    small = study("fashion", SETTINGS)
    with pytest.raises(UserError, match="cannot be trained on digits"):
        rows(small, data)
    small["grid"] |= {"dataset": ["digits"], "batch_size": [32]}
    table = pd.DataFrame(rows(small, data))
    found = metric_endpoint(claim("test_accuracy"), table, ["norm", "batch_size", "seed"])
    wide = 100 * table.pivot(index="seed", columns="norm", values="test_accuracy")
    expected = (wide["batch"] - wide["none"]).tolist()
    assert found.effect.tolist() == pytest.approx(expected)
