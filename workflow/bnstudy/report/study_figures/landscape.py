"""Figures of smoothness and internal covariate shift (S6)."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnstudy.report.figures import INK, MUTED, Drawing, Layout, arm_legend, panels, style
from bnstudy.report.results import BASELINE, counted, decimal, listed
from bnstudy.report.study_figures.runs import (
    arms,
    averaged,
    finish_over_steps,
    in_order,
    interval_phrase,
    mean_marks,
    name,
    number,
    per_arm,
    plot_mean,
    plot_seeds,
    product_of,
    scale_axes,
    seeds_of,
    select,
    shade,
    spread,
    step_ticks,
    strip,
    true_minus,
)


def at_rate(table: pd.DataFrame, options: dict) -> tuple[pd.DataFrame, float]:
    """The rows of the claims' learning rate, or of the one nearest to it that was run."""
    rates = table["learning_rate"].unique()
    rate = min(rates, key=lambda r: abs(math.log(r / options["learning_rate"])))
    return select(table, learning_rate=rate), float(rate)


def curves(table: pd.DataFrame, metric: str, *, logarithmic: bool) -> pd.DataFrame:
    """Mean over seeds of a metric, first averaged over layers, by network, arm and step."""
    rows = table[(table["metric"] == metric) & table["value"].notna()]
    keys = ["network", "norm", "step"]
    seeds = rows.groupby([*keys, "seed"])["value"].mean().reset_index()
    return averaged(seeds, keys, logarithmic=logarithmic).assign(metric=metric)


def trajectories(
    label: str,
    table: pd.DataFrame,
    metrics: dict[str, tuple[str, bool]],
    *,
    finding: str,
    caption: str,
) -> Drawing:
    """Metrics over the steps of training: a row per metric, a column per network.

    `metrics` has, by metric, what the axis says and whether it is logarithmic; a metric that ends
    in `*` is a band from its `_min` to its `_max`.
    """
    networks, norms = in_order(table["network"]), arms(table)
    wanted = [
        m.replace("*", end) for m in metrics for end in (("_min", "_max") if "*" in m else ("",))
    ]
    tables = {
        metric: curves(table, metric, logarithmic=next(
            log for m, (_, log) in metrics.items() if metric.startswith(m.rstrip("*"))
        ))
        for metric in wanted
    }  # fmt: skip

    def draw(layout: Layout) -> Figure:
        height = 1.25 if layout.narrow else 1.5
        figure, axes = panels(
            len(metrics), len(networks), layout, height=height, sharex=True, sharey="row"
        )
        for (i, metric), (j, network) in product_of(metrics, networks):
            ax = axes[i, j]
            text, logarithmic = metrics[metric]
            if logarithmic:
                ax.set_yscale("log")
            for norm in norms:
                if "*" in metric:
                    low, high = (
                        select(tables[metric.replace("*", end)], network=network, norm=norm)
                        for end in ("_min", "_max")
                    )
                    plot_between(ax, low, high, norm)
                    continue
                plot_seeds(ax, select(table, metric=metric, network=network, norm=norm), norm)
                plot_mean(ax, select(tables[metric], network=network, norm=norm), norm)
            if i == 0:
                title = name(network).replace(", ", "\n") if layout.narrow else name(network)
                ax.set_title(title)
            if j == 0:
                ax.set_ylabel(text, fontsize=7.5 if layout.narrow else 8)
            step_ticks(ax, layout)
        finish_over_steps(figure, axes, norms, layout)
        return figure

    return Drawing(label, finding, caption, pd.concat(tables.values()), draw)


def plot_between(ax: Axes, low: pd.DataFrame, high: pd.DataFrame, norm: str) -> None:
    """A band between two curves, its edges drawn."""
    look = style(norm)
    for edge in (low, high):
        ax.plot(edge["step"], edge["mean"], color=look.color, ls=look.dash, lw=1.1, zorder=3)
    both = low.merge(high, on="step")
    shade(ax, both["step"], both["mean_x"], both["mean_y"], look.color)


def arm_ratio(table: pd.DataFrame, metric: str, network: str) -> float:
    """Geometric mean over steps, layers and seeds, without over with batch normalization."""
    rows = select(table, metric=metric, network=network)
    logs = np.log(rows["value"].where(rows["value"] > 0)).groupby(rows["norm"]).mean()
    if {BASELINE, "batch"} - set(logs.index):
        return math.nan
    return math.exp(logs[BASELINE] - logs["batch"])


