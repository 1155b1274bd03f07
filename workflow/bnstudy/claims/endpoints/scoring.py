"""How a run is scored, and how the two arms of a seed become one difference.

Divergence is a result: a run whose loss was not finite, or that ends below 20 % accuracy, counts
as one that guesses among ten classes, and a target that was never reached counts as reached at
the budget. No run is left out, which would flatter the arm that failed.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from bnstudy.claims.endpoints.base import Endpoint

CHANCE = 0.1
FAILED_BELOW = 0.2
CENSORED_AT_MOST = 0.2  # share of targets not reached up to which ln ratios are compared


def diverged(table: pd.DataFrame) -> pd.Series:
    """Which runs diverged: a loss that was not finite, or a final accuracy below 20 %."""
    return (table["status"] == "diverged") | (table["val_accuracy"] < FAILED_BELOW)


def accuracy(table: pd.DataFrame, column: str = "val_accuracy") -> pd.Series:
    """Accuracy of each run in percent; 10 where it diverged."""
    return 100 * table[column].mask(diverged(table), CHANCE)


def steps(table: pd.DataFrame, column: str = "steps_to_target") -> pd.Series:
    """Steps to the target; the budget `n_steps` where it was not reached or the run diverged."""
    return table[column].mask(diverged(table)).fillna(table["n_steps"])


def batch_minus_none(
    table: pd.DataFrame, values: pd.Series, by: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Differences `batch` minus `none`: a row per seed, a column per cell of the columns `by`.

    The columns are named after the values of `by`, in the order in which the table has them. A
    pair that is incomplete is NaN.
    """
    cells = table[list(by)].astype(str).agg(", ".join, axis=1) if by else "all"
    wide = pd.DataFrame(
        {"seed": table["seed"], "norm": table["norm"], "cell": cells, "value": values}
    ).pivot(index="seed", columns=["norm", "cell"], values="value")
    order = pd.unique(cells) if by else ["all"]
    return (wide["batch"] - wide["none"])[list(order)].astype(float)


def mean_over_cells(differences: pd.DataFrame, unit: str, **rest: object) -> Endpoint:
    """The endpoint whose effect is each seed's mean over the columns, its cells."""
    return Endpoint(
        effect=differences.mean(axis=1, skipna=False),
        cells=cells_of(differences) if len(differences.columns) > 1 else {},
        unit=unit,
        **rest,
    )


def cells_of(differences: pd.DataFrame) -> dict[str, pd.Series]:
    return {str(name): differences[name] for name in differences.columns}


def compare_accuracy(
    table: pd.DataFrame, by: tuple[str, ...] = (), column: str = "test_accuracy"
) -> Endpoint:
    """Accuracy in percentage points, `batch` minus `none`, mean over the cells of `by`."""
    differences = batch_minus_none(table, accuracy(table, column), by)
    return mean_over_cells(differences, "percentage points")


def compare_steps(
    table: pd.DataFrame, by: tuple[str, ...] = (), column: str = "steps_to_target"
) -> Endpoint:
    """ln(steps without / steps with batch normalization), mean over the cells of `by`.

    Where more than a fifth of the runs never reached the target the ln ratio is a lower bound of
    unknown depth; p is then that of the exact McNemar test of which arm reached it, a seed counting
    as reached where it did so in every cell.
    """
    ln_steps = np.log(steps(table, column).clip(lower=1))
    reached = table[column].notna() & ~diverged(table)
    censored = int((~reached).sum())
    p = None
    if censored > CENSORED_AT_MOST * len(table):
        by_seed = reached.groupby([table["norm"], table["seed"]]).all()
        p = mcnemar(by_seed["none"], by_seed["batch"])
    return mean_over_cells(
        -batch_minus_none(table, ln_steps, by),
        "ln ratio",
        censored=censored,
        p=p,
        note=f"{censored} of {len(table)} runs never reached the target.",
    )


def mcnemar(a: pd.Series, b: pd.Series) -> float:
    """Two-sided exact McNemar test of paired outcomes (McNemar 1947): 1 where no pair differs."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
