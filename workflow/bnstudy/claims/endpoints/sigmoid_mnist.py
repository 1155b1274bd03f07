"""Endpoints of the repetition of Ioffe and Szegedy's first experiment (H6)."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, Exact, mean_over_cells
from bnstudy.scoring import chance


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """Figure 1 of the paper in numbers: means over the learning rates, which it does not give, the cells.

    Checkpoints count after the start, drift after the first interval, in which the running statistics
    leave their initial values. A checkpoint that a diverged run did not reach counts as guessing.
    """
    accuracy = 100 * curves(table, "accuracy").fillna(chance(table["n_classes"].max()))
    gain = (accuracy["batch"] - accuracy["none"]).iloc[1:]
    drift = np.log10(curves(table, "drift").iloc[2:].mean())
    effects = {
        "accuracy_along_the_way": ("percentage points", gain.mean()),
        "final_accuracy": ("percentage points", gain.iloc[-1]),
        "drift_decades": ("decades", drift["none"] - drift["batch"]),
    }
    found: dict[str, Endpoint | Exact] = {"above_throughout": above_throughout(gain)}
    for name, (unit, by_run) in effects.items():
        cells = by_run.unstack("learning_rate").rename(columns="learning rate {:g}".format)
        found[name] = mean_over_cells(cells, unit)
    return found


def above_throughout(gain: pd.DataFrame) -> Exact:
    """Whether the mean over seeds is above zero at every checkpoint of every learning rate."""
    means = gain.T.groupby("learning_rate").mean().stack()
    below = int((means <= 0).sum())
    rate, step = means.idxmin()
    return Exact(
        holds=below == 0,
        value=below / len(means),
        tolerance=0.0,
        note=f"Above at {len(means) - below} of {len(means)} checkpoints; the smallest difference "
        f"is {means.min():+.2f} points, at learning rate {rate:g} and step {step}.",
    )


def curves(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Values by step (rows), norm, learning rate and seed (columns)."""
    columns = ["norm", "learning_rate", "seed"]
    return table.pivot(index="step", columns=columns, values=column).astype(float)
