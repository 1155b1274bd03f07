"""Endpoints of what lies between training and inference: statistics, small batches, shifted images."""

from dataclasses import replace

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import POINTS, Endpoint, Exact, accuracy, mean_over_cells, page_test, wide
from bnstudy.scoring import chance

CLEAN, SHIFTED = "contrast 1", "contrast 0.5"  # test images as they are, and those of the claim
MEAN_TOLERANCE = 1e-3  # standard deviations; an average over everything is exact up to rounding
DEFAULT_MOMENTUM = "0.1"
EARLY_STEP = 10


def inference_statistics(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """S9 (M5, L4): effects of statistics that do not fit; cells are all shifts, or the steps."""
    none = shifted_accuracy(table, "none", "running")
    batch = shifted_accuracy(table, "batch", "running")
    reestimated = shifted_accuracy(table, "batch", "reestimated")
    lost = batch.rsub(batch[CLEAN], axis=0) - none.rsub(none[CLEAN], axis=0)
    note = (
        f"At contrast 0.5 accuracy falls from {batch[CLEAN].mean():.2f} to "
        f"{batch[SHIFTED].mean():.2f} % with batch normalization and from "
        f"{none[CLEAN].mean():.2f} to {none[SHIFTED].mean():.2f} % without; statistics "
        f"estimated anew on shifted images give {reestimated[SHIFTED].mean():.2f} %."
    )
    is_default = table["momentum"].astype(str) == DEFAULT_MOMENTUM
    stale = log_ratio(table[is_default & (table["part"] == "staleness")], "running", "precise")
    early = min(stale, key=lambda name: abs(float(name.removeprefix("step ")) - EARLY_STEP))
    dropped = log_ratio(table[table["part"] == "last_batch"], "kept", "statistics_dropped")
    frozen = table[table["statistics"] == "frozen"]
    off = frozen.groupby(frozen["momentum"].astype(str))["mean_error"].max()
    whole = float(off.pop(DEFAULT_MOMENTUM))
    others = ", ".join(f"{error:.1g} at {name}" for name, error in off.items())
    average = (
        f"An exponential average with momentum {DEFAULT_MOMENTUM} is {whole:.2g} standard "
        f"deviations off in the worst seed ({others})."
    )
    return {
        "entire_training_set": Exact(whole <= MEAN_TOLERANCE, whole, MEAN_TOLERANCE, average),
        "contrast": of_contrast(lost, note),
        "reestimated": of_contrast(reestimated - batch),
        "staleness": Endpoint(stale[early], "ln ratio", dict(stale)),
        "last_batch": mean_over_cells(dropped, "ln ratio"),
    }


def shifted_accuracy(table: pd.DataFrame, norm: str, statistics: str) -> pd.DataFrame:
    """Test accuracy in percent: a row per seed, a column per shift and level."""
    rows = table.query("part == 'shift' and norm == @norm")
    chosen = rows[rows["statistics"] == statistics]
    found = 100 * chosen.pivot(index="seed", columns=["shift", "level"], values="accuracy")
    found.columns = [f"{shift} {level:g}" for shift, level in found]
    # A diverged run has no rows of its own here.
    found = found.reindex(sorted(rows["seed"].unique()))
    return found.fillna(100 * chance(table["n_classes"].max()))


def of_contrast(effects: pd.DataFrame, note: str = "") -> Endpoint:
    """The effect at the contrast of the claim; cells are all shifts."""
    return Endpoint(effects[SHIFTED], POINTS, dict(effects.drop(columns=CLEAN)), note=note)


def log_ratio(rows: pd.DataFrame, numerator: str, denominator: str) -> pd.DataFrame:
    """ln(loss / loss) between two kinds of statistics by step; 0 for a diverged run, bad with either."""
    losses = np.log(rows.pivot_table(index="seed", columns=["statistics", "step"], values="loss"))
    ratios = (losses[numerator] - losses[denominator]).rename(columns="step {:g}".format)
    return ratios.reindex(sorted(rows["seed"].unique())).fillna(0.0)


def small_batches(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """S8 (L1), and what of it lies in the statistics of evaluation; cells are the sizes.

    Effects in percentage points of validation error. `small_groups` (L1) needs a `trend` over all groups besides. What
    the smallest batches cost is counted from the largest of them.
    """
    ghost, precise, batch = (
        errors(table, "groups", "ghost", statistics, "group_size") for statistics in ("running", "precise", "batch")
    )
    reference, smallest = options["reference_group_size"], ghost.columns[0]
    cost, remaining, as_trained = ((one[smallest] - one[reference]).mean() for one in (ghost, precise, batch))
    small_groups = beyond(ghost.loc[:, :reference], "groups")
    trend = Endpoint(small_groups.effect, POINTS, p=page_test(ghost[ghost.columns[::-1]]))
    by_evaluation = (ghost - precise).rename(columns="groups of {:g}".format)
    note = (
        f"With precise statistics {remaining:+.2f} of the {cost:+.2f} points remain, and "
        f"with the statistics of groups as in training it would be {as_trained:+.2f}."
    )
    found = {
        "small_groups": replace(small_groups, conditions={"trend": trend}, note=note),
        "evaluation_statistics": Endpoint(by_evaluation.iloc[:, 0], POINTS, dict(by_evaluation)),
    }
    batch_norm = errors(table, "batches", "batch", "running", "batch_size")
    for name, norm in (("small_batches", "none"), ("small_batches_layer", "layer")):
        control = errors(table, "batches", norm, "running", "batch_size")
        found[name] = beyond(batch_norm - control, "batches")
    return found


def beyond(values: pd.DataFrame, what: str) -> Endpoint:
    """What the smallest size costs beyond the largest; cells are all sizes but that."""
    costs = values.iloc[:, :-1].sub(values.iloc[:, -1], axis=0)
    costs = costs.rename(columns=f"{what} of {{:g}}".format)
    return Endpoint(costs.iloc[:, 0], POINTS, dict(costs))


def errors(table: pd.DataFrame, design: str, norm: str, statistics: str, sizes: str) -> pd.DataFrame:
    """Validation error in percent, one row per seed and one column per group or batch size."""
    rows = table.query("design == @design and norm == @norm and statistics == @statistics")
    return wide(rows, 100 - accuracy(rows), sizes)


def test_time(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """S25, statistics of the test images: differences of accuracy; cells are the shifts."""
    few, blended = f"{min(options['groups'])}", f"{min(options['groups'])}+{options['prior']}"
    adapted = adapted_accuracy(table, "batch", f"{options['claim_group']}")
    none, running = (adapted_accuracy(table, norm, "running") for norm in ("none", "batch"))
    prior = adapted_accuracy(table, "batch", blended) - adapted_accuracy(table, "batch", few)
    differences = {
        "adapted": adapted - running,
        "prior": prior,
        "against_none": adapted - none,
        "shift": none.rsub(none["clean"], axis=0),
    }
    shifted = {name: one.drop(columns="clean") for name, one in differences.items()}
    return {"price": Endpoint(running["clean"] - adapted["clean"], POINTS)} | {
        name: mean_over_cells(one, POINTS) for name, one in shifted.items()
    }


def adapted_accuracy(table: pd.DataFrame, norm: str, statistics: str) -> pd.DataFrame:
    """Accuracy in percent, guessing where a run diverged: a row per seed, a column per shift."""
    rows = table[(table["norm"] == norm) & (table["statistics"].astype(str) == statistics)]
    found = rows.set_index("seed").filter(regex="^accuracy_")
    found = found.rename(columns=lambda name: name.removeprefix("accuracy_"))
    return 100 * found.fillna(chance(table["n_classes"].max()))
