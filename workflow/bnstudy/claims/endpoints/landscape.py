"""From probes during training to B1a, B1b and B9."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint

NETWORKS = {"relu2": "2 ReLU layers", "relu5": "5 ReLU layers", "sigmoid3": "3 sigmoid layers"}


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Endpoints of the study, at `options["learning_rate"]`, averaged over networks.

    `drift` (B1a): log10 of the drift of the inputs of the last nonlinearity, none minus batch, in
    decades. By construction the mean of a normalized unit hardly moves in training mode, so
    `drift_eval`, `wasserstein` and `wasserstein_eval` stand beside it. `covariate_shift` (B1b):
    cosine between the gradients before and after the other layers' step, batch minus none;
    `relative_covariate_shift`: log10 of the relative change, none minus batch. `smoothness` (B9, on
    `options["smoothness_networks"]`): log10 of the effective beta, none minus batch, on condition
    that the cosine of the gradients along the step agrees.
    """
    primary = table[table.learning_rate == options["learning_rate"]]
    smooth = primary[primary.network.isin(options["smoothness_networks"])]
    log_drift = {
        metric: compare(primary, metric, np.log10, "none", "decades")
        for metric in ("drift", "drift_eval", "wasserstein", "wasserstein_eval")
    }
    mean = {metric: endpoint.effect.mean() for metric, endpoint in log_drift.items()}
    smooth_at_all_rates = table[table.network.isin(options["smoothness_networks"])]
    beta_by_rate = by_rate(smooth_at_all_rates, "beta", np.log10, "none", "decades")
    cosine_by_rate = by_rate(table, "ics_cosine", identity, "batch", "cosine")
    cosine = compare(primary, "ics_cosine", identity, "batch", "cosine")
    relative = compare(primary, "ics_relative_shift", np.log10, "none", "decades")
    smoothness = compare(
        smooth,
        "beta",
        np.log10,
        "none",
        "decades",
        conditions={"cosine": compare(smooth, "cosine", identity, "batch", "cosine")},
        note=f"By learning rate, in decades: {beta_by_rate}.",
    )
    by_network = ", ".join(
        f"{effects.mean():+.2f} ({network})" for network, effects in relative.cells.items()
    )
    loss_range = compare(smooth, "loss_range", np.log10, "none", "decades")
    return log_drift | {
        "drift": replace(
            log_drift["drift"],
            note=f"In evaluation mode {mean['drift_eval']:+.2f} decades; for the whole distribution "
            f"(Wasserstein-1) {mean['wasserstein']:+.2f} in training and "
            f"{mean['wasserstein_eval']:+.2f} in evaluation mode.",
        ),
        "covariate_shift": replace(
            cosine,
            note=f"By learning rate: {cosine_by_rate}. As relative change of the gradient, none over "
            f"batch: {relative.effect.mean():+.2f} decades, which is the mean of {by_network}.",
        ),
        "relative_covariate_shift": relative,
        "smoothness": smoothness,
        "loss_range": loss_range,
    }


def identity(values: pd.Series) -> pd.Series:
    return values


def compare(
    table: pd.DataFrame,
    metric: str,
    scale: Callable[[pd.Series], pd.Series],
    minuend: str,
    unit: str,
    conditions: dict[str, Endpoint] | None = None,
    note: str = "",
) -> Endpoint:
    """Mean of a scaled metric over steps and layers, `minuend` minus the other arm.

    Probes without a finite value (and zeros on a log scale) are left out of the means and counted
    as censored. A seed that is left with none in one arm counts as no difference.
    """
    rows = table[table.metric == metric]
    scaled = scale(rows.value.where(rows.value > 0) if scale is np.log10 else rows.value)
    means = scaled.groupby([rows.network, rows.norm, rows.seed]).mean().unstack("norm")
    subtrahend = "batch" if minuend == "none" else "none"
    difference = (means[minuend] - means[subtrahend]).fillna(0.0)
    censored = int(scaled.isna().sum())
    return over_networks(
        difference, unit, censored=censored, conditions=conditions or {}, note=note
    )


def over_networks(difference: pd.Series, unit: str, **rest: object) -> Endpoint:
    """An endpoint from differences by network and seed."""
    cells = difference.unstack("network")
    named = {NETWORKS.get(network, network): cells[network] for network in cells}
    return Endpoint(cells.mean(axis=1), named, unit, **rest)


def by_rate(table: pd.DataFrame, *comparison: object) -> str:
    """The mean effect of `compare` at each learning rate, `+0.02 at 0.1, +0.08 at 0.3`."""
    effects = (
        (rate, compare(part, *comparison).effect.mean())
        for rate, part in table.groupby("learning_rate")
    )
    return ", ".join(f"{effect:+.2f} at {rate:g}" for rate, effect in effects)
