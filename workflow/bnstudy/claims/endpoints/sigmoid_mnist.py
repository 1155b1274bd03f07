"""Endpoints of the repetition of Ioffe and Szegedy's first experiment (H6)."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, Exact
from bnstudy.claims.endpoints.scoring import mean_over_cells
from bnstudy.scoring import chance


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """Figure 1 of the paper in numbers.

    - `above_throughout` (H6): the mean accuracy is higher with batch normalization at every
      checkpoint after the start, at every learning rate; `value` is the share of checkpoints at
      which it is not.
    - `accuracy_along_the_way`: mean accuracy over those checkpoints, percentage points.
    - `final_accuracy`: at the last checkpoint, percentage points.
    - `drift_decades`: log10 of the mean drift between checkpoints, `none` minus `batch`, without
      the first interval, in which the running statistics leave their initial values.

    The effects are means over the learning rates, which the paper does not give; these are the
    cells. A checkpoint that a diverged run did not reach counts as guessing.
    """
    gains, drifts, found = {}, {}, {}
    for rate, rows in table.groupby("learning_rate"):
        accuracy = 100 * curves(rows, "accuracy").fillna(chance(rows["n_classes"].max()))
        later = accuracy.loc[accuracy.index > accuracy.index.min()]
        gains[f"learning rate {rate:g}"] = later["batch"] - later["none"]  # checkpoints x seeds
        drift = np.log10(curves(rows, "drift").iloc[2:].mean())
        drifts[f"learning rate {rate:g}"] = drift["none"] - drift["batch"]
    found["above_throughout"] = above_throughout(gains)
    for name, unit, effects in (
        ("accuracy_along_the_way", "percentage points", {r: d.mean() for r, d in gains.items()}),
        ("final_accuracy", "percentage points", {r: d.iloc[-1] for r, d in gains.items()}),
        ("drift_decades", "decades", drifts),
    ):
        found[name] = mean_over_cells(pd.DataFrame(effects), unit)
    return found


def above_throughout(gains: dict[str, pd.DataFrame]) -> Exact:
    """Whether the mean over seeds is above zero at every checkpoint of every learning rate."""
    means = pd.concat({rate: gain.mean(axis=1) for rate, gain in gains.items()})
    below = int((means <= 0).sum())
    rate, step = means.idxmin()
    return Exact(
        holds=below == 0,
        value=below / len(means),
        tolerance=0.0,
        note=f"Above at {len(means) - below} of {len(means)} checkpoints; the smallest difference "
        f"is {means.min():+.2f} points, at {rate} and step {step}.",
    )


def curves(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Values by step (rows), norm and seed (columns)."""
    return table.pivot(index="step", columns=["norm", "seed"], values=column).astype(float)
