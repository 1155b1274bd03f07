"""Endpoints of the core grid that are more than a metric of its runs, B17 among them."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import (
    Endpoint,
    arrival,
    level_minus_baseline,
    mean_over_cells,
    scored,
    steps,
)

CELL = ["dataset", "batch_size"]
RUN = [*CELL, "norm", "seed"]


def endpoints(
    runs: pd.DataFrame, metrics: pd.DataFrame, timings: pd.DataFrame
) -> dict[str, Endpoint]:
    """What of the grid is no plain metric of its runs, batch normalization against none, by name.

    Nothing where one of the two arms was not run or further axes are swept; what needs several
    batch sizes is left out where there is one.
    """
    runs = runs.loc[runs["norm"].isin(["none", "batch"])]
    if runs["norm"].nunique() < 2 or runs.duplicated(RUN).any():
        return {}
    runs = add_seconds_per_step(runs, metrics, timings)
    runs = runs.merge(steps_to(metrics, 0.97).rename("steps_to_97"), on=RUN, how="left")
    first = metrics.query("split == 'validation' and metric == 'loss' and epoch == 1")
    first = first.set_index(RUN)["value"].rename("first_epoch_loss")
    runs = runs.merge(first, on=RUN, how="left")
    by = ("batch_size",) if runs["dataset"].nunique() == 1 else ("dataset", "batch_size")
    loss = np.log(runs["first_epoch_loss"].fillna(np.log(runs["n_classes"])))
    seconds = np.log(steps(runs).clip(lower=1) * runs["seconds_per_step"])

    def none_over_batch(values: pd.Series, **rest: object) -> Endpoint:
        return mean_over_cells(-level_minus_baseline(runs, values, by), "ln ratio", **rest)

    found = {
        "seconds_to_target": none_over_batch(
            seconds, note="Runs may have shared the machine with others."
        ),
        "steps_to_97": none_over_batch(
            scored(runs, "ln_steps_to_97"), **arrival(runs, "steps_to_97")
        ),
        "first_epoch_loss": none_over_batch(loss),
    }
    if runs["batch_size"].nunique() > 1:
        samples = batch_size_samples(runs)
        found["batch_size_slope"] = batch_size_slope(runs, samples)
        found["batch_size_samples"] = samples
    return found


def add_seconds_per_step(
    runs: pd.DataFrame, metrics: pd.DataFrame, timings: pd.DataFrame
) -> pd.DataFrame:
    """Add each run's own seconds per step of training.

    A diverged run broke off within an epoch whose seconds were not counted: it gets the median of
    its arm, or of the cell where the whole arm diverged.
    """
    done = metrics.groupby(RUN)["step"].max().rename("steps_done")
    runs = runs.merge(done, on=RUN, how="left")
    runs = runs.merge(timings[[*RUN, "training_seconds"]], on=RUN, how="left")
    own = (runs["training_seconds"] / runs["steps_done"]).mask(runs["status"] == "diverged")
    for group in ([*CELL, "norm"], CELL):
        own = own.fillna(own.groupby([runs[key] for key in group]).transform("median"))
    return runs.assign(seconds_per_step=own)


def steps_to(metrics: pd.DataFrame, target: float) -> pd.Series:
    """First step at which the median of the last three probe accuracies reaches the target.

    By run; runs that never did are absent.
    """
    probes = metrics.query("split == 'probe' and metric == 'accuracy'").sort_values("step")
    median = probes.groupby(RUN)["value"].transform(lambda v: v.rolling(3, min_periods=1).median())
    return probes.loc[median >= target].groupby(RUN)["step"].min()


def by_batch_size(runs: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """Means over datasets: a row per norm and seed, a column per batch size."""
    runs = runs.assign(value=values)
    return runs.pivot_table(index=["norm", "seed"], columns="batch_size", values="value")


def batch_size_slope(runs: pd.DataFrame, samples: Endpoint) -> Endpoint:
    """Dependence of ln(validation loss) on the batch size, `none` minus `batch`.

    The least-squares slope on log2(batch size), without its sign, over the whole range of sizes.
    """
    ln_loss = by_batch_size(runs, scored(runs, "ln_val_loss"))
    log_size = np.log2(ln_loss.columns.to_numpy(dtype=float))
    centred = log_size - log_size.mean()
    slope = (ln_loss * centred).sum(axis=1, skipna=False) / (centred**2).sum()
    change = slope.abs() * np.ptp(log_size)
    mean = (slope * np.ptp(log_size)).groupby("norm").mean()
    note = (
        f"From the smallest to the largest batch size ln(validation loss) changes by "
        f"{mean['none']:+.2f} without and {mean['batch']:+.2f} with batch normalization; the extra "
        f"samples to the target differ by {samples.effect.mean():+.2f} (ln ratio)."
    )
    return Endpoint(change["none"] - change["batch"], "ln ratio", note=note)


def batch_size_samples(runs: pd.DataFrame) -> Endpoint:
    """ln(samples to the target at the largest / at the smallest batch size), `none` minus `batch`."""
    samples = by_batch_size(runs, np.log(steps(runs).clip(lower=1) * runs["batch_size"]))
    penalty = samples[samples.columns.max()] - samples[samples.columns.min()]
    return Endpoint(penalty["none"] - penalty["batch"], "ln ratio")
