"""From probes during training to B1a, B1b and B9."""

from dataclasses import replace

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint

NETWORKS = {"relu2": "2 ReLU layers", "relu5": "5 ReLU layers", "sigmoid3": "3 sigmoid layers"}


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Endpoints at `options["learning_rate"]`, averaged over networks, the cells.

    By construction the mean of a normalized unit hardly moves in training mode, so `drift_eval`,
    `wasserstein` and `wasserstein_eval` stand beside `drift` (B1a). `smoothness` (B9), on
    `options["smoothness_networks"]`, needs that the cosine of the gradients along the step agrees.
    """
    usual = table["learning_rate"] == options["learning_rate"]
    smooth = table["network"].isin(options["smoothness_networks"])
    drifts = ("drift", "drift_eval", "wasserstein", "wasserstein_eval")
    found = {metric: compare(table[usual], metric) for metric in drifts}
    mean = {metric: endpoint.effect.mean() for metric, endpoint in found.items()}
    relative = compare(table[usual], "ics_relative_shift")
    by_network = ", ".join(f"{d.mean():+.2f} ({name})" for name, d in relative.cells.items())
    return found | {
        "drift": replace(
            found["drift"],
            note=f"In evaluation mode {mean['drift_eval']:+.2f} decades; for the whole distribution "
            f"(Wasserstein-1) {mean['wasserstein']:+.2f} in training and "
            f"{mean['wasserstein_eval']:+.2f} in evaluation mode.",
        ),
        "covariate_shift": replace(
            compare(table[usual], "ics_cosine"),
            note=f"By learning rate: {by_rate(table, 'ics_cosine')}. As relative change of the "
            f"gradient, none over batch: {relative.effect.mean():+.2f} decades, which is the mean of "
            f"{by_network}.",
        ),
        "relative_covariate_shift": relative,
        "smoothness": replace(
            compare(table[usual & smooth], "beta"),
            conditions={"cosine": compare(table[usual & smooth], "cosine")},
            note=f"By learning rate, in decades: {by_rate(table[smooth], 'beta')}.",
        ),
        "loss_range": compare(table[usual & smooth], "loss_range"),
    }


def compare(table: pd.DataFrame, metric: str) -> Endpoint:
    """Mean of a metric over steps and layers: log10, none minus batch; of cosines batch minus none.

    Probes without a finite value (and zeros on a log scale) are left out of the means and counted
    as censored. A seed that is left with none in one arm counts as no difference.
    """
    rows = table[table["metric"] == metric]
    cosine = metric.endswith("cosine")
    scaled = rows["value"] if cosine else np.log10(rows["value"].where(rows["value"] > 0))
    means = scaled.groupby([rows["seed"], rows["norm"], rows["network"]]).mean()
    means = means.unstack(["norm", "network"])
    first, second = ("batch", "none") if cosine else ("none", "batch")
    difference = (means[first] - means[second]).fillna(0.0).sort_index(axis=1)
    unit = "cosine" if cosine else "decades"
    return over_networks(difference, unit, censored=int(scaled.isna().sum()))


def over_networks(difference: pd.DataFrame, unit: str, **rest: object) -> Endpoint:
    """An endpoint from differences by seed (rows) and network (columns)."""
    cells = dict(difference.rename(columns=NETWORKS))
    return Endpoint(difference.mean(axis=1), unit, cells, **rest)


def by_rate(table: pd.DataFrame, metric: str) -> str:
    """The mean effect of `compare` at each learning rate, `+0.02 at 0.1, +0.08 at 0.3`."""
    parts = table.groupby("learning_rate")
    return ", ".join(
        f"{compare(part, metric).effect.mean():+.2f} at {rate:g}" for rate, part in parts
    )