def arm_means(table: pd.DataFrame, metric: str, network: str) -> str:
    rows = select(table, metric=metric, network=network)
    return per_arm(rows, lambda one: decimal(one["value"].mean(), 3))


def ratios(table: pd.DataFrame, metric: str) -> str:
    """`12.1 for 2 layers, ReLU; 3.4 for 5 layers, ReLU`."""
    return "; ".join(
        f"{number(arm_ratio(table, metric, network))} for {name(network)}"
        for network in in_order(table["network"])
    )


def along(table: pd.DataFrame, rate: float) -> str:
    """What the lines of a figure of trajectories are."""
    interval = interval_phrase(table, ", shaded its pointwise ")
    return (
        f"Plain SGD at learning rate {rate:g}. Thin lines are single runs ({seeds_of(table)}), bold "
        f"their mean (geometric on logarithmic scales){interval}."
    )


def landscape(table: pd.DataFrame, options: dict) -> Drawing:
    """Santurkar et al.'s three measures along the gradient, a column per network."""
    rows, rate = at_rate(table, options)
    return trajectories(
        "landscape",
        rows,
        {
            "loss_range": ("range of the loss", True),
            "gradient_change*": ("change of gradient", True),
            "beta": ("effective β", True),
        },
        finding="Three measures of the loss along the gradient over training, for both arms. "
        "Effective smoothness beta without over with batch normalization, geometric mean: "
        f"{ratios(rows, 'beta')}. Range of the loss, likewise: {ratios(rows, 'loss_range')}.",
        caption="The loss along the direction of its gradient, in steps of half to four times the "
        "learning rate, by the definitions of Santurkar et al. (2018; logarithmic scales): the "
        "range of the loss (nats); how far the gradient moves away from the one at the start, a "
        "band from the smallest to the largest change (geometric means over seeds); and effective "
        f"β, the largest change per distance. Lower is smoother. {along(rows, rate)}",
    )


def landscape_scale_free(table: pd.DataFrame, options: dict) -> Drawing:
    """The same without the scale of weights and gradients."""
    rows, rate = at_rate(table, options)
    cosines = "; ".join(
        f"{name(network)}, {arm_means(rows, 'cosine', network)}"
        for network in in_order(rows["network"])
    )
    return trajectories(
        "landscape-scale-free",
        rows,
        {
            "relative_change": ("relative change", True),
            "cosine": ("cosine", False),
        },
        finding="Two measures of how well a gradient predicts the next ones, free of scale, over "
        f"training for both arms. Mean cosine: {cosines}.",
        caption="What the figure before shows, free of the scale of weights and gradients: the "
        "largest change of the gradient over its length (logarithmic scale; lower is smoother), "
        "and the cosine between the gradients before and after the step, mean over step sizes (1 "
        f"is perfect prediction). {along(rows, rate)}",
    )


RATIO_SEEDS = {"ls": "none", "marker": "o", "mfc": "none", "color": MUTED, "ms": 3, "mew": 0.7}


def smoothness_by_rate(table: pd.DataFrame, options: dict) -> Drawing:
    """Ratio of effective beta between the arms at every learning rate, a panel per network."""
    rows = table[(table["metric"] == "beta") & (table["value"] > 0)]
    keys = ["network", "learning_rate", "seed", "norm"]
    logs = np.log(rows["value"].astype(float)).groupby([rows[k] for k in keys]).mean()
    wide = logs.unstack("norm").reindex(columns=[BASELINE, "batch"])
    frame = np.exp(wide[BASELINE] - wide["batch"]).dropna().rename("value").reset_index()
    mean = averaged(frame, ["network", "learning_rate"], logarithmic=True)
    networks = in_order(table["network"])
    rates = sorted(table["learning_rate"].unique())

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(1, len(networks), layout, height=1.8, sharex=True, sharey=True)
        for ax, network in zip(axes.flat, networks, strict=True):
            ax.set_yscale("log")
            ax.axhline(1, color=INK, lw=0.8, zorder=1)
            for x, rate in enumerate(rates):
                cell = select(frame, network=network, learning_rate=rate)
                places = x + spread(len(cell), 0.18)
                ax.plot(places, cell["value"], **RATIO_SEEDS)
            one, look = select(mean, network=network), style("batch")
            mean_marks(ax, one["learning_rate"].map(rates.index), one, look.color, look.marker)
            ax.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
            ax.set_xlim(-0.5, len(rates) - 0.5)
            ax.grid(axis="x", visible=False)
            title = name(network).replace(", ", "\n") if layout.narrow else name(network)
            ax.set_title(title)
            ax.set_xlabel("learning rate")
        axes[0, 0].set_ylabel("β without / with BN")
        scale_axes(axes)
        return figure

    parts = "; ".join(
        f"{name(network)}, "
        + listed(
            f"{number(row.mean)} at rate {row.learning_rate:g}"
            for row in select(mean, network=network).itertuples()
        )
        for network in networks
        if len(select(mean, network=network))
    )
    return Drawing(
        "smoothness-by-rate",
        "Effective beta without over with batch normalization against the learning rate: "
        f"{parts or 'no pair of runs could be compared'}.",
        "Effective β without over with batch normalization, geometric mean over training "
        "(logarithmic scale): above 1 the loss is smoother with batch normalization. Open circles "
        f"are single seeds ({seeds_of(table)}), filled ones the geometric mean{interval_phrase(table)}.",
        frame.rename(columns={"value": "ratio"}),
        draw,
    )


