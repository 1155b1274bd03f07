"""Endpoints of S9: claims M5 and L4, and what else goes wrong between training and inference."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, Exact
from bnstudy.scoring import chance

CLEAN = ("contrast", 1.0)  # test images as they are
MEAN_TOLERANCE = 1e-3  # standard deviations; an average over everything is exact up to rounding
DEFAULT_MOMENTUM = "0.1"
EARLY_STEP = 10


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """Effects of statistics that do not fit.

    - `entire_training_set` (exact): the distance between the running means of the first layer,
      after an epoch with frozen weights and PyTorch's default momentum, and the means over the
      training set; in standard deviations, of the worst seed.
    - `contrast`: loss of test accuracy at contrast 0.5, with minus without batch normalization.
      Cells are all shifts.
    - `reestimated`: test accuracy at contrast 0.5 regained by estimating the statistics anew on
      shifted images. Cells are all shifts.
    - `staleness`: ln(loss with running / with precise statistics) after 10 steps. Cells are steps.
    - `last_batch`: ln(loss with / without a last batch of two images in the running averages), mean
      over epochs. Cells are the epochs' ends.
    """
    return {
        "entire_training_set": entire_training_set(table),
        "contrast": shift_cost(table),
        "reestimated": regained(table),
        "staleness": staleness(table),
        "last_batch": last_batch(table),
    }


def entire_training_set(table: pd.DataFrame) -> Exact:
    frozen = table[table["statistics"] == "frozen"]
    worst = frozen.groupby(frozen["momentum"].astype(str))["mean_error"].max()
    value = float(worst[DEFAULT_MOMENTUM])
    others = ", ".join(
        f"{error:.1g} at {name}" for name, error in worst.items() if name != DEFAULT_MOMENTUM
    )
    return Exact(
        holds=value <= MEAN_TOLERANCE,
        value=value,
        tolerance=MEAN_TOLERANCE,
        note=f"An exponential average with momentum {DEFAULT_MOMENTUM} is {value:.2g} standard "
        f"deviations off in the worst seed ({others}).",
    )


def shift_cost(table: pd.DataFrame) -> Endpoint:
    plain, batch = (shifted_accuracy(table, norm, "running") for norm in ("none", "batch"))
    costs = batch.rsub(batch[CLEAN], axis=0) - plain.rsub(plain[CLEAN], axis=0)
    return Endpoint(
        costs["contrast", 0.5],
        shifts_only(costs),
        "percentage points",
        note=f"At contrast 0.5 accuracy falls from {batch[CLEAN].mean():.2f} to "
        f"{batch['contrast', 0.5].mean():.2f} % with batch normalization and from "
        f"{plain[CLEAN].mean():.2f} to {plain['contrast', 0.5].mean():.2f} % without; statistics "
        f"estimated anew on shifted images give "
        f"{shifted_accuracy(table, 'batch', 'reestimated')['contrast', 0.5].mean():.2f} %.",
    )


def regained(table: pd.DataFrame) -> Endpoint:
    gain = shifted_accuracy(table, "batch", "reestimated") - shifted_accuracy(
        table, "batch", "running"
    )
    return Endpoint(gain["contrast", 0.5], shifts_only(gain), "percentage points")


def shifted_accuracy(table: pd.DataFrame, norm: str, statistics: str) -> pd.DataFrame:
    """Test accuracy in percent: a row per seed, a column per (shift, level)."""
    rows = table[(table["part"] == "shift") & (table["norm"] == norm)]
    wide = rows[rows["statistics"] == statistics].pivot(
        index="seed", columns=["shift", "level"], values="accuracy"
    )
    # A diverged run has no rows of its own here.
    return (
        (100 * wide)
        .reindex(sorted(rows["seed"].unique()))
        .fillna(100 * chance(table["n_classes"].max()))
    )


def shifts_only(values: pd.DataFrame) -> dict[str, pd.Series]:
    return {f"{c[0]} {c[1]:g}": values[c] for c in values.columns if c != CLEAN}


def staleness(table: pd.DataFrame) -> Endpoint:
    rows = table[(table["part"] == "staleness") & (table["momentum"].astype(str) == "0.1")]
    ratios = log_ratio(rows, "running", "precise")
    early = min(ratios.columns, key=lambda step: abs(step - EARLY_STEP))
    cells = {f"step {step:g}": ratios[step] for step in ratios.columns}
    return Endpoint(ratios[early], cells, "ln ratio")


def last_batch(table: pd.DataFrame) -> Endpoint:
    rows = table[table["part"] == "last_batch"]
    ratios = log_ratio(rows, "kept", "statistics_dropped")
    cells = {f"step {step:g}": ratios[step] for step in ratios.columns}
    return Endpoint(ratios.mean(axis=1), cells, "ln ratio")


def log_ratio(rows: pd.DataFrame, numerator: str, denominator: str) -> pd.DataFrame:
    """ln(loss / loss) between two kinds of statistics; 0 for a diverged run, bad with either."""
    wide = np.log(rows.pivot_table(index="seed", columns=["statistics", "step"], values="loss"))
    ratios = wide[numerator] - wide[denominator]
    return ratios.reindex(sorted(rows["seed"].unique())).fillna(0.0)
