"""A trend over ordered doses, with seeds as blocks."""

import pandas as pd
from scipy import stats


def page_test(doses: pd.DataFrame) -> float:
    """p-value of Page's test for a trend that goes up from the first column to the last, doubled.

    Doubled as the other tests are, which look at both directions; 1 for a trend that goes down.

    Parameters
    ----------
    doses : DataFrame
        One row per seed, one column per dose, in order.

    Notes
    -----
    Page (1963), Ordered hypotheses for multiple treatments.
    """
    return min(1.0, 2 * float(stats.page_trend_test(doses.to_numpy()).pvalue))
