"""Figures of Ioffe and Szegedy's first experiment (S12)."""

import pandas as pd
from matplotlib.figure import Figure

from bnstudy.report.results import decimal
from bnstudy.report.study_figures.runs import (
    arms,
    averaged,
    finish_over_steps,
    in_order,
    interval_phrase,
    outer_labels,
    per_arm,
    plot_mean,
    plot_seeds,
    product_of,
    seeds_of,
    select,
    step_ticks,
    true_minus,
)
from bnstudy.report.study_figures.toolkit import Drawing, Layout, arm_name, panels, style

SMALLEST_ERROR = 0.05  # percent: one of the 2,000 probe images


def sigmoid_training(table: pd.DataFrame, options: dict) -> Drawing:
    """Error rate and drift over the steps of training, a column per learning rate."""
    measures = {"error": "error (%)", "drift": "drift"}
    error = (100 - 100 * table["accuracy"].astype(float)).clip(lower=SMALLEST_ERROR)
    frames = {
        "error": table.assign(value=error),
        "drift": table[table["drift"].notna()].assign(value=lambda t: t["drift"].astype(float)),
    }
    keys = ["learning_rate", "norm", "step"]
    means = {key: averaged(frame, keys, logarithmic=True) for key, frame in frames.items()}
    rates, norms = in_order(table["learning_rate"]), arms(table)

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(2, len(rates), layout, height=1.6, sharex=True, sharey="row")
        for (i, key), (j, rate) in product_of(measures, rates):
            ax = axes[i, j]
            ax.set_yscale("log")
            for norm in norms:
                plot_seeds(ax, select(frames[key], learning_rate=rate, norm=norm), norm)
                plot_mean(ax, select(means[key], learning_rate=rate, norm=norm), norm)
            if i == 0:
                ax.set_title(f"learning rate {rate:g}")
            if j == 0:
                ax.set_ylabel(measures[key])
            step_ticks(ax, layout)
        finish_over_steps(figure, axes, norms, layout)
        return figure

    final = select(table, step=table["step"].max())
    parts = "; ".join(
        f"learning rate {rate:g}, "
        + per_arm(
            select(final, learning_rate=rate),
            lambda one: f"{decimal(100 * one['accuracy'].mean(), 1)} percent",
        )
        for rate in rates
        if len(select(final, learning_rate=rate))
    )
    layers = f"{len(options['hidden'])} layers of {options['hidden'][0]}"
    bands = interval_phrase(table, ", shaded its pointwise ")
    return Drawing(
        "sigmoid-mnist",
        "Error and drift over training with sigmoids, for both arms. Mean accuracy at the last "
        f"checkpoint: {parts or 'no run reached it'}.",
        f"Ioffe and Szegedy's (2015) first experiment, {layers} sigmoid units, batches of "
        f"{options['batch_size']}, plain SGD. Above, the error rate on the validation probe; "
        "below, how far the inputs of the last sigmoids moved since the checkpoint before, in "
        "standard deviations of a unit (logarithmic scales, evaluation mode). Thin lines are single runs "
        f"({seeds_of(table)}), bold their geometric mean{bands}.",
        pd.concat([frame.assign(measure=key) for key, frame in means.items()]),
        draw,
    )


def sigmoid_percentiles(table: pd.DataFrame, options: dict) -> Drawing:
    """15th, 50th and 85th percentile of one sigmoid's input over training, for one seed."""
    frame = select(table, seed=table["seed"].min())
    rates, norms = in_order(frame["learning_rate"]), arms(frame)

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(len(rates), len(norms), layout, height=1.6, sharex=True, sharey=True)
        for (i, rate), (j, norm) in product_of(rates, norms):
            ax, look = axes[i, j], style(norm)
            one = select(frame, learning_rate=rate, norm=norm)
            low, mid, high = (one[f"percentile_{p}"].astype(float) for p in (15, 50, 85))
            ax.fill_between(one["step"], low, high, color=look.color, alpha=0.2, lw=0)
            for edge in (low, high):
                ax.plot(one["step"], edge, color=look.color, lw=0.9)
            ax.plot(one["step"], mid, color=look.color, ls=look.dash, lw=1.8)
            rate_text = f"learning rate {rate:g}"
            ax.set_title(f"{arm_name(norm)}\n{rate_text}" if i == 0 else rate_text)
            step_ticks(ax, layout)
            true_minus(ax.yaxis)
        outer_labels(axes, "step", "input of the sigmoid")
        return figure

    def moved(one: pd.DataFrame) -> str:
        median = one.sort_values("step")["percentile_50"].astype(float)
        return f"{decimal(median.iloc[0], 2)} to {decimal(median.iloc[-1], 2)}"

    parts = "; ".join(
        f"learning rate {rate:g}, {per_arm(select(frame, learning_rate=rate), moved)}"
        for rate in rates
    )
    columns = ["learning_rate", "norm", "seed", "step"]
    columns += [f"percentile_{p}" for p in (15, 50, 85)]
    return Drawing(
        "sigmoid-percentiles",
        "Bands of the input of one sigmoid over training. Its median moves from the first "
        f"checkpoint to the last from {parts}.",
        "The input of one sigmoid of the last hidden layer over the steps of training: median "
        "(bold), 15th and 85th percentile over the images of the validation probe, in evaluation "
        f"mode. One unit of one network per arm (seed {frame['seed'].min()}), as in the paper's "
        "figure 1; the other seeds are in the table of the study.",
        frame[columns],
        draw,
    )
