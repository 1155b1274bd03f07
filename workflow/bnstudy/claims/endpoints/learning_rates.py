"""Endpoints of the learning-rate study: how high (B4), how fast (B5), how wide (B6)."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, Exact
from bnstudy.claims.endpoints.scoring import accuracy, cells_of, steps
from bnstudy.scoring import failed

KEYS = ["norm", "optimizer", "batch_size", "seed"]
BAND_POINTS = 1.0  # percentage points below the arm's best


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """The endpoints of the claims, and those that belong to no claim, by name.

    - `lr_max_decades` (B4): log10 of the largest rate that trains, `batch` minus `none`.
    - `never_diverges` (B4, read literally): no normalized run diverged at any rate.
    - `best_over_default` (B5): ln(steps to 95 % at the usual rate / at the best of the higher ones),
      `batch` alone.
    - `best_over_best`: ln(steps without / with batch normalization), each at its best rate.
    - `band_decades` (B6): width of the band of usable rates, `batch` minus `none`.

    The effect is that of plain SGD at the largest batch size; the cells show all optimizers and
    batch sizes.

    Parameters
    ----------
    table : pd.DataFrame
        A row per norm, optimizer, batch size, seed and learning rate.
    options : dict
        `trained_at`: the accuracy from which a run counts as trained. `usual`: the learning rate of
        B5's comparison, by optimizer. `target_within`, `target_between`: the accuracies to reach in
        comparing rates within an arm and arms.
    """
    table = table.assign(accuracy=accuracy(table), diverged=failed(table), cell=cell_names(table))
    primary = f"sgd, batch size {table['batch_size'].max()}"
    highest, at_edge = largest_rate(table, 100 * options["trained_at"])
    width, touching = usable_band(table)
    within = f"steps_to_{round(100 * options['target_within'])}"
    between = f"steps_to_{round(100 * options['target_between'])}"
    return {
        "lr_max_decades": endpoint(
            minus_none(highest),
            primary,
            "decades",
            censored=int(at_edge.xs(primary, level="cell").sum()),
            note=f"Rates run from {grid_text(table, primary)}.",
        ),
        "never_diverges": never_diverges(table),
        "best_over_default": best_over_default(table, within, options["usual"], primary),
        "best_over_best": best_over_best(table, between, primary),
        "band_decades": endpoint(
            minus_none(width),
            primary,
            "decades",
            censored=int(touching.xs(primary, level="cell").sum()),
            note="A band that touches an end of the grid counts as censored.",
        ),
    }


def cell_names(table: pd.DataFrame) -> pd.Series:
    return table["optimizer"] + ", batch size " + table["batch_size"].astype(str)


def grid_text(table: pd.DataFrame, cell: str) -> str:
    rates = table.loc[table["cell"] == cell, "learning_rate"]
    return f"{rates.min():g} to {rates.max():g}"


def endpoint(differences: pd.DataFrame, primary: str, unit: str, **rest: object) -> Endpoint:
    return Endpoint(differences[primary], cells_of(differences), unit, **rest)


def minus_none(values: pd.Series) -> pd.DataFrame:
    """`batch` minus `none` of values indexed by norm, cell and seed: (seeds x cells)."""
    return (values["batch"] - values["none"]).unstack("cell")


def largest_rate(table: pd.DataFrame, trained_at: float) -> tuple[pd.Series, pd.Series]:
    """log10 of the largest rate that trains, by norm, cell and seed; and whether it is censored.

    It is censored where it is the largest of the grid, or where no rate trains: that counts as the
    smallest of the grid, which understates the difference between the arms.
    """
    groups = ["norm", "cell", "seed"]
    rates = table.groupby(groups)["learning_rate"]
    trained = table["accuracy"] >= trained_at
    largest = table.loc[trained].groupby(groups)["learning_rate"].max().reindex(rates.min().index)
    censored = largest.isna() | (largest == rates.max())
    return decades(largest.fillna(rates.min())), censored


def decades(rates: pd.Series) -> pd.Series:
    """log10 of the rates of a grid in steps of half a decade, which it gives as 0.0316 and so on."""
    return (2 * np.log10(rates)).round() / 2


def usable_band(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """log10(largest / smallest) rate within a point of the arm's best; and whether it is censored.

    By norm, cell and seed; the best is that of the same seed.
    """
    groups = ["norm", "cell", "seed"]
    best = table.groupby(groups)["accuracy"].transform("max")
    usable = table.loc[table["accuracy"] >= best - BAND_POINTS]
    low, high = (usable.groupby(groups)["learning_rate"].agg(f) for f in ("min", "max"))
    rates = table.groupby(groups)["learning_rate"]
    return decades(high) - decades(low), (low == rates.min()) | (high == rates.max())


def never_diverges(table: pd.DataFrame) -> Exact:
    """ "Without the risk of divergence", literally: `value` is the share of `batch` runs that did."""
    runs = table.loc[table["norm"] == "batch"]
    gone = runs.loc[runs["diverged"]]
    note = f"{len(gone)} of {len(runs)} runs with batch normalization diverged"
    if len(gone):
        lowest = gone.groupby("optimizer")["learning_rate"].min()
        note += ", at rates from " + " and ".join(f"{r:g} ({o})" for o, r in lowest.items())
    return Exact(not len(gone), len(gone) / len(runs), 0.0, note + ".")


def cross_fitted_steps(ln_steps: pd.DataFrame) -> tuple[pd.Series, str]:
    """Each seed's ln steps at the rate that is best on the other half of the seeds.

    Choosing and judging on the same seeds would flatter whichever arm has more rates to choose
    from. A tie goes to the smaller rate.

    Parameters
    ----------
    ln_steps : pd.DataFrame
        A row per seed, a column per learning rate.

    Returns
    -------
    pd.Series
        By seed.
    str
        The rates chosen.
    """
    seeds = sorted(ln_steps.index)
    halves = seeds[: len(seeds) // 2], seeds[len(seeds) // 2 :]
    parts, chosen = [], set()
    for judged, choosing in (halves, halves[::-1]):
        # A single seed leaves nothing to choose on but itself.
        best = ln_steps.loc[choosing or judged].mean().idxmin()
        parts.append(ln_steps.loc[judged, best])
        chosen.add(best)
    return pd.concat(parts).sort_index(), " or ".join(f"{rate:g}" for rate in sorted(chosen))


def ln_steps_by_rate(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """ln steps to the target: a row per norm, cell and seed, a column per learning rate."""
    values = np.log(steps(table, column).clip(lower=1))
    wide = table.assign(value=values).pivot(
        index=["norm", "cell", "seed"], columns="learning_rate", values="value"
    )
    return wide.sort_index()


def rates_of(ln_steps: pd.DataFrame, norm: str, cell: str) -> pd.DataFrame:
    """The rows of one arm and cell, without the rates that belong to the other optimizer."""
    return ln_steps.loc[norm, cell].dropna(axis=1, how="all")


def best_over_default(
    table: pd.DataFrame, column: str, usual: dict[str, float], primary: str
) -> Endpoint:
    """ln(steps at the usual rate / steps at the best higher rate), with batch normalization.

    Above zero where a higher rate is faster, below where every higher one is slower.
    """
    ln_steps = ln_steps_by_rate(table, column)
    optimizers = table.drop_duplicates("cell").set_index("cell")["optimizer"]
    gains, rates, censored = {}, {}, 0
    for cell, optimizer in optimizers.items():
        of_cell = rates_of(ln_steps, "batch", cell)
        higher = of_cell[[rate for rate in of_cell if rate > usual[optimizer]]]
        best, rates[cell] = cross_fitted_steps(higher)
        gains[cell] = of_cell[usual[optimizer]] - best
    arm = table.loc[(table["norm"] == "batch") & (table["cell"] == primary)]
    optimizer = optimizers[primary]
    censored = int(arm.loc[arm["learning_rate"] == usual[optimizer], column].isna().sum())
    note = (
        f"Best higher rate {rates[primary]}, usual rate {usual[optimizer]:g}; "
        f"{censored} runs at the usual rate never reached the target."
    )
    return endpoint(pd.DataFrame(gains), primary, "ln ratio", censored=censored, note=note)


def best_over_best(table: pd.DataFrame, column: str, primary: str) -> Endpoint:
    """ln(steps without / steps with batch normalization), each arm at its own best rate."""
    ln_steps = ln_steps_by_rate(table, column)
    gains, rates = {}, {}
    for cell in table["cell"].unique():
        none, rate_none = cross_fitted_steps(rates_of(ln_steps, "none", cell))
        batch, rate_batch = cross_fitted_steps(rates_of(ln_steps, "batch", cell))
        gains[cell] = none - batch
        rates[cell] = f"{rate_none} without and {rate_batch} with batch normalization"
    return endpoint(pd.DataFrame(gains), primary, "ln ratio", note=f"Best rates: {rates[primary]}.")
