"""Figures of smoothness and internal covariate shift (S6)."""

import math
from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnstudy.report import words
from bnstudy.report.look import RULE, Drawing, Layout, series, summary
from bnstudy.report.marks import strip
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import counted, listed
from bnstudy.report.study_figures.tables import BASELINE, BATCH, NAMES, arms, name

LABELS = {
    "loss_range": "range of the loss",
    "gradient_change": "change of gradient",
    "beta": "effective β",
    "relative_change": "relative change",
    "cosine": "cosine",
    "drift_raw": "before BN",
    "drift": "training mode",
    "drift_eval": "evaluation mode",
}
LINEAR = {"cosine", "ics_cosine"}
EDGES = ("gradient_change_min", "gradient_change_max")  # of a band


def at_rate(table: pd.DataFrame, options: dict) -> tuple[pd.DataFrame, float]:
    """The rows of the claims' learning rate, or of the one nearest to it that was run."""
    rates = table["learning_rate"].unique()
    rate = min(rates, key=lambda r: abs(math.log(r / options["learning_rate"])))
    return table[table["learning_rate"] == rate], float(rate)


def means_of(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Means over layers, and over steps where `by` has none; what was not measured is left out."""
    return table.dropna(subset="value").groupby(by, sort=False)["value"].mean().reset_index()


def trajectories(
    label: str, table: pd.DataFrame, metrics: list[str], finding: str, caption: str
) -> Drawing:
    """Metrics over the steps of training: a row per metric, a column per network."""
    keys = ["metric", "network", "norm", "step"]
    rows = dict.fromkeys(EDGES, "gradient_change") | {metric: metric for metric in metrics}
    frame = means_of(table, [*keys, "seed"])
    frame = frame.assign(row=frame["metric"].map(rows)).dropna(subset="row")
    linear = frame["metric"].isin(LINEAR)
    frame = frame[linear | (frame["value"] > 0)]
    means = {geo: summary(frame[linear != geo], keys, geometric=geo) for geo in (True, False)}
    looks = arms(table)

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, "row", "network", layout, rows=metrics, cols=words.in_order(table["network"]),
            x="step", y=LABELS, yscale={m: "linear" if m in LINEAR else "geometric" for m in metrics},
            sharey="row", col_name=NAMES, height=(1.5, 1.25), wrap=(4, 3), turn=False,
        )  # fmt: skip
        for ax, part in panels:
            (band if part["metric"].isin(EDGES).any() else lines)(ax, part, looks)
        return panels.finish(looks)

    return Drawing(label, finding, caption, pd.concat(means.values()), draw)


def lines(ax: Axes, part: pd.DataFrame, looks: Mapping) -> None:
    """Runs as thin lines, and the mean of each arm with its band."""
    style = series(looks, "norm", markers=False) | {"x": "step", "y": "value", "ax": ax}
    thin = {"units": "seed", "estimator": None, "lw": 0.45, "alpha": 0.35, "dashes": False}
    sns.lineplot(part, **style | thin)
    sns.lineplot(part, lw=1.7, zorder=3, **style)


def band(ax: Axes, part: pd.DataFrame, looks: Mapping) -> None:
    """The band of each arm between the means of two metrics, its edges drawn."""
    means = summary(part, ["norm", "step", "metric"], geometric=True)
    for norm, arm in means.groupby("norm"):
        wide, look = arm.pivot(index="step", columns="metric", values="mean"), looks[norm]
        ax.plot(wide.index, wide, **look.line(lw=1.1, zorder=3))
        ax.fill_between(wide.index, *wide.to_numpy().T[[0, -1]], color=look.color, alpha=0.2)


def ratio(rows: pd.DataFrame, by: list[str]) -> pd.Series:
    """Geometric means without over with batch normalization; nothing where an arm is missing."""
    positive = rows[rows["value"] > 0]
    means = positive.groupby([*by, "norm"])["value"].agg(words.geometric_mean).unstack("norm")
    means = means.reindex(columns=[BASELINE, "batch"])
    return (means[BASELINE] / means["batch"]).dropna().rename("ratio")


def ratios(table: pd.DataFrame, metric: str) -> str:
    """`12.1 for 2 layers, ReLU; 3.4 for 5 layers, ReLU`."""
    found = ratio(table[table["metric"] == metric], ["network"])
    found = found.reindex(words.in_order(table["network"]))
    return "; ".join(f"{words.number(x)} for {name(network)}" for network, x in found.items())


def arm_means(table: pd.DataFrame, metric: str) -> str:
    """`2 layers, ReLU, 0.912 without normalization and 0.954 with batch normalization; ...`."""
    rows = table[table["metric"] == metric]
    return "; ".join(
        f"{name(network)}, "
        + words.per_level(one, "norm", arms(rows), lambda arm: words.average(arm["value"], 3))
        for network, one in rows.groupby("network", sort=False)
    )


def along(table: pd.DataFrame, rate: float) -> str:
    """What the lines of a figure of trajectories are."""
    return (
        f"Plain SGD at learning rate {rate:g}. Thin lines are single runs ({seeds(table)}), bold "
        f"ones means (geometric on logarithmic scales){words.interval_phrase(table, ', bands their ')}."
    )


def seeds(table: pd.DataFrame) -> str:
    return counted(table["seed"].nunique(), "seed")


def landscape(table: pd.DataFrame, options: dict) -> Drawing:
    """Santurkar et al.'s three measures along the gradient, a column per network."""
    rows, rate = at_rate(table, options)
    return trajectories(
        "landscape",
        rows,
        ["loss_range", "gradient_change", "beta"],
        "Three measures of the loss along the gradient over training, for both arms. Effective "
        "smoothness beta without over with batch normalization, geometric mean: "
        f"{ratios(rows, 'beta')}. Range of the loss, likewise: {ratios(rows, 'loss_range')}.",
        "The loss along the direction of its gradient, in steps of half to four times the "
        "learning rate, by the definitions of Santurkar et al. (2018; logarithmic scales): the "
        "range of the loss (nats); how far the gradient moves away from the one at the start, a "
        "band from the smallest to the largest change (geometric means over seeds); and effective "
        f"β, the largest change per distance. Lower is smoother. {along(rows, rate)}",
    )


def landscape_scale_free(table: pd.DataFrame, options: dict) -> Drawing:
    """The same without the scale of weights and gradients."""
    rows, rate = at_rate(table, options)
    return trajectories(
        "landscape-scale-free",
        rows,
        ["relative_change", "cosine"],
        "Two measures of how well a gradient predicts the next ones, free of scale, over training "
        f"for both arms. Mean cosine: {arm_means(rows, 'cosine')}.",
        "What the figure before shows, free of the scale of weights and gradients: the largest "
        "change of the gradient over its length (logarithmic scale; lower is smoother), and the "
        "cosine between the gradients before and after the step, mean over step sizes (1 is perfect "
        f"prediction). {along(rows, rate)}",
    )


def smoothness_by_rate(table: pd.DataFrame, options: dict) -> Drawing:
    """Ratio of effective beta between the arms at every learning rate, a panel per network."""
    keys = ["network", "learning_rate"]
    frame = ratio(table[table["metric"] == "beta"], [*keys, "seed"]).reset_index()
    rates = sorted(table["learning_rate"].unique())

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame.assign(norm="batch"), None, "network", layout, cols=words.in_order(table["network"]),
            x="learning rate", y="β without / with BN", xscale=None, yscale="geometric",
            col_name=NAMES, height=1.8, wrap=(4, 3),
        )  # fmt: skip
        for ax, part in panels:
            ax.axhline(1, **RULE)
            names = [f"{rate:g}" for rate in rates]
            looks = {"batch": BATCH}
            strip(ax, part, "learning_rate", "ratio", looks, "norm", order=rates, names=names)
        return panels.finish()

    mean = summary(frame, keys, value="ratio", geometric=True)

    def said(network: str, cell: pd.DataFrame) -> str:
        pairs = zip(cell["mean"], cell["learning_rate"], strict=True)
        return (
            f"{name(network)}, {listed(f'{words.number(x)} at rate {rate:g}' for x, rate in pairs)}"
        )

    parts = "; ".join(said(network, cell) for network, cell in mean.groupby("network"))
    return Drawing(
        "smoothness-by-rate",
        "Effective beta without over with batch normalization against the learning rate: "
        f"{parts or 'no pair of runs could be compared'}.",
        "Effective β without over with batch normalization, geometric mean over training "
        "(logarithmic scale): above 1 the loss is smoother with batch normalization. Small marks "
        f"are single runs ({seeds(table)}), large ones geometric means{words.interval_phrase(table)}.",
        frame,
        draw,
    )


