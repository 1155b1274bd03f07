"""From step times to L2."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, mean_over_cells, wide


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """ln of ratios of step times, mean over batch sizes, the cells; a seed is a process."""
    times = wide(table, "milliseconds", "phase", "arm", "batch_size")
    ratio = {
        name: mean_over_cells(
            np.log(times[phase, arm] / times[phase, "none"]).rename(columns="batch size {}".format),
            "ln ratio",
        )
        for name, phase, arm in (
            ("training", "training", "batch"),
            ("inference", "inference", "batch"),
            ("inference_fused", "inference", "fused"),
        )
    }
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
