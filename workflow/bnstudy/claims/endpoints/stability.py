"""Endpoints of the stability study (B16)."""

import math

import pandas as pd
from scipy.stats import pearsonr

from bnstudy.claims.endpoints.base import (
    Endpoint,
    level_minus_baseline,
    mean_over_cells,
    scored,
    wide,
)

SEEDS_AT_LEAST = 3  # for a standard deviation without one of them


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """The readings of "fluctuates less"; each a mean over batch sizes, the cells.

    Spikes are losses of more than twice the running median. `between_seeds` compares standard deviations
    of the final validation loss, one number for all seeds; the effect of a seed is its jackknife
    pseudo-value (Miller 1974, Biometrika 61), whose mean is the ratio corrected for bias.
    """
    found = {
        "fluctuation": matched(table, -scored(table, "ln_fluctuation"), "ln ratio"),
        "spikes": matched(table, -100 * table["spikes"].astype(float), "percentage points"),
        "spikes_all": matched(table, -100 * table["spikes_all"].astype(float), "percentage points"),
    }
    if table["seed"].nunique() >= SEEDS_AT_LEAST:
        found["between_seeds"] = between_seeds(table)
    return found


def matched(table: pd.DataFrame, values: pd.Series, unit: str) -> Endpoint:
    """`batch` minus `none` of values that may be undefined, mean over the batch sizes that are.

    A value is undefined where a run was not long enough at the level that is compared, which is no
    failure and has no score. A seed is left out only where that is so at every batch size.
    """
    differences = level_minus_baseline(table, values, ("batch_size",))
    undefined = int(values.isna().sum())
    note = f"{undefined} of {len(table)} runs were too short at the compared level of the loss."
    return Endpoint(
        effect=differences.mean(axis=1).dropna(),
        cells={name: column.dropna() for name, column in differences.items()},
        unit=unit,
        note=note if undefined else "",
    )


def between_seeds(table: pd.DataFrame) -> Endpoint:
    """ln ratio of the standard deviations between seeds of the final validation loss."""
    loss = wide(table, scored(table, "val_loss"), "norm", "batch_size")
    cells, p = {}, []
    for size in loss["none"]:
        none, batch = loss["none", size], loss["batch", size]
        cells[f"batch size {size}"] = pseudo_values(none, batch)
        p.append(f"{pitman_morgan(none, batch):.3g} ({size})")
    note = f"Pitman-Morgan p by batch size: {', '.join(p)}."
    return mean_over_cells(pd.DataFrame(cells), "ln ratio", note=note)


def pseudo_values(none: pd.Series, batch: pd.Series) -> pd.Series:
    """Jackknife pseudo-values n t - (n - 1) t_(-i) of t = ln(sd(none) / sd(batch))."""
    n = len(none)
    whole = math.log(none.std() / batch.std())
    without = [math.log(none.drop(seed).std() / batch.drop(seed).std()) for seed in none.index]
    return pd.Series([n * whole - (n - 1) * t for t in without], index=none.index)


def pitman_morgan(a: pd.Series, b: pd.Series) -> float:
    """p-value of equal variances of paired values: no correlation between their sum and difference.

    Pitman (1939) and Morgan (1939), Biometrika 31.
    """
    return float(pearsonr(a + b, a - b).pvalue)
