"""From step times to L2."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """ln of ratios of step times, mean over batch sizes; a seed is a process.

    `training` (L2): batch over none, on condition that the same holds for inference. `inference`
    and `inference_fused`: batch, as it is and folded into the Linear layers, over none.
    """
    ratio = {
        name: ln_ratio(table, phase, arm)
        for name, (phase, arm) in {
            "training": ("training", "batch"),
            "inference": ("inference", "batch"),
            "inference_fused": ("inference", "fused"),
        }.items()
    }
    first = table.groupby("arm")[["parameters", "buffers"]].first()
    memory = table.groupby(["batch_size", "arm"]).saved_bytes.first().unstack("arm")
    note = (
        f"Median step times are {factor(ratio['training'])} those without in training, "
        f"{factor(ratio['inference'])} in inference and {factor(ratio['inference_fused'])} there "
        "once fused. Batch normalization has "
        f"{first.parameters['batch'] - first.parameters['none']} more parameters and "
        f"{first.buffers['batch']} buffer values, and keeps "
        f"{(memory.batch / memory.none).mean():.2f} times the bytes for the backward pass."
    )
    conditions = {"inference": ratio["inference"]}
    return ratio | {"training": replace(ratio["training"], conditions=conditions, note=note)}


def ln_ratio(table: pd.DataFrame, phase: str, arm: str) -> Endpoint:
    times = table[table.phase == phase].pivot(
        index=["batch_size", "seed"], columns="arm", values="milliseconds"
    )
    cells = np.log(times[arm] / times["none"]).unstack("batch_size")
    return Endpoint(
        effect=cells.mean(axis=1),
        cells={f"batch size {batch_size}": cells[batch_size] for batch_size in cells},
        unit="ln ratio",
    )


def factor(ratio: Endpoint) -> str:
    return f"{math.exp(ratio.effect.median()):.2f} times"