def covariate_shift(table: pd.DataFrame, options: dict) -> Drawing:
    """Internal covariate shift as Santurkar et al. define it: over steps, and layer by layer."""
    rows, rate = at_rate(table, options)
    rows = rows[(rows["metric"] == "ics_cosine") & rows["value"].notna()]
    networks, norms = in_order(rows["network"]), arms(rows)
    over_steps = curves(rows, "ics_cosine", logarithmic=False)
    by_layer = rows.assign(level=rows["layer"].astype(int))
    by_layer = by_layer.groupby(["network", "norm", "seed", "level"])["value"].mean().reset_index()

    def draw(layout: Layout) -> Figure:
        height = 1.5 if layout.narrow else 1.7
        figure, axes = panels(2, len(networks), layout, height=height, sharex=False, sharey="row")
        for j, network in enumerate(networks):
            for norm in norms:
                plot_seeds(axes[0, j], select(rows, network=network, norm=norm), norm)
                plot_mean(axes[0, j], select(over_steps, network=network, norm=norm), norm)
            cell = select(by_layer, network=network)
            strip(axes[1, j], cell, sorted(cell["level"].unique()), norms, logarithmic=False)
            title = name(network).replace(", ", "\n") if layout.narrow else name(network)
            axes[0, j].set_title(title)
            axes[0, j].set_xlabel("step")
            step_ticks(axes[0, j], layout)
            axes[1, j].set_xlabel("layer")
        for ax in axes.flat:
            ax.axhline(1, color=INK, lw=0.8, zorder=1)
            true_minus(ax.yaxis)
        axes[0, 0].set_ylabel("cosine")
        axes[1, 0].set_ylabel("cosine")
        arm_legend(figure, norms, layout)
        return figure

    parts = "; ".join(f"{name(n)}, {arm_means(rows, 'ics_cosine', n)}" for n in networks)
    return Drawing(
        "covariate-shift",
        "Cosine between the gradients of a layer before and after the layers below it made their "
        f"step, over training and by layer. Mean: {parts}.",
        "Internal covariate shift by definition 2.1 of Santurkar et al. (2018): the cosine between "
        "a layer's gradient before and after all layers below it have made their step; at 1, the "
        "horizontal line, there is no shift. Above, over the steps of training, mean over layers; "
        f"below, by layer, mean over steps. {along(rows, rate)} Below, small marks are single runs "
        f"and large ones the mean{interval_phrase(rows)}.",
        pd.concat([over_steps, by_layer.rename(columns={"level": "layer"})]).drop(columns="metric"),
        draw,
    )


def landscape_drift(table: pd.DataFrame, options: dict) -> Drawing:
    """How far the inputs of the last nonlinearity move in a few steps, a column per network."""
    rows, rate = at_rate(table, options)
    return trajectories(
        "landscape-drift",
        rows,
        {
            "drift_raw": ("before BN", True),
            "drift": ("training mode", True),
            "drift_eval": ("evaluation mode", True),
        },
        finding="Drift of the inputs of the last nonlinearity over training for both arms. Drift "
        "without over with batch normalization, geometric mean, in training mode: "
        f"{ratios(rows, 'drift')}; in evaluation mode: {ratios(rows, 'drift_eval')}.",
        caption="How far the inputs of the last hidden nonlinearity move in "
        f"{counted(options['drift_steps'], 'step')}: mean over units of the distance between the "
        "means before and after, in standard deviations of the unit. Rows: the "
        "output of the linear map; what the nonlinearity gets, with the statistics of the batch "
        "(training mode) and with running ones (evaluation mode); the three are equal without "
        "normalization. With batch statistics the means can hardly move, by construction. "
        f"{along(rows, rate)}",
    )
