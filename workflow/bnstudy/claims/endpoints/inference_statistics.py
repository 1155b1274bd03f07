"""Endpoints of S9: claims M5 and L4, and what else goes wrong between training and inference."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, Exact, mean_over_cells
from bnstudy.scoring import chance

CLEAN, SHIFTED = "contrast 1", "contrast 0.5"  # test images as they are, and those of the claim
MEAN_TOLERANCE = 1e-3  # standard deviations; an average over everything is exact up to rounding
DEFAULT_MOMENTUM = "0.1"
EARLY_STEP = 10


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """Effects of statistics that do not fit; cells are all shifts, or the steps."""
    none, batch, reestimated = (
        shifted_accuracy(table, norm, statistics)
        for norm, statistics in (
            ("none", "running"),
            ("batch", "running"),
            ("batch", "reestimated"),
        )
    )
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
    return {
        "entire_training_set": entire_training_set(table),
        "contrast": of_contrast(lost, note),
        "reestimated": of_contrast(reestimated - batch),
        "staleness": Endpoint(stale[early], "ln ratio", dict(stale)),
        "last_batch": mean_over_cells(dropped, "ln ratio"),
    }


def entire_training_set(table: pd.DataFrame) -> Exact:
    frozen = table[table["statistics"] == "frozen"]
    worst = frozen.groupby(frozen["momentum"].astype(str))["mean_error"].max()
    value = float(worst.pop(DEFAULT_MOMENTUM))
    others = ", ".join(f"{error:.1g} at {name}" for name, error in worst.items())
    note = (
        f"An exponential average with momentum {DEFAULT_MOMENTUM} is {value:.2g} standard "
        f"deviations off in the worst seed ({others})."
    )
    return Exact(value <= MEAN_TOLERANCE, value, MEAN_TOLERANCE, note)


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
    cells = dict(effects.drop(columns=CLEAN))
    return Endpoint(effects[SHIFTED], "percentage points", cells, note=note)


def log_ratio(rows: pd.DataFrame, numerator: str, denominator: str) -> pd.DataFrame:
    """ln(loss / loss) between two kinds of statistics by step; 0 for a diverged run, bad with either."""
    wide = np.log(rows.pivot_table(index="seed", columns=["statistics", "step"], values="loss"))
    ratios = (wide[numerator] - wide[denominator]).rename(columns="step {:g}".format)
    return ratios.reindex(sorted(rows["seed"].unique())).fillna(0.0)
