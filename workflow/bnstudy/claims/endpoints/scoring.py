"""How a run is scored, and how the two arms of a seed become one difference.

A run that failed (`bnstudy.scoring`) counts as one that guesses, and a target that was never reached
counts as reached at the budget. No run is left out, which would flatter the arm that failed.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.listed import words
from bnstudy.scoring import chance, failed
from bnstudy.settings import text

CENSORED_AT_MOST = 0.2  # share of targets not reached up to which ln ratios are compared


def accuracy(table: pd.DataFrame, column: str = "val_accuracy") -> pd.Series:
    """Accuracy of each run in percent, that of guessing where it failed."""
    return 100 * table[column].mask(failed(table), chance(table["n_classes"]))


def steps(table: pd.DataFrame, column: str = "steps_to_target") -> pd.Series:
    """Steps to the target; the budget `n_steps` where it was not reached or the run failed."""
    return table[column].mask(failed(table)).fillna(table["n_steps"])


def level_minus_baseline(
    table: pd.DataFrame,
    values: pd.Series,
    by: Sequence[str] = (),
    axis: str = "norm",
    level: str = "batch",
    baseline: str = "none",
    name: Callable[[str, str], str] = words,
) -> pd.DataFrame:
    """Differences of two levels: a row per seed, a column per cell of the columns `by`.

    The columns are named by the values of `by` in words, in the order in which the table has them. A
    pair that is incomplete is NaN, and a cell that lacks a level is left out.
    """
    parts = [as_text(table[one]).map(lambda value, one=one: name(one, value)) for one in by]
    cells = pd.concat(parts, axis=1).agg(", ".join, axis=1) if by else pd.Series("all", table.index)
    wide = pd.DataFrame(
        {"seed": table["seed"], "arm": as_text(table[axis]), "cell": cells, "value": values}
    ).pivot(index="seed", columns=["arm", "cell"], values="value")
    both = [c for c in pd.unique(cells) if {(level, c), (baseline, c)} <= set(wide)]
    differences = {cell: wide[level, cell] - wide[baseline, cell] for cell in both}
    return pd.DataFrame(differences, index=wide.index).astype(float)


def as_text(column: pd.Series) -> pd.Series:
    """The levels of an axis as `bnstudy.settings.text` writes them, whatever pandas read them as."""
    return column.astype(object).map(lambda one: "" if pd.isna(one) else text(one))


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
