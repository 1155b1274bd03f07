"""Figures of initialization, sharpness, confidence, test-time statistics and the fair race (S21 to S26)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bnstudy.claims.endpoints.residual_init import skip_in_theory
from bnstudy.claims.endpoints.scoring import accuracy
from bnstudy.report import plots
from bnstudy.report.look import BLUE, DASHED, DOTTED, INK, MUTED, Drawing, Look
from bnstudy.report.study_figures.tables import MISSED, NONE, targets
from bnstudy.report.words import guessing
from bnstudy.scoring import chance, failed

THEORY = {"color": INK, "lw": 1, "ls": ":"}


def residual_init(table: pd.DataFrame, options: dict) -> Drawing:
    """Skip path over branch by block, beside the reflected random walk."""

    def theory(ax: Axes, part: pd.DataFrame) -> None:
        blocks = sorted(part["block"].unique())
        ax.plot(blocks, [skip_in_theory(block) for block in blocks], zorder=2, **THEORY)

    return plots.curves(
        "residual-init",
        table[["norm", "seed", "block"]].assign(value=table["skip"] / table["branch"]),
        f"Mean square of the skip path over that of the branch in the first stage of a residual "
        f"network of {options['depth']} layers with fresh weights (logarithmic scale); dotted, what a "
        "reflected random walk gives where branches have variance 1.",
        x="block", value="skip over branch", scale="geometric", then=theory,
        legend=[Line2D([], [], label="reflected random walk", **THEORY)],
    )  # fmt: skip


def edge_of_stability(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Sharpness by step in units of 2 / rate."""
    probes = [column for column in table if column.startswith("sharpness:")]
    frame = table.melt(["norm", "learning_rate", "seed"], probes, "step").dropna()
    if frame.empty:
        return None
    frame["step"] = frame["step"].str.partition(":")[2].astype(int)
    return plots.curves(
        "edge-of-stability",
        frame.assign(value=frame["value"] * frame["learning_rate"] / 2),
        "Largest eigenvalue of the Hessian of the training loss times half the learning rate, over "
        f"gradient descent with all {options['train_images']:,} images at once (logarithmic scale). "
        "At 1 a quadratic loss stops being stable.",
        x="step", col="learning_rate", value="sharpness \N{MULTIPLICATION SIGN} rate / 2", scale="geometric", rule=1.0,
        seeds="lines", markers=False,
    )  # fmt: skip


def rank(table: pd.DataFrame, options: dict) -> Drawing:
    """Effective rank by layer, a panel per width."""
    return plots.curves(
        "rank",
        table[["norm", "seed", "width", "layer"]].assign(value=table["rank"]),
        f"Effective rank of the inputs of each nonlinearity for {options['images']} images in networks "
        "with fresh weights (logarithmic scale). At 1 the images differ in length only.",
        x="layer", col="width", col_name="width {}".format, value="effective rank",
        scale="geometric", seeds="lines", markers=False,
    )  # fmt: skip


def confidence(table: pd.DataFrame, options: dict) -> Drawing:
    """Calibration error and accuracies by the share of wrong labels."""
    measures = {
        "expected calibration error": 100 * table["calibration_error"].astype(float),
        "test accuracy": accuracy(table, "test_accuracy"),
        "training accuracy, labels as given": accuracy(table, "train_accuracy"),
    }
    keys = ["label_noise", "norm", "seed"]
    frame = pd.concat(table[keys].assign(measure=m, value=v) for m, v in measures.items())
    return plots.strips(
        "confidence",
        frame,
        f"After {options['epochs']} epochs on {options['train_images']:,} images, with right labels and "
        f"with a share of wrong ones.{guessing(table[failed(table)], keys)}",
        x="label_noise", col="measure", value="%", other="share of wrong labels", sharey=False,
        what="Percentages", wrap=(3, 1),
    )  # fmt: skip


ADAPTED = {
    "none": NONE,
    "running": Look("batch norm., running averages", MUTED, DASHED, "v"),
    "batch": Look("batch norm., test images alone", BLUE),
    "blended": Look("batch norm., both", INK, DOTTED, "^"),
}


def test_time(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Test accuracy by the number of test images that are normalized together, a panel per shift."""
    said = table["statistics"].astype(str)
    group = pd.to_numeric(said.str.partition("+")[0], errors="coerce")
    way = np.where(
        said == "running",
        "running",
        np.where(said.str.contains("+", regex=False), "blended", "batch"),
    )
    frame = table.assign(way=np.where(table["norm"] == "none", "none", way), group=group)
    shifts = [column for column in table if column.startswith("accuracy_")]
    frame = frame.melt(["way", "group", "seed"], shifts, "shift")
    frame["value"] = 100 * frame["value"].astype(float).fillna(chance(table["n_classes"].max()))
    frame["shift"] = frame["shift"].str.removeprefix("accuracy_")
    levels = {"clean": "images as they are"} | {
        k: f"{k} {v:g}" for k, v in options["shifts"].items()
    }
    if frame["group"].isna().all():
        return None
    return plots.curves(
        "test-time",
        frame,
        "Test accuracy where batch normalization takes its statistics from the test images, so many at "
        f"once, alone or blended with the running averages, which count as {options['prior']} images.",
        x="group", hue="way", looks=ADAPTED, col="shift", cols=[*levels], col_name=levels,
        value="test accuracy (%)", other="test images normalized together", ticks=True,
        sharey=False, wrap=(2, 1),
    )  # fmt: skip


def fair_race(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps and test accuracy of both arms, each at its own rate."""
    table = table[table["norm"].isin(["none", "batch"])]
    steps = targets(table).assign(measure=f"steps to {100 * options['target']:g} %")
    tested = table.assign(value=accuracy(table, "test_accuracy"), **{MISSED: False})
    frame = pd.concat([steps, tested.assign(measure="test accuracy (%)")])
    return plots.strips(
        "fair-race",
        frame[["norm", "seed", "measure", "value", MISSED]],
        f"Each arm at its own tuned rate, {options['epochs']} epochs of standardized images, the rate "
        "falling to zero.",
        col="measure", value="", what="steps and accuracy", sharey=False, missed=MISSED,
    )  # fmt: skip
