"""Figures of the sweeps over learning rates (S2) and initial gains (S3)."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bnstudy.claims.endpoints.learning_rates import BAND_POINTS
from bnstudy.report.look import MUTED, Drawing
from bnstudy.report.measures import SPACE
from bnstudy.report.plots import arms, curves
from bnstudy.report.study_figures.tables import (
    MISSED,
    UNTRAINED,
    after,
    name,
    percent,
    swept_accuracy,
    targets,
)
from bnstudy.scoring import fails_below

BAR = {"lw": 3.2, "solid_capstyle": "butt"}
SWEEP = {"col": "optimizer", "col_name": name, "xscale": "log", "sharex": "col"}
SWEEP |= {
    "estimator": "median",
    "markers": False,
    "dodge": 1.25,
    "height": (1.75, 1.5),
    "apart": True,
}


def accuracy_sweep(
    label: str, table: pd.DataFrame, x: str, row: str, caption: str, **options: object
) -> Drawing:
    """The final accuracy over a swept setting, with the usable bands at the foot."""
    columns = [row, "optimizer", "norm", x, "seed", "value", UNTRAINED]
    frame = swept_accuracy(table)[columns].sort_values(row, ascending=False, kind="stable")
    floor = percent(fails_below(table["n_classes"].max()))
    return curves(
        label,
        frame,
        f"{caption} A cross is a run whose loss was not finite or that ended below {floor}, and counts "
        "as guessing. Bars at the foot are the usable band: the settings within "
        f"{BAND_POINTS:g} percentage point of a seed's best, median ends over seeds.",
        x=x, row=row, value="accuracy (%)", scale=None, missed=UNTRAINED,
        then=partial(bands, x=x, looks=arms(frame)),
        legend=[Line2D([], [], color=MUTED, label="usable band", **BAR)], **SWEEP | options,
    )  # fmt: skip


def bands(ax: Axes, part: pd.DataFrame, x: str, looks: dict) -> None:
    """Below zero, a bar per arm over the settings within a point of each seed's best."""
    for i, (norm, look) in enumerate(looks.items()):
        ends = usable(part[part["norm"] == norm], x)
        if ends is not None:
            bar = [ends[0] / 10**0.09, ends[1] * 10**0.09]
            ax.plot(bar, [-7.0 * (i + 1)] * 2, color=look.color, clip_on=False, **BAR)
    ax.set_ylim(-7.0 * len(looks) - 5, 104)
    ax.set_yticks(range(0, 101, 25))
    ax.spines["left"].set_bounds(0, 100)


def usable(frame: pd.DataFrame, x: str) -> tuple[float, float] | None:
    """Medians over seeds of the ends of the band within a point of the seed's best accuracy.

    None for an arm of which no run trained.
    """
    trained = frame[~frame[UNTRAINED]]
    if trained.empty:
        return None
    best = trained.groupby("seed")["value"].transform("max")
    within = trained[trained["value"] >= best - BAND_POINTS].groupby("seed")[x]
    low, high = (10 ** float(np.log10(end).median()) for end in (within.min(), within.max()))
    return low, high


def learning_rates(table: pd.DataFrame, options: dict) -> Drawing:
    """Final accuracy over the learning rate, a panel per optimizer and batch size."""
    caption = f"Validation accuracy {after(options)} against the learning rate (logarithmic scale)."
    return accuracy_sweep("learning-rates", table, "learning_rate", "batch_size", caption)


def learning_rate_speed(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps to a moderate accuracy over the learning rate, a panel per optimizer and batch size."""
    target = round(100 * options["target_between"])
    frame = targets(table, f"steps_to_{target}")
    columns = ["optimizer", "batch_size", "norm", "learning_rate", "seed", "value", MISSED]
    return curves(
        "learning-rate-speed",
        frame[columns].sort_values("batch_size", ascending=False, kind="stable"),
        f"Optimizer steps until the accuracy on the validation probe first held {target}{SPACE}% (both "
        "axes logarithmic). Open triangles never reached it and stand at their last step.",
        x="learning_rate", row="batch_size", value=f"steps to {target}{SPACE}%", scale="log",
        missed=MISSED, **SWEEP,
    )  # fmt: skip


def init_gains(table: pd.DataFrame, options: dict) -> Drawing:
    """Final accuracy over the gain of the initial weights, a panel per optimizer and layers."""
    caption = (
        f"Validation accuracy {after(options)} at batch size {options['batch_size']} against the gain, "
        "the factor on He's standard deviation of the initial weights (logarithmic scale)."
    )
    return accuracy_sweep("init-gains", table, "gain", "scaled", caption, row_name=name)
