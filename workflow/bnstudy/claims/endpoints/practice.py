"""Endpoints of practice: the grid, learning rates, stability, step times, small batches; and exact checks."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import pearsonr

from bnstudy.claims.endpoints.base import (
    POINTS,
    Endpoint,
    Exact,
    accuracy,
    arrival,
    level_minus_baseline,
    mean_over_cells,
    scored,
    steps,
    wide,
)
from bnstudy.scoring import failed

CELL = ["dataset", "batch_size"]
RUN = [*CELL, "norm", "seed"]


def core(runs: pd.DataFrame, metrics: pd.DataFrame, timings: pd.DataFrame) -> dict[str, Endpoint]:
    """What of the grid is no plain metric of its runs, batch normalization against none, B17 among it.

    Nothing where one of the two arms was not run or further axes are swept; what needs several batch sizes is left out
    where there is one.
    """
    runs = runs.loc[runs["norm"].isin(["none", "batch"])]
    if runs["norm"].nunique() < 2 or runs.duplicated(RUN).any():
        return {}
    done = metrics.groupby(RUN)["step"].max().rename("steps_done")
    runs = runs.merge(done, on=RUN, how="left")
    runs = runs.merge(timings[[*RUN, "training_seconds"]], on=RUN, how="left")
    # A diverged run broke off within an epoch whose seconds were not counted: it gets the median of its arm, or of the
    # cell where the whole arm diverged.
    step = (runs["training_seconds"] / runs["steps_done"]).mask(runs["status"] == "diverged")
    for group in ([*CELL, "norm"], CELL):
        step = step.fillna(step.groupby([runs[key] for key in group]).transform("median"))
    seconds = np.log(steps(runs).clip(lower=1) * step)
    runs = runs.merge(steps_to(metrics, 0.97).rename("steps_to_97"), on=RUN, how="left")
    first = metrics.query("split == 'validation' and metric == 'loss' and epoch == 1")
    first = first.set_index(RUN)["value"].rename("first_epoch_loss")
    runs = runs.merge(first, on=RUN, how="left")
    by = ("batch_size",) if runs["dataset"].nunique() == 1 else ("dataset", "batch_size")
    loss = np.log(runs["first_epoch_loss"].fillna(np.log(runs["n_classes"])))
    late, shared = scored(runs, "ln_steps_to_97"), "Runs may have shared the machine with others."

    def none_over_batch(values: pd.Series, **rest: object) -> Endpoint:
        return mean_over_cells(-level_minus_baseline(runs, values, by), "ln ratio", **rest)

    found = {
        "seconds_to_target": none_over_batch(seconds, note=shared),
        "steps_to_97": none_over_batch(late, **arrival(runs, "steps_to_97")),
        "first_epoch_loss": none_over_batch(loss),
    }
    return found | (batch_sizes(runs) if runs["batch_size"].nunique() > 1 else {})


def steps_to(metrics: pd.DataFrame, target: float) -> pd.Series:
    """First step at which the median of the last three probe accuracies reaches the target, by run."""
    probes = metrics.query("split == 'probe' and metric == 'accuracy'").sort_values("step")
    median = probes.groupby(RUN)["value"].transform(lambda v: v.rolling(3, min_periods=1).median())
    return probes.loc[median >= target].groupby(RUN)["step"].min()


def batch_sizes(runs: pd.DataFrame) -> dict[str, Endpoint]:
    """What depends on the batch size, `none` minus `batch`, means over datasets.

    `batch_size_slope`: the least-squares slope of ln(validation loss) on log2(batch size), without its sign, over the
    whole range of sizes. `batch_size_samples`: ln(samples to the target at the largest / at the smallest size).
    """

    def by_size(values: pd.Series) -> pd.DataFrame:
        table, keys = runs.assign(value=values), ["norm", "seed"]
        return table.pivot_table(index=keys, columns="batch_size", values="value")

    samples = by_size(np.log(steps(runs).clip(lower=1) * runs["batch_size"]))
    penalty = samples[samples.columns.max()] - samples[samples.columns.min()]
    extra = penalty["none"] - penalty["batch"]
    ln_loss = by_size(scored(runs, "ln_val_loss"))
    log_size = np.log2(ln_loss.columns.to_numpy(dtype=float))
    centred = log_size - log_size.mean()
    slope = (ln_loss * centred).sum(axis=1, skipna=False) / (centred**2).sum()
    change = slope.abs() * np.ptp(log_size)
    mean = (slope * np.ptp(log_size)).groupby("norm").mean()
    note = (
        f"From the smallest to the largest batch size ln(validation loss) changes by "
        f"{mean['none']:+.2f} without and {mean['batch']:+.2f} with batch normalization; the extra "
        f"samples to the target differ by {extra.mean():+.2f} (ln ratio)."
    )
    return {
        "batch_size_slope": Endpoint(change["none"] - change["batch"], "ln ratio", note=note),
        "batch_size_samples": Endpoint(extra, "ln ratio"),
    }


GROUP = ["norm", "seed"]
BAND_POINTS = 1.0  # percentage points below the arm's best


def learning_rates(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """How high (B4), how fast (B5), how wide (B6).

    The table has a row per norm, seed and learning rate. Of the options, `trained_at` is the accuracy from which a run
    counts as trained, `usual` the learning rate of B5's comparison, and `target_within` and `target_between` the
    accuracies to reach in comparing rates within an arm and arms.
    """
    table = table.assign(accuracy=accuracy(table))
    rates = table["learning_rate"]
    within, between = (f"steps_to_{round(100 * options[target])}" for target in ("target_within", "target_between"))
    best = table.groupby(GROUP)["accuracy"].transform("max")
    trained, usable = (
        table[table["accuracy"] >= least].groupby(GROUP)["learning_rate"]
        for least in (100 * options["trained_at"], best - BAND_POINTS)
    )
    # Where no rate trains, that counts as the smallest of the grid, which understates the difference.
    lowest = table.groupby(GROUP)["learning_rate"].min()
    highest = decades(trained.max().reindex(lowest.index).fillna(lowest))
    band = decades(usable.max()) - decades(usable.min())
    swept = f"Rates run from {rates.min():g} to {rates.max():g}."
    at_an_end = "A band that touches an end of the grid may be wider."
    return {
        "lr_max_decades": Endpoint(highest["batch"] - highest["none"], "decades", note=swept),
        "never_diverges": never_diverges(table),
        "best_over_default": best_over_default(table, within, options["usual"]),
        "best_over_best": best_over_best(table, between),
        "band_decades": Endpoint(band["batch"] - band["none"], "decades", note=at_an_end),
    }


def decades(rates: pd.Series) -> pd.Series:
    """log10 of the rates of a grid in steps of half a decade, which it gives as 0.0316 and so on."""
    return (2 * np.log10(rates)).round() / 2


def never_diverges(table: pd.DataFrame) -> Exact:
    """ "Without the risk of divergence", literally: `value` is the share of `batch` runs that did."""
    runs = table[table["norm"] == "batch"]
    gone = runs[failed(runs)]
    note = f"{len(gone)} of {len(runs)} runs with batch normalization diverged"
    if len(gone):
        note += f", at rates from {gone['learning_rate'].min():g}"
    return Exact(not len(gone), len(gone) / len(runs), 0.0, note + ".")


def cross_fitted_steps(ln_steps: pd.DataFrame) -> tuple[pd.Series, str]:
    """Each seed's ln steps at the rate that is best on the other half of the seeds, and the rates chosen.

    Rows are seeds, columns learning rates. Choosing and judging on the same seeds would flatter whichever arm has more
    rates to choose from. A tie goes to the smaller rate.
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


