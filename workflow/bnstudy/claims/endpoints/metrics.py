"""Endpoints that need no code: a metric of runs, of one level of an axis against another."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.scoring import (
    arrival,
    as_text,
    level_minus_baseline,
    mean_over_cells,
    scored,
)
from bnstudy.claims.listed import is_steps, result, several, written
from bnstudy.scoring import failed


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
    baseline, level = (written(axis, claim[key]) for key in ("baseline", "level"))
    table = table[as_text(table[axis]).isin([baseline, level])]
    for name, wanted in claim["where"].items():
        levels = [written(name, one) for one in several(name, wanted)]
        table = table[as_text(table[name]).isin(levels)]
    others = [a for a in axes if a not in (axis, "seed") and as_text(table[a]).nunique() > 1]
    values = scored(table, metric, claim["scale"])
    differences = level_minus_baseline(table, values, others, axis, level, baseline)
    differences = differences.dropna(axis=1, how="all")
    if differences.empty:
        raise KeyError(f"{axis} {level} beside {baseline}")
    if claim["direction"] == "lower":
        differences = -differences
    whole = differences.dropna()
    rest = arrival(table, metric) if is_steps(metric) else {"note": ""}
    if result(metric) and (bad := int(failed(table).sum())):
        rest["note"] = f"{bad} of {len(table)} runs failed and count as guessing."
    if left := len(differences) - len(whole):
        lack = f"{left} of {len(differences)} seeds lack a value of the metric and are left out."
        rest["note"] = f"{rest['note']} {lack}".strip()
    return mean_over_cells(whole, claim["unit"], **rest)


def last_values(metrics: pd.DataFrame, metric: str, axes: list[str]) -> pd.DataFrame:
    """The last value of `split/metric` of each run, a column of that name beside the axes."""
    split, _, name = metric.partition("/")
    chosen = metrics[(metrics["split"] == split) & (metrics["metric"] == name)]
    last = chosen.sort_values("step", kind="stable").drop_duplicates(axes, keep="last")
    return last[[*axes, "value"]].rename(columns={"value": metric})
