"""What endpoints are made of: the scores of runs, the arms of a seed paired, one effect per seed.

What the endpoints of a study compare, which way round and in which networks, stands in config/claims.yaml, as `measure`
of the claims and as `short` of what is measured besides. No run is left out: `bnstudy.scoring` says what one that
failed counts for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from bnstudy.claims.listed import is_steps, result, several, words, written
from bnstudy.scoring import chance, failed
from bnstudy.settings import text

POINTS = "percentage points"
CENSORED_AT_MOST = 0.2  # share of targets not reached up to which ln ratios are compared


@dataclass(frozen=True)
class Endpoint:
    """The measured side of a statistical claim."""

    # One difference per seed (index: seed), oriented so that above zero is as the claim says.
    effect: pd.Series
    unit: str  # of `effect` and of the claim's smallest effect ("percentage points", "decades")
    # The same for each cell that `effect` averages over (a batch size, a depth); exploratory.
    cells: dict[str, pd.Series] = field(default_factory=dict)
    # Whether so many values stand at the budget, the event never having come, that a small effect excludes no larger
    # one.
    bounded: bool = False
    # Further endpoints that must hold as well for the claim to hold.
    conditions: dict[str, "Endpoint"] = field(default_factory=dict)
    # What must hold, above zero, for the experiment to decide the claim in either direction.
    validity: dict[str, "Endpoint"] = field(default_factory=dict)
    p: float | None = None  # of a condition that has a test of its own (Page's trend test)
    note: str = ""  # one computed sentence on what else matters


@dataclass(frozen=True)
class Exact:
    """The measured side of an exact claim: `value` is the worst error, held to `tolerance`."""

    holds: bool
    value: float
    tolerance: float
    note: str = ""


def accuracy(table: pd.DataFrame, column: str = "val_accuracy") -> pd.Series:
    """Accuracy of each run in percent, that of guessing where it failed."""
    return 100 * table[column].astype(float).mask(failed(table), chance(table["n_classes"]))


def steps(table: pd.DataFrame, column: str = "steps_to_target") -> pd.Series:
    """Steps to the target; the budget `n_steps` where it was not reached or the run failed."""
    return table[column].mask(failed(table)).fillna(table["n_steps"])


def scored(table: pd.DataFrame, metric: str, scale: str = "difference") -> pd.Series:
    """The metric of each run; a failed one guesses. Accuracies are in percent, `ln_` takes logarithms."""
    plain = metric.removeprefix("ln_")
    if is_steps(metric):
        values = steps(table, plain).clip(lower=1)
    elif result(plain) == "accuracy":
        values = accuracy(table, plain)
    else:
        values = table[plain].astype(float)
        if result(plain) == "loss":
            values = values.mask(failed(table), np.log(table["n_classes"]))
    return np.log(values.where(values > 0)) if scale == "ratio" or metric != plain else values


def arrival(table: pd.DataFrame, metric: str) -> dict[str, object]:
    """Of an endpoint, whether targets that were never reached bound it, and a note of their number.

    Such runs count as there at the budget, so the ratio is a lower bound: of little depth where they are few, else of
    unknown depth.
    """
    reached = table[metric.removeprefix("ln_")].notna() & ~failed(table)
    censored = int((~reached).sum())
    note = f"{censored} of {len(table)} runs never reached the target."
    return {"bounded": censored > CENSORED_AT_MOST * len(table), "note": note}


def failures(table: pd.DataFrame) -> dict[str, str]:
    """How many runs of each norm failed, "2 of 12"."""
    counts = failed(table).groupby(table["norm"]).agg(["sum", "size"])
    return {norm: f"{row['sum']} of {row['size']}" for norm, row in counts.iterrows()}


def wide(table: pd.DataFrame, values: str | pd.Series, *columns: str) -> pd.DataFrame:
    """Values, or a column of the table, by seed (rows) and what else tells its rows apart (columns)."""
    values = table[values] if isinstance(values, str) else values
    named = table[["seed", *columns]].assign(value=values)
    return named.pivot(index="seed", columns=list(columns), values="value").sort_index(axis=1)


def level_minus_baseline(
    table: pd.DataFrame,
    values: pd.Series,
    by: Sequence[str] = (),
    axis: str = "norm",
    level: str = "batch",
    baseline: str = "none",
) -> pd.DataFrame:
    """Differences of two levels: a row per seed, a column per cell of the columns `by`.

    The columns are named by the values of `by` in words, in the order in which the table has them. A pair that is
    incomplete is NaN, and a cell that lacks a level is left out.
    """
    parts = [as_text(table[one]).map(lambda value, one=one: words(one, value)) for one in by]
    cells = pd.concat(parts, axis=1).agg(", ".join, axis=1) if by else pd.Series("all", table.index)
    arms = wide(table.assign(arm=as_text(table[axis]), cell=cells), values, "arm", "cell")
    both = [c for c in pd.unique(cells) if {(level, c), (baseline, c)} <= set(arms)]
    differences = {cell: arms[level, cell] - arms[baseline, cell] for cell in both}
    return pd.DataFrame(differences, index=arms.index).astype(float)


def as_text(column: pd.Series) -> pd.Series:
    """The levels of an axis as `bnstudy.settings.text` writes them, whatever pandas read them as."""
    return column.astype(object).map(lambda one: "" if pd.isna(one) else text(one))


def mean_over_cells(differences: pd.DataFrame, unit: str, **rest: object) -> Endpoint:
    """The endpoint whose effect is each seed's mean over the columns, its cells where there are several."""
    cells = dict(differences) if len(differences.columns) > 1 else {}
    return Endpoint(differences.mean(axis=1, skipna=False), unit, cells, **rest)


def page_test(doses: pd.DataFrame) -> float:
    """p-value of Page's test (1963) for a trend that goes up from the first dose to the last, doubled.

    Doubled as the other tests are, which look at both directions; 1 for a trend that goes down. `doses` has a row per
    seed and a column per dose, in order.
    """
    if len(doses) < 2:
        return 1.0  # a single order shows nothing
    return min(1.0, 2 * float(stats.page_trend_test(doses.to_numpy()).pvalue))


def metric_endpoint(claim: dict, table: pd.DataFrame, axes: list[str]) -> Endpoint:
    """The effect of a claim that names a metric, per seed, in the mean over the other axes.

    The claim is complete (`bnstudy.claims.listed.complete`). The table has a row per run with the axes, `seed`,
    `status`, `val_accuracy`, `n_classes`, `n_steps` and the metric; those of its axes that have several values span the
    cells. A seed that lacks one of its runs, or a value that guessing has none for, is left out; a table that lacks the
    metric, or a level, is a KeyError.
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