def steps_by_rate(table: pd.DataFrame, column: str, norm: str) -> pd.DataFrame:
    """ln steps to the target of an arm: a row per seed, a column per learning rate."""
    arm = table[table["norm"] == norm]
    return wide(arm, scored(arm, f"ln_{column}"), "learning_rate")


def best_over_default(table: pd.DataFrame, column: str, usual: float) -> Endpoint:
    """ln(steps at the usual rate / steps at the best higher rate), with batch normalization."""
    ln_steps = steps_by_rate(table, column, "batch")
    best, chosen = cross_fitted_steps(ln_steps.loc[:, ln_steps.columns > usual])
    same = table.query("norm == 'batch' and learning_rate == @usual")
    note = (
        f"Best higher rate {chosen}, usual rate {usual:g}; "
        f"{same[column].isna().sum()} runs at the usual rate never reached the target."
    )
    return Endpoint(ln_steps[usual] - best, "ln ratio", note=note)


def best_over_best(table: pd.DataFrame, column: str) -> Endpoint:
    """ln(steps without / steps with batch normalization), each arm at its own best rate."""
    none, batch = (cross_fitted_steps(steps_by_rate(table, column, norm)) for norm in ("none", "batch"))
    note = f"Best rates: {none[1]} without and {batch[1]} with batch normalization."
    return Endpoint(none[0] - batch[0], "ln ratio", note=note)


SEEDS_AT_LEAST = 3  # for a standard deviation without one of them


