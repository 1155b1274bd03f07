"""Figures of smoothness and internal covariate shift (S6) and of Ioffe and Szegedy's experiment (S12)."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bnstudy.report.look import Drawing
from bnstudy.report.measures import counted
from bnstudy.report.plots import arms, curves, figure, strips
from bnstudy.report.study_figures.tables import BASELINE, NAMES

LABELS = {
    "loss_range": "range of the loss",
    "gradient_change_max": "change of gradient",
    "beta": "effective β",
    "relative_change": "relative change",
    "cosine": "cosine",
    "drift_raw": "before BN",
    "drift": "training mode",
    "drift_eval": "evaluation mode",
}
WRAP = {"height": (1.5, 1.25), "wrap": (4, 3), "turn": False, "sharey": "row"}


def at_rate(table: pd.DataFrame, options: dict) -> tuple[pd.DataFrame, float]:
    """The rows of the claims' learning rate, or of the one nearest to it that was run."""
    rates = table["learning_rate"].unique()
    rate = min(rates, key=lambda r: abs(math.log(r / options["learning_rate"])))
    return table[table["learning_rate"] == rate], float(rate)


def trajectories(
    label: str, table: pd.DataFrame, options: dict, metrics: list[str], caption: str, what: str
) -> Drawing:
    """Metrics over the steps of training: a row per metric, a column per network."""
    rows, rate = at_rate(table, options)
    frame = rows[rows["metric"].isin(metrics)].dropna(subset="value")
    keys = ["metric", "network", "norm", "step", "seed"]
    frame = frame.groupby(keys, sort=False)["value"].mean().reset_index()  # over layers
    linear = {"cosine": "linear"}
    return curves(
        label,
        frame[(frame["metric"] == "cosine") | (frame["value"] > 0)],
        f"{caption} Plain SGD at learning rate {rate:g}.",
        x="step", row="metric", rows=metrics, row_name=LABELS, col="network", col_name=NAMES,
        value="", seeds="lines", markers=False, what=what,
        scale=dict.fromkeys(metrics, "geometric") | linear, **WRAP,
    )  # fmt: skip


def landscape(table: pd.DataFrame, options: dict) -> Drawing:
    """Santurkar et al.'s three measures along the gradient, a column per network."""
    return trajectories(
        "landscape",
        table,
        options,
        ["loss_range", "gradient_change_max", "beta"],
        "The loss along the direction of its gradient, in steps of half to four times the "
        "learning rate, by the definitions of Santurkar et al. (2018; logarithmic scales, geometric "
        "means): the range of the loss (nats); how far the gradient moves at most from the one at the "
        "start; and effective β, the largest change per distance. Lower is smoother.",
        "smoothness of the loss",
    )


def landscape_scale_free(table: pd.DataFrame, options: dict) -> Drawing:
    """The same without the scale of weights and gradients."""
    return trajectories(
        "landscape-scale-free",
        table,
        options,
        ["relative_change", "cosine"],
        "What the figure before shows, free of the scale of weights and gradients: the largest "
        "change of the gradient over its length (logarithmic scale; lower is smoother), and the "
        "cosine between the gradients before and after the step, mean over step sizes (1 is perfect "
        "prediction).",
        "how well a gradient predicts the next",
    )


def smoothness_by_rate(table: pd.DataFrame, options: dict) -> Drawing:
    """Ratio of effective beta between the arms at every learning rate, a panel per network."""
    positive = table[(table["metric"] == "beta") & (table["value"] > 0)]
    keys = ["network", "learning_rate", "seed", "norm"]
    logs = np.log(positive["value"]).groupby([positive[key] for key in keys], sort=False).mean()
    wide = logs.unstack("norm").reindex(columns=[BASELINE, "batch"])
    frame = np.exp(wide[BASELINE] - wide["batch"]).dropna().rename("value").reset_index()
    return strips(
        "smoothness-by-rate",
        frame.assign(norm="batch"),
        "Effective β without over with batch normalization, geometric mean over training "
        "(logarithmic scale): above 1 the loss is smoother with batch normalization.",
        x="learning_rate", col="network", col_name=NAMES, value="β without / with BN",
        scale="geometric", rule=1, height=1.8, wrap=(4, 3),
    )  # fmt: skip


