"""Figures of the main comparison whose numbers are not those of a table as it stands."""

import math

import pandas as pd
import pytest

from bnstudy.report import figures
from bnstudy.report.results import DatasetFacts, Results


def study(accuracies: dict, training_seconds: dict) -> Results:
    """Runs of one dataset, by norm, batch size and seed: accuracies at steps 0, 10 and 20."""
    keys = ["norm", "batch_size", "seed"]
    cells = [dict(zip(keys, key, strict=True)) | {"dataset": "digits"} for key in accuracies]
    runs = pd.DataFrame(cells).assign(status="ok")
    metrics = [
        cell | {"epoch": 1, "step": step, "split": "probe", "metric": "accuracy", "value": value}
        for cell, values in zip(cells, accuracies.values(), strict=True)
        for step, value in zip((0, 10, 20), values, strict=True)
    ]
    timings = [
        cell | {"training_seconds": training_seconds[cell["norm"], cell["batch_size"]]}
        for cell in cells
    ]
    axes = {key: list(dict.fromkeys(cell[key] for cell in cells)) for key in ["dataset", *keys]}
    return Results(
        {"grid": axes},
        {"digits": DatasetFacts("Digits", 10, 100, 10)},
        runs,
        pd.DataFrame(metrics),
        pd.DataFrame(timings),
        pd.DataFrame(),
    )


def test_accuracy_by_time_by_hand():
    results = study(
        {
            ("none", 32, 0): (0.1, 0.7, 0.9),
            ("none", 32, 1): (0.1, 0.9, 0.9),
            ("none", 64, 0): (0.1, 0.6, 0.96),
            ("none", 64, 1): (0.1, 0.6, 0.96),
            ("batch", 32, 0): (0.1, 0.5, 0.6),
            ("batch", 32, 1): (0.1, 0.5, 0.6),
            ("batch", 64, 0): (0.1, 0.4, 0.5),
            ("batch", 64, 1): (0.1, 0.4, 0.5),
        },
        {("none", 32): 4.0, ("none", 64): 8.0, ("batch", 32): 6.0, ("batch", 64): 1.0},
    )
    drawing = figures.accuracy_by_time(results, "digits")
    drawn = drawing.data.set_index(["norm", "batch_size", "step"])
    assert drawn.loc[("none", 32, 10), "mean"] == pytest.approx(0.8)
    assert drawn.loc[("none", 32, 10), "seconds"] == pytest.approx(2.0)
    assert drawn.loc[("none", 64, 20), "seconds"] == pytest.approx(8.0)
    assert "after 8 s without normalization and never with batch normalization" in drawing.finding
    # At 4 s: 0.9 at batch size 32 and 0.6 at 64.
    best = figures.frontier(drawing.data[drawing.data["norm"] == "none"])
    assert best.to_numpy().ravel() == pytest.approx([2.0, 0.8, 4.0, 0.9, 8.0, 0.96])
    for layout in (figures.WIDE, figures.NARROW):
        assert drawing.svg(layout).startswith("<svg")


def test_a_run_on_its_own_has_no_frontier_and_an_arm_that_never_ran_a_step_no_time():
    results = study({("batch", 32, 0): (0.1, 0.96, 0.97)}, {("batch", 32): 2.0})
    drawing = figures.accuracy_by_time(results, "digits")
    assert "95 percent is reached after 1 s with batch normalization" in drawing.finding
    assert "Best of all" not in drawing.caption
    broken = study({("none", 32, 0): (0.1, 0.1, 0.1)}, {("none", 32): math.nan})
    drawing = figures.accuracy_by_time(broken, "digits")
    assert "never without normalization" in drawing.finding
    assert drawing.svg(figures.NARROW).startswith("<svg")
