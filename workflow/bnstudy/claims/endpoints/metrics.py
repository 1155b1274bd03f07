"""Endpoints that need no code: a metric of runs, of one level of an axis against another."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.scoring import CENSORED_AT_MOST, cells_of, mcnemar
from bnstudy.claims.listed import is_steps, result, written
from bnstudy.scoring import chance, failed


def metric_endpoint(claim: dict, table: pd.DataFrame, axes: list[str]) -> Endpoint:
    """The effect of a claim that names a metric, per seed, in the mean over the other axes.

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
    for name, wanted in claim["where"].items():
        values = wanted if isinstance(wanted, list) else [wanted]
        table = table[level_of(table, name).isin([written(name, value) for value in values])]
    levels = level_of(table, axis)
    arms = [written(axis, claim[key]) for key in ("baseline", "level")]
    table = table[levels.isin(arms)].assign(arm=levels)
    others = [name for name in axes if name not in (axis, "seed") and table[name].nunique() > 1]
    cells = table[others].astype(str).agg(", ".join, axis=1) if others else "all"
    values = scored(table, metric, claim["scale"])
    wide = pd.DataFrame(
        {"seed": table["seed"], "arm": table["arm"], "cell": cells, "value": values}
    ).pivot(index="seed", columns=["arm", "cell"], values="value")
    baseline, level = (wide[arm] for arm in arms)
    order = pd.unique(cells) if others else ["all"]
    differences = (level - baseline)[list(order)].astype(float)
    if claim["direction"] == "lower":
        differences = -differences
    p, censored, note = arrival(table, metric, arms) if is_steps(metric) else (None, 0, "")
    return Endpoint(
        effect=differences.mean(axis=1, skipna=False).dropna(),
        cells=cells_of(differences) if len(differences.columns) > 1 else {},
        unit=claim["unit"],
        censored=censored,
        p=p,
        note=note,
    )


def level_of(table: pd.DataFrame, axis: str) -> pd.Series:
    """The values of an axis as `written` has them."""
    known = {value: written(axis, value) for value in table[axis].unique().tolist()}
    return table[axis].map(known)


def scored(table: pd.DataFrame, metric: str, scale: str) -> pd.Series:
    """The metric of each run; a failed one guesses (`bnstudy.scoring`). Accuracies are in percent."""
    plain = metric.removeprefix("ln_")
    bad = failed(table)
    values = table[plain].astype(float)
    if is_steps(metric):
        values = values.mask(bad).fillna(table["n_steps"]).clip(lower=1)
    elif result(metric) == "accuracy":
        values = 100 * values.mask(bad, chance(table["n_classes"]))
    elif result(metric) == "loss":
        values = values.mask(bad, np.log(table["n_classes"]))
    return np.log(values) if scale == "ratio" or metric != plain else values


def arrival(table: pd.DataFrame, metric: str, arms: list[str]) -> tuple[float | None, int, str]:
    """p, number and note of targets that were never reached.

    Where more than a fifth of the runs never did, the ratio is a lower bound of unknown depth; p is then
    that of the exact McNemar test of which arm reached it, a seed counting as reached where it did so in
    every cell.
    """
    reached = table[metric.removeprefix("ln_")].notna() & ~failed(table)
    censored = int((~reached).sum())
    note = f"{censored} of {len(table)} runs never reached the target."
    if censored <= CENSORED_AT_MOST * len(table):
        return None, censored, note
    by_seed = reached.groupby([table["arm"], table["seed"]]).all()
    return mcnemar(by_seed[arms[0]], by_seed[arms[1]]), censored, note


def last_values(metrics: pd.DataFrame, metric: str, axes: list[str]) -> pd.DataFrame:
    """The last value of `split/metric` of each run, a column of that name beside the axes."""
    split, _, name = metric.partition("/")
    chosen = metrics[(metrics["split"] == split) & (metrics["metric"] == name)]
    last = chosen.sort_values("step").groupby(axes, as_index=False, sort=False)["value"].last()
    return last.rename(columns={"value": metric})