def stability(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """B16, the readings of "fluctuates less"; each a mean over batch sizes, the cells.

    Spikes are losses of more than twice the running median. `between_seeds` compares standard deviations of the final
    validation loss, one number for all seeds; the effect of a seed is its jackknife pseudo-value (Miller 1974,
    Biometrika 61), whose mean is the ratio corrected for bias.
    """
    found = {
        "fluctuation": matched(table, -scored(table, "ln_fluctuation"), "ln ratio"),
        "spikes": matched(table, -100 * table["spikes"].astype(float), POINTS),
        "spikes_all": matched(table, -100 * table["spikes_all"].astype(float), POINTS),
    }
    if table["seed"].nunique() >= SEEDS_AT_LEAST:
        found["between_seeds"] = between_seeds(table)
    return found


def matched(table: pd.DataFrame, values: pd.Series, unit: str) -> Endpoint:
    """`batch` minus `none` of values that may be undefined, mean over the batch sizes that are.

    A value is undefined where a run was not long enough at the level that is compared, which is no failure and has no
    score. A seed is left out only where that is so at every batch size.
    """
    differences = level_minus_baseline(table, values, ("batch_size",))
    undefined = int(values.isna().sum())
    note = f"{undefined} of {len(table)} runs were too short at the compared level of the loss."
    cells = {name: column.dropna() for name, column in differences.items()}
    return Endpoint(differences.mean(axis=1).dropna(), unit, cells, note=note if undefined else "")


def between_seeds(table: pd.DataFrame) -> Endpoint:
    """ln ratio of the standard deviations between seeds of the final validation loss."""
    loss = wide(table, scored(table, "val_loss"), "norm", "batch_size")
    cells, p = {}, []
    for size in loss["none"]:
        none, batch = loss["none", size], loss["batch", size]
        cells[f"batch size {size}"] = pseudo_values(none, batch)
        p.append(f"{pitman_morgan(none, batch):.3g} ({size})")
    note = f"Pitman-Morgan p by batch size: {', '.join(p)}."
    return mean_over_cells(pd.DataFrame(cells), "ln ratio", note=note)


def pseudo_values(none: pd.Series, batch: pd.Series) -> pd.Series:
    """Jackknife pseudo-values n t - (n - 1) t_(-i) of t = ln(sd(none) / sd(batch))."""
    n = len(none)
    whole = math.log(none.std() / batch.std())
    without = [math.log(none.drop(seed).std() / batch.drop(seed).std()) for seed in none.index]
    return pd.Series([n * whole - (n - 1) * t for t in without], index=none.index)


def pitman_morgan(a: pd.Series, b: pd.Series) -> float:
    """p-value of equal variances of paired values, Pitman (1939) and Morgan (1939), Biometrika 31."""
    return float(pearsonr(a + b, a - b).pvalue)


def convolutional(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """S27: test accuracy of batch minus group normalization, largest minus smallest batch.

    In percentage points; whatever a small batch does to both, such as more steps an epoch, cancels.
    """
    group = next(norm for norm in table["norm"] if norm.startswith("group:"))
    table = table[table["train_images"] == table["train_images"].max()]
    accuracies = wide(table, accuracy(table, "test_accuracy"), "norm", "batch_size")
    gains = accuracies["batch"] - accuracies[group]
    effect = gains[gains.columns.max()] - gains[gains.columns.min()]
    return {"small_batches": Endpoint(effect, POINTS)}


def timing(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """L2, ln of ratios of step times, mean over batch sizes, the cells; a seed is a process."""
    times = wide(table, "milliseconds", "phase", "arm", "batch_size")
    pairs = {"training": ("training", "batch"), "inference": ("inference", "batch")}
    pairs["inference_fused"] = ("inference", "fused")
    ratio = {}
    for name, (phase, arm) in pairs.items():
        logs = np.log(times[phase, arm] / times[phase, "none"])
        ratio[name] = mean_over_cells(logs.rename(columns="batch size {}".format), "ln ratio")
    factor = {name: f"{math.exp(one.effect.median()):.2f} times" for name, one in ratio.items()}
    first = table.groupby("arm")[["parameters", "buffers"]].first()
    memory = table.groupby(["batch_size", "arm"]).saved_bytes.first().unstack("arm")
    note = (
        f"Median step times are {factor['training']} those without in training, "
        f"{factor['inference']} in inference and {factor['inference_fused']} there "
        "once fused. Batch normalization has "
        f"{first.parameters['batch'] - first.parameters['none']} more parameters and "
        f"{first.buffers['batch']} buffer values, and keeps "
        f"{(memory.batch / memory.none).mean():.2f} times the bytes for the backward pass."
    )
    conditions = {"inference": ratio["inference"]}
    return ratio | {"training": replace(ratio["training"], conditions=conditions, note=note)}


def controls(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """The A/A control of the verdict rule: test accuracy of half the seeds against the other half."""
    usual = table[table["learning_rate"] == table["learning_rate"].max()]
    values = accuracy(usual, "test_accuracy").set_axis(usual["seed"])
    half = len(values) // 2
    first, second = values.iloc[:half], values.iloc[half : 2 * half].set_axis(values.index[:half])
    return {"same": Endpoint(first - second, POINTS)}


def identities(table: pd.DataFrame, options: dict) -> dict[str, Exact]:
    """M1 to M9, L3, L5 and the erratum: a check, by its name, holds if all of its rows do.

    `value` and `tolerance` are those of the row that is furthest off for its tolerance.
    """
    return {name: worst(rows) for name, rows in table.groupby("check", sort=False)}


def worst(rows: pd.DataFrame) -> Exact:
    error = (rows.value - rows.reference).abs()
    # A tolerance of zero is no scale; there any error counts as it is, after a row that fails.
    relative = error / rows.tolerance.where(rows.tolerance > 0, 1.0)
    order = pd.DataFrame({"fails": rows.holds == 0, "relative": relative})
    index = order.sort_values(["fails", "relative"], kind="stable").index[-1]
    row = rows.loc[index]
    more = "" if pd.isna(row.note) else str(row.note)
    note = f"{row.quantity}: {row.value:.3g}. {more}".strip()
    return Exact(bool((rows.holds == 1).all()), float(error[index]), float(row.tolerance), note)