def covariate_shift(table: pd.DataFrame, options: dict) -> Drawing:
    """Internal covariate shift as Santurkar et al. define it: over steps, and layer by layer."""
    rows, rate = at_rate(table, options)
    rows = rows[(rows["metric"] == "ics_cosine") & rows["value"].notna()]
    keys = ["network", "norm", "seed"]
    frame = pd.concat(
        rows.groupby([*keys, by], sort=False)["value"].mean().reset_index()
        .rename(columns={by: "place"}).assign(by=by)
        for by in ("step", "layer")
    )  # fmt: skip
    return curves(
        "covariate-shift",
        frame,
        "Internal covariate shift by definition 2.1 of Santurkar et al. (2018): the cosine between "
        "a layer's gradient before and after all layers below it have made their step; at 1, the "
        "horizontal line, there is no shift. Over the steps of training, mean over layers, and by "
        f"layer, mean over steps. Plain SGD at learning rate {rate:g}.",
        x="place", other={"step": "step", "layer": "layer"}, row="by", row_name=None, col="network",
        col_name=NAMES, value="cosine", what="cosine", seeds="lines", markers=False, rule=1,
        xscale={"step": "linear", "layer": "count"}, sharex=False, **WRAP,
    )  # fmt: skip


def landscape_drift(table: pd.DataFrame, options: dict) -> Drawing:
    """How far the inputs of the last nonlinearity move in a few steps, a column per network."""
    return trajectories(
        "landscape-drift",
        table,
        options,
        ["drift_raw", "drift", "drift_eval"],
        "How far the inputs of the last hidden nonlinearity move in "
        f"{counted(options['drift_steps'], 'step')}: mean over units of the distance between the "
        "means before and after, in standard deviations of the unit (logarithmic scales, geometric "
        "means). *Before BN* is the output of the linear map; the other two are what the nonlinearity "
        "gets, with the statistics of the batch (training mode) and with running ones (evaluation "
        "mode). The three are equal without normalization. With batch statistics the means can hardly "
        "move, by construction.",
        "drift of the inputs",
    )


SMALLEST_ERROR = 0.05  # percent: one of the 2,000 probe images
PERCENTILES = ["percentile_15", "percentile_50", "percentile_85"]


def sigmoid_training(table: pd.DataFrame, options: dict) -> Drawing:
    """Error rate and drift over the steps of training, a column per learning rate."""
    error = (100 - 100 * table["accuracy"].astype(float)).clip(lower=SMALLEST_ERROR)
    keys = ["learning_rate", "norm", "step", "seed"]
    frame = table.assign(error=error).melt(keys, ["error", "drift"], "measure")
    return curves(
        "sigmoid-mnist",
        frame[frame["value"] > 0].astype({"value": float}),
        f"Ioffe and Szegedy's (2015) first experiment, {len(options['hidden'])} layers of "
        f"{options['hidden'][0]} sigmoid units, batches of {options['batch_size']}, plain SGD. "
        "Above, the error rate on the validation probe; below, how far the inputs of the last "
        "sigmoids moved since the checkpoint before, in standard deviations of a unit (logarithmic "
        "scales, geometric means, evaluation mode).",
        x="step", row="measure", row_name={"error": "error (%)"}, col="learning_rate", value={},
        scale="geometric", seeds="lines", markers=False, what="error and drift", **WRAP,
    )  # fmt: skip


def sigmoid_percentiles(table: pd.DataFrame, options: dict) -> Drawing:
    """15th, 50th and 85th percentile of one sigmoid's input over training, for one seed."""
    seed = table["seed"].min()
    keys = ["learning_rate", "norm", "seed", "step"]
    frame = table[table["seed"] == seed][[*keys, *PERCENTILES]]
    looks = arms(table)

    def mark(ax: Axes, part: pd.DataFrame, looks: dict) -> None:
        look, (low, middle, high) = looks[part["norm"].iat[0]], (part[p] for p in PERCENTILES)
        ax.fill_between(part["step"], low, high, color=look.color, alpha=0.2, lw=0)
        ax.plot(part["step"], middle, **look.line(lw=1.8))

    return figure(
        "sigmoid-percentiles",
        frame.assign(value=frame["percentile_50"]),
        "The input of one sigmoid of the last hidden layer over the steps of training: median "
        "(line), 15th and 85th percentile over the images of the validation probe, in evaluation "
        f"mode. One unit of one network per arm (seed {seed}), as in the paper's figure 1; the "
        "other seeds are in the table of the study.",
        mark, value="input", x="step", row="norm", col="learning_rate", what="input of one sigmoid",
        row_name={norm: look.name for norm, look in looks.items()}, xscale="linear", data=frame,
        height=(1.5, 1.25), turn=False,
    )  # fmt: skip
