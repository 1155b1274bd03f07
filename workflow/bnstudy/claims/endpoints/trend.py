"""A trend over ordered doses, with seeds as blocks."""

import pandas as pd
from scipy import stats

from bnstudy.statistics import sign_flip_test


def page_test(doses: pd.DataFrame) -> float:
    """Two-sided p-value of Page's trend test; small p alone does not say which way the trend goes.

    Parameters
    ----------
    doses : DataFrame
        One row per seed, one column per dose, in order.

    Notes
    -----
    Page (1963), Ordered hypotheses for multiple treatments. His test is one-sided; the smaller of
    both directions is doubled.
    """
    rising, falling = (one_sided_p(table) for table in (doses, doses.iloc[:, ::-1]))
    return min(1.0, 2 * min(rising, falling))


def rises(doses: pd.DataFrame) -> bool:
    """Whether the trend, if there is one, goes up from the first column to the last."""
    return one_sided_p(doses) <= one_sided_p(doses.iloc[:, ::-1])


def one_sided_p(doses: pd.DataFrame) -> float:
    """p-value of Page's test against a trend that goes up from the first column to the last."""
    return float(stats.page_trend_test(doses.to_numpy()).pvalue)


def trend_and_contrast(doses: pd.DataFrame, effect: pd.Series) -> float:
    """p-value for a trend over all doses together with a difference between two of them.

    Both have to be there, in the same direction, so the larger p of the two tests counts (the
    intersection-union test, which needs no correction); 1 where they disagree about the direction.
    """
    if rises(doses) != (effect.mean() > 0):
        return 1.0
    return max(page_test(doses), sign_flip_test(effect))
