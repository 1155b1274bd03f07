"""Scoring of runs and pairing of arms, on tables small enough to check by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from bnstudy.claims.endpoints import base as scoring
from bnstudy.claims.endpoints.base import last_values, metric_endpoint


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "seed": [0, 1, 0, 1],
            "norm": ["none", "none", "batch", "batch"],
            "status": "ok",
            "val_accuracy": 0.9,
            "n_steps": 1000,
            "n_classes": 10,
        }
        | columns
    )


def test_diverged_runs_count_as_guessing_and_are_not_dropped():
    runs = table(
        status=["ok", "diverged", "ok", "ok"],
        val_accuracy=[0.9, None, 0.19, 0.95],
        test_accuracy=[0.8, None, 0.3, 0.94],
        steps_to_target=[None, None, 10, 20],
    )
    assert scoring.accuracy(runs, "test_accuracy").tolist() == pytest.approx([80, 10, 10, 94])
    assert scoring.steps(runs).tolist() == [1000, 1000, 1000, 20]


def test_levels_are_paired_by_seed_whatever_the_order_of_rows():
    runs = pd.concat(
        [table(batch_size=32, v=[1.0, 2.0, 4.0, 8.0]), table(batch_size=256, v=[0.0, 0.0, 1.0, 3.0])]
    ).sample(frac=1, random_state=0)
    differences = scoring.level_minus_baseline(runs, runs["v"], ("batch_size",))
    assert set(differences) == {"batch size 32", "batch size 256"}
    assert differences["batch size 32"].tolist() == [3, 6]
    assert differences["batch size 256"].tolist() == [1, 3]


def test_an_incomplete_pair_stays_visible():
    runs = table(v=[1.0, 2.0, 4.0, 8.0]).iloc[:3]
    endpoint = scoring.mean_over_cells(scoring.level_minus_baseline(runs, runs["v"]), "unit")
    assert endpoint.effect.loc[0] == 3
    assert math.isnan(endpoint.effect.loc[1])


STEPS = {"metric": "ln_steps_to_target", "axis": "norm", "baseline": "none", "level": "batch"}
STEPS |= {"direction": "lower", "scale": "difference", "where": {}, "unit": "ln ratio"}


def test_steps_are_compared_as_a_ratio_that_is_positive_where_fewer_are_needed():
    endpoint = metric_endpoint(STEPS, table(steps_to_target=[200, 300, 100, 100]), ["norm"])
    np.testing.assert_allclose(endpoint.effect, np.log([2, 3]))
    assert endpoint.note.startswith("0 of 4 ")
    assert not endpoint.bounded


def test_many_censored_runs_make_it_a_lower_bound():
    endpoint = metric_endpoint(STEPS, table(steps_to_target=[None, None, 100, 500]), ["norm"])
    np.testing.assert_allclose(endpoint.effect, np.log([10, 2]))
    assert endpoint.note.startswith("2 of 4 ")
    assert endpoint.bounded


def test_levels_are_numbers_too_and_what_is_observed_is_no_guess():
    runs = table(dropout=[0.0, 0.0, 0.5, 0.5], weight_norm=[3.0, 4.0, 5.0, 8.0])
    runs.loc[3, "status"] = "diverged"
    claim = STEPS | {"metric": "weight_norm", "axis": "dropout", "baseline": 0, "level": 0.5}
    claim |= {"direction": "higher", "unit": ""}
    runs = runs.assign(norm="batch")
    assert metric_endpoint(claim, runs, ["norm", "dropout", "seed"]).effect.tolist() == [2, 4]
    lost = runs.assign(weight_norm=[3.0, 4.0, 5.0, None])  # it broke off before it was observed
    assert metric_endpoint(claim, lost, ["norm", "dropout", "seed"]).effect.to_dict() == {0: 2.0}


def test_an_observed_series_counts_with_its_last_value():
    metrics = pd.DataFrame(
        {
            "seed": [0, 0, 1, 0],
            "step": [0, 10, 10, 10],
            "split": ["train", "train", "train", "probe"],
            "metric": ["weight_norm:1"] * 3 + ["loss"],
            "value": [1.0, 2.0, 3.0, 9.0],
        }
    )
    found = last_values(metrics, "train/weight_norm:1", ["seed"])
    assert found.set_index("seed")["train/weight_norm:1"].to_dict() == {0: 2.0, 1: 3.0}