def covariate_shift(table: pd.DataFrame, options: dict) -> Drawing:
    """Internal covariate shift as Santurkar et al. define it: over steps, and layer by layer."""
    rows, rate = at_rate(table, options)
    rows = rows[(rows["metric"] == "ics_cosine") & rows["value"].notna()].astype({"layer": int})
    parts = {by: means_of(rows, ["network", "norm", "seed", by]) for by in ("step", "layer")}
    frame = pd.concat(part.assign(by=by) for by, part in parts.items())
    looks, labels = arms(rows), {by: by for by in parts}

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, "by", "network", layout, x=labels, y="cosine", sharex=False, sharey="row",
            xscale={"step": "linear"}, col_name=NAMES, height=(1.7, 1.5), wrap=(4, 3), turn=False,
        )  # fmt: skip
        for ax, part in panels:
            ax.axhline(1, **RULE)
            if part["by"].iat[0] == "step":
                lines(ax, part, looks)
            else:
                order = sorted(part["layer"].astype(int).unique())
                strip(ax, part, "layer", "value", looks, "norm", order=order)
        return panels.finish(looks)

    return Drawing(
        "covariate-shift",
        "Cosine between the gradients of a layer before and after the layers below it made their "
        f"step, over training and by layer. Mean: {arm_means(rows, 'ics_cosine')}.",
        "Internal covariate shift by definition 2.1 of Santurkar et al. (2018): the cosine between "
        "a layer's gradient before and after all layers below it have made their step; at 1, the "
        "horizontal line, there is no shift. Over the steps of training, mean over layers, and by "
        f"layer, mean over steps. {along(rows, rate)} By layer, small marks are single runs and "
        f"large ones means{words.interval_phrase(rows)}.",
        pd.concat([summary(parts["step"], ["network", "norm", "step"]), parts["layer"]]),
        draw,
    )


def landscape_drift(table: pd.DataFrame, options: dict) -> Drawing:
    """How far the inputs of the last nonlinearity move in a few steps, a column per network."""
    rows, rate = at_rate(table, options)
    return trajectories(
        "landscape-drift",
        rows,
        ["drift_raw", "drift", "drift_eval"],
        "Drift of the inputs of the last nonlinearity over training for both arms. Drift without "
        "over with batch normalization, geometric mean, in training mode: "
        f"{ratios(rows, 'drift')}; in evaluation mode: {ratios(rows, 'drift_eval')}.",
        "How far the inputs of the last hidden nonlinearity move in "
        f"{counted(options['drift_steps'], 'step')}: mean over units of the distance between the "
        "means before and after, in standard deviations of the unit. *Before BN* is the output of "
        "the linear map; the other two are what the nonlinearity gets, with the statistics of the "
        "batch (training mode) and with running ones (evaluation mode). The three are equal "
        "without normalization. With batch statistics the means can hardly move, by construction. "
        f"{along(rows, rate)}",
    )
