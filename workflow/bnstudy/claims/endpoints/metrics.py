"""Endpoints that need no code: a metric of runs, of one level of an axis against another."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.scoring import (
    CENSORED_AT_MOST,
    as_text,
    level_minus_baseline,
    mean_over_cells,
    steps,
)
from bnstudy.claims.listed import is_steps, result, several, written
from bnstudy.scoring import chance, failed


def metric_endpoint(claim: dict, table: pd.DataFrame, axes: list[str]) -> Endpoint:
    """The effect of a claim that names a metric, per seed, in the mean over the other axes.

    A seed that lacks one of its runs, or a value that guessing has none for, is left out.

    Parameters
    ----------
    claim : dict
        Complete (`bnstudy.claims.listed.complete`): metric, axis, level, baseline, direction, scale,
        where, unit.
    table : pd.DataFrame
        A row per run with the axes, `seed`, `status`, `val_accuracy`, `n_classes`, `n_steps` and the
        metric.
    axes : list of str
        The axes of the table; those with several values span the cells.

    Raises
    ------
    KeyError
        If the table lacks the metric, or a level.
    """
    axis, metric = claim["axis"], claim["metric"]
    arms = [written(axis, claim[key]) for key in ("baseline", "level")]
    table = table[as_text(table[axis]).isin(arms)]
    for name, wanted in claim["where"].items():
        levels = [written(name, one) for one in several(name, wanted)]
        table = table[as_text(table[name]).isin(levels)]
    others = [a for a in axes if a not in (axis, "seed") and as_text(table[a]).nunique() > 1]
    values = scored(table, metric, claim["scale"])
    differences = level_minus_baseline(table, values, others, axis, arms[1], arms[0])
    differences = differences.dropna(axis=1, how="all")
    if differences.empty:
        raise KeyError(f"{axis} {arms[1]} beside {arms[0]}")
    if claim["direction"] == "lower":
        differences = -differences
    whole = differences.dropna()
    censored, bounded, note = arrival(table, metric) if is_steps(metric) else (0, False, "")
    if result(metric) and (bad := int(failed(table).sum())):
        note = f"{bad} of {len(table)} runs failed and count as guessing."
    if left := len(differences) - len(whole):
        note += f" {left} of {len(differences)} seeds lack a value of the metric and are left out."
    rest = {"censored": censored, "bounded": bounded, "note": note.strip()}
    return mean_over_cells(whole, claim["unit"], **rest)


def scored(table: pd.DataFrame, metric: str, scale: str) -> pd.Series:
    """The metric of each run; a failed one guesses (`bnstudy.scoring`). Accuracies are in percent."""
    plain = metric.removeprefix("ln_")
    bad = failed(table)
    values = table[plain].astype(float)
    if is_steps(metric):
        values = steps(table, plain).clip(lower=1)
    elif result(metric) == "accuracy":
        values = 100 * values.mask(bad, chance(table["n_classes"]))
    elif result(metric) == "loss":
        values = values.mask(bad, np.log(table["n_classes"]))
    return np.log(values.where(values > 0)) if scale == "ratio" or metric != plain else values


def arrival(table: pd.DataFrame, metric: str) -> tuple[int, bool, str]:
    """How many targets were never reached, whether that is more than a fifth, and a note of it.

    Such runs count as there at the budget, so the ratio is a lower bound: of little depth where they are
    few, else of unknown depth.
    """
    reached = table[metric.removeprefix("ln_")].notna() & ~failed(table)
    censored = int((~reached).sum())
    note = f"{censored} of {len(table)} runs never reached the target."
    return censored, censored > CENSORED_AT_MOST * len(table), note


def last_values(metrics: pd.DataFrame, metric: str, axes: list[str]) -> pd.DataFrame:
    """The last value of `split/metric` of each run, a column of that name beside the axes."""
    split, _, name = metric.partition("/")
    chosen = metrics[(metrics["split"] == split) & (metrics["metric"] == name)]
    last = chosen.sort_values("step", kind="stable").drop_duplicates(axes, keep="last")
    return last[[*axes, "value"]].rename(columns={"value": metric})
