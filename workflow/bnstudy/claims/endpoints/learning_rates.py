"""Endpoints of the learning-rate study: how high (B4), how fast (B5), how wide (B6)."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, Exact, accuracy, scored, wide
from bnstudy.scoring import failed

GROUP = ["norm", "cell", "seed"]
BAND_POINTS = 1.0  # percentage points below the arm's best


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """Endpoints of plain SGD at the largest batch size; cells are all optimizers and batch sizes.

    The table has a row per norm, optimizer, batch size, seed and learning rate. Of the options,
    `trained_at` is the accuracy from which a run counts as trained, `usual` the learning rate of B5's
    comparison, by optimizer, and `target_within` and `target_between` the accuracies to reach in
    comparing rates within an arm and arms.
    """
    cells = table["optimizer"] + ", batch size " + table["batch_size"].astype(str)
    table = table.assign(accuracy=accuracy(table), cell=cells)
    primary = f"sgd, batch size {table['batch_size'].max()}"
    rates = table.loc[cells == primary, "learning_rate"]
    within, between = (
        f"steps_to_{round(100 * options[target])}" for target in ("target_within", "target_between")
    )
    return {
        "lr_max_decades": batch_minus_none(
            *largest_rate(table, 100 * options["trained_at"]),
            primary,
            f"Rates run from {rates.min():g} to {rates.max():g}.",
        ),
        "never_diverges": never_diverges(table),
        "best_over_default": best_over_default(table, within, options["usual"], primary),
        "best_over_best": best_over_best(table, between, primary),
        "band_decades": batch_minus_none(
            *usable_band(table),
            primary,
            "A band that touches an end of the grid counts as censored.",
        ),
    }


def batch_minus_none(values: pd.Series, censored: pd.Series, primary: str, note: str) -> Endpoint:
    """The endpoint of values in decades, by norm, cell and seed."""
    differences = (values["batch"] - values["none"]).unstack("cell")
    count = int(censored.xs(primary, level="cell").sum())
    return Endpoint(differences[primary], "decades", dict(differences), censored=count, note=note)


def largest_rate(table: pd.DataFrame, trained_at: float) -> tuple[pd.Series, pd.Series]:
    """log10 of the largest rate that trains, by norm, cell and seed; and whether it is censored.

    It is censored where it is the largest of the grid, or where no rate trains: that counts as the
    smallest of the grid, which understates the difference between the arms.
    """
    rates = table.groupby(GROUP)["learning_rate"]
    trained = table[table["accuracy"] >= trained_at].groupby(GROUP)["learning_rate"]
    largest = trained.max().reindex(rates.min().index)
    censored = largest.isna() | (largest == rates.max())
    return decades(largest.fillna(rates.min())), censored


def decades(rates: pd.Series) -> pd.Series:
    """log10 of the rates of a grid in steps of half a decade, which it gives as 0.0316 and so on."""
    return (2 * np.log10(rates)).round() / 2


def usable_band(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """log10(largest / smallest) rate within a point of the arm's best; and whether it is censored.

    By norm, cell and seed; the best is that of the same seed.
    """
    best = table.groupby(GROUP)["accuracy"].transform("max")
    usable = table[table["accuracy"] >= best - BAND_POINTS].groupby(GROUP)["learning_rate"]
    rates, low, high = table.groupby(GROUP)["learning_rate"], usable.min(), usable.max()
    return decades(high) - decades(low), (low == rates.min()) | (high == rates.max())


def never_diverges(table: pd.DataFrame) -> Exact:
    """ "Without the risk of divergence", literally: `value` is the share of `batch` runs that did."""
    runs = table[table["norm"] == "batch"]
    gone = runs[failed(runs)]
    note = f"{len(gone)} of {len(runs)} runs with batch normalization diverged"
    if len(gone):
        lowest = gone.groupby("optimizer")["learning_rate"].min()
        note += ", at rates from " + " and ".join(f"{r:g} ({o})" for o, r in lowest.items())
    return Exact(not len(gone), len(gone) / len(runs), 0.0, note + ".")


def cross_fitted_steps(ln_steps: pd.DataFrame) -> tuple[pd.Series, str]:
    """Each seed's ln steps at the rate that is best on the other half of the seeds, and the rates chosen.

    Rows are seeds, columns learning rates. Choosing and judging on the same seeds would flatter whichever
    arm has more rates to choose from. A tie goes to the smaller rate.
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


def steps_by_rate(table: pd.DataFrame, column: str, norm: str) -> dict[str, pd.DataFrame]:
    """ln steps to the target of an arm by cell: a row per seed, a column per learning rate of the cell."""
    arm = table[table["norm"] == norm]
    parts = arm.groupby("cell", sort=False)
    return {cell: wide(rows, scored(rows, f"ln_{column}"), "learning_rate") for cell, rows in parts}


def best_over_default(
    table: pd.DataFrame, column: str, usual: dict[str, float], primary: str
) -> Endpoint:
    """ln(steps at the usual rate / steps at the best higher rate), with batch normalization.

    Above zero where a higher rate is faster, below where every higher one is slower.
    """
    gains, chosen = {}, {}
    optimizers = table.drop_duplicates("cell").set_index("cell")["optimizer"]
    for cell, ln_steps in steps_by_rate(table, column, "batch").items():
        rate = usual[optimizers[cell]]
        best, chosen[cell] = cross_fitted_steps(ln_steps.loc[:, ln_steps.columns > rate])
        gains[cell] = ln_steps[rate] - best
    rate = usual[optimizers[primary]]
    same = table.query("norm == 'batch' and cell == @primary and learning_rate == @rate")
    censored = int(same[column].isna().sum())
    note = (
        f"Best higher rate {chosen[primary]}, usual rate {rate:g}; "
        f"{censored} runs at the usual rate never reached the target."
    )
    return Endpoint(gains[primary], "ln ratio", gains, censored=censored, note=note)


def best_over_best(table: pd.DataFrame, column: str, primary: str) -> Endpoint:
    """ln(steps without / steps with batch normalization), each arm at its own best rate."""
    none, batch = (
        {cell: cross_fitted_steps(one) for cell, one in steps_by_rate(table, column, norm).items()}
        for norm in ("none", "batch")
    )
    gains = {cell: none[cell][0] - batch[cell][0] for cell in none}
    note = (
        f"Best rates: {none[primary][1]} without and {batch[primary][1]} with batch normalization."
    )
    return Endpoint(gains[primary], "ln ratio", gains, note=note)
