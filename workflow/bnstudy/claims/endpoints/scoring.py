"""How a run is scored, and how the two arms of a seed become one difference.

A run that failed (`bnstudy.scoring`) counts as one that guesses, and a target that was never reached
counts as reached at the budget. No run is left out, which would flatter the arm that failed.
"""

import pandas as pd
from scipy.stats import binomtest

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.scoring import chance, failed

CENSORED_AT_MOST = 0.2  # share of targets not reached up to which ln ratios are compared


def accuracy(table: pd.DataFrame, column: str = "val_accuracy") -> pd.Series:
    """Accuracy of each run in percent, that of guessing where it failed."""
    return 100 * table[column].mask(failed(table), chance(table["n_classes"]))


def steps(table: pd.DataFrame, column: str = "steps_to_target") -> pd.Series:
    """Steps to the target; the budget `n_steps` where it was not reached or the run failed."""
    return table[column].mask(failed(table)).fillna(table["n_steps"])


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


def mcnemar(a: pd.Series, b: pd.Series) -> float:
    """Two-sided exact McNemar test of paired outcomes (McNemar 1947): 1 where no pair differs."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
