"""From the arms that take batch normalization apart to B2, M3b and M10."""

import math

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, scored, wide
from bnstudy.claims.endpoints.landscape import NETWORKS, over_networks


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Endpoints of the study, averaged over networks, the cells.

    `causal` (B2, batch normalization helps because it reduces covariate shift) is how far noise that
    restores the shift brings the ln loss of batch beyond the middle between batch and none. If the claim
    is right, the noise takes the benefit away, and this is half the benefit or more; if it is wrong, the
    benefit stays, and it is half the benefit below zero. Nothing is decided unless there is a `benefit`,
    and a `shift` larger than without normalization (log10 of the drift). Since noise may do harm by
    itself, the claim is supported only if `noise_alone` costs the plain network less than half the benefit.
    """
    ln_loss = by_arm(table, scored(table, "ln_val_loss"))
    drift = by_arm(table, np.log10(table["drift"]))
    growth = by_arm(table, np.log(table["bias_end"] / table["bias_start"]))
    benefit = ln_loss["none"] - ln_loss["batch"]
    alone = ln_loss["noisy_none"] - ln_loss["none"]
    kept = (ln_loss["none"] - ln_loss["noisy_batch"]).mean() / benefit.mean()
    told = ", ".join(f"{share:.0%} ({NETWORKS.get(n, n)})" for n, share in kept.items())
    detached, batch = (math.exp(growth[a].mean().mean()) for a in ("batch_detached", "batch"))
    return {
        "causal": over_networks(
            ln_loss["noisy_batch"] - (ln_loss["batch"] + ln_loss["none"]) / 2,
            "ln ratio",
            conditions={"noise_alone": over_networks(benefit / 2 - alone, "ln ratio")},
            validity={
                "benefit": over_networks(benefit, "ln ratio"),
                "shift": over_networks(drift["noisy_batch"] - drift["none"], "decades"),
            },
            note=f"Batch normalization with noise keeps {told} of the gain in ln loss that batch "
            "normalization has over none.",
        ),
        "affine": over_networks(ln_loss["batch_no_affine"] - ln_loss["batch"], "ln ratio"),
        "statistics_gradient": over_networks(
            ln_loss["batch_detached"] - ln_loss["batch"],
            "ln ratio",
            note=f"The norm of the biases grows by a factor of {detached:.2f} with detached "
            f"statistics and {batch:.2f} with batch normalization.",
        ),
        "noise_without_batch": over_networks(alone, "ln ratio"),
        "layer": over_networks(ln_loss["none"] - ln_loss["layer"], "ln ratio"),
    }


def by_arm(table: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """Values by seed (rows), arm and network (columns)."""
    return wide(table, values, "arm", "network")
