"""The learning-rate study: bands, best rates and divergence, by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from bnstudy.claims.endpoints.practice import cross_fitted_steps
from bnstudy.claims.endpoints.practice import learning_rates as endpoints
from bnstudy.data.prepared import open_prepared
from small import rows, study

RATES = [0.01, 0.1, 1.0, 10.0]
OPTIONS = {"trained_at": 0.8, "usual": 0.1, "target_within": 0.95, "target_between": 0.85}
ACCURACY = {"none": [0.85, 0.90, 0.10, None], "batch": [0.90, 0.955, 0.96, 0.79]}
STEPS_85 = {"none": [300, 200, None, None], "batch": [100, 50, 20, None]}
STEPS_95 = {"none": [None] * 4, "batch": [None, 200, 100, None]}


def table(n_seeds: int = 4) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "norm": norm,
            "seed": seed,
            "learning_rate": rate,
            "status": "diverged" if ACCURACY[norm][i] is None else "ok",
            "n_classes": 10,
            "n_steps": 400,
            "val_accuracy": ACCURACY[norm][i],
            "steps_to_85": STEPS_85[norm][i],
            "steps_to_95": STEPS_95[norm][i],
        }
        for norm in ("none", "batch")
        for seed in range(n_seeds)
        for i, rate in enumerate(RATES)
    )


def test_endpoints_by_hand():
    found = endpoints(table(), OPTIONS)
    assert found["lr_max_decades"].effect.tolist() == pytest.approx([1] * 4)  # 1 against 0.1
    # Within a point of the best: 0.1 alone without, 0.1 and 1 with batch normalization.
    assert found["band_decades"].effect.tolist() == pytest.approx([1] * 4)
    assert found["best_over_default"].effect.tolist() == pytest.approx([math.log(2)] * 4)
    assert found["best_over_best"].effect.tolist() == pytest.approx([math.log(200 / 20)] * 4)
    assert "0.1 without and 1 with" in found["best_over_best"].note


def test_literal_reading_fails_with_a_single_diverged_run():
    runs = table()
    assert endpoints(runs, OPTIONS)["never_diverges"].holds
    chosen = (runs["norm"] == "batch") & (runs["seed"] == 2) & (runs["learning_rate"] == 10)
    runs.loc[chosen, "val_accuracy"] = 0.12
    literal = endpoints(runs, OPTIONS)["never_diverges"]
    assert not literal.holds
    assert literal.value == 1 / 16
    assert "1 of 16" in literal.note
    assert "at rates from 10." in literal.note


def test_an_arm_that_never_trains_counts_at_the_smallest_rate():
    runs = table()
    runs.loc[(runs["norm"] == "none"), "val_accuracy"] = 0.5
    found = endpoints(runs, OPTIONS)["lr_max_decades"]
    assert found.effect.tolist() == pytest.approx([2] * 4)


def test_an_arm_that_trains_at_the_largest_rate_counts_at_it():
    runs = table()
    runs.loc[(runs["norm"] == "batch") & (runs["learning_rate"] == 10), "val_accuracy"] = 0.9
    found = endpoints(runs, OPTIONS)["lr_max_decades"]
    assert found.effect.tolist() == pytest.approx([2] * 4)


def test_best_rate_is_chosen_on_the_other_half_of_the_seeds():
    # Rate 1 is best on seeds 0 and 1, rate 2 on seeds 2 and 3: each half gets the other's choice.
    ln_steps = pd.DataFrame({1: [0.0, 0.0, 5.0, 6.0], 2: [3.0, 4.0, 1.0, 1.0]})
    chosen, rates = cross_fitted_steps(ln_steps)
    assert chosen.tolist() == [3, 4, 5, 6]
    assert rates == "1 or 2"


def test_choosing_costs_nothing_on_average_where_rates_do_not_differ():
    """Picking the best on the judged seeds themselves would give -1 here; cross-fitting gives 0."""
    rng = np.random.default_rng(0)
    values = [cross_fitted_steps(pd.DataFrame(rng.normal(size=(10, 8))))[0].mean() for _ in range(300)]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(len(values))


def test_smoke_on_digits(digits_data):
    data = open_prepared(digits_data)
    settings = {"epochs": 2, "batch_size": 32, "probe_every": 5}
    small = study("learning_rates", settings, targets=[0.85, 0.95])
    grid = {"norm": ["none", "batch"], "learning_rate": [0.1, 1e30]}
    runs = pd.DataFrame(rows(small | {"grid": grid}, data))
    assert len(runs) == 2 * 2 * 2
    assert set(runs["n_steps"]) == {2 * math.ceil(1150 / 32)}
    assert (runs.loc[runs["learning_rate"] > 1, "status"] == "diverged").any()
    found = endpoints(runs, OPTIONS)
    assert list(found["lr_max_decades"].effect.index) == [1000, 1001]
    assert not found["never_diverges"].holds
