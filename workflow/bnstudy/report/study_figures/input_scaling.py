"""Figure of the study of standardized input (S1b)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnstudy.report.results import SPACE, counted, decimal
from bnstudy.report.study_figures.runs import (
    arms,
    averaged,
    censored_handle,
    differences,
    geometric_mean,
    in_order,
    interval_phrase,
    mean_marks,
    name,
    per_arm,
    scale_axes,
    seeds_of,
    select,
    steps_and_accuracy,
    strip,
    thin_lines,
    true_minus,
)
from bnstudy.report.study_figures.toolkit import INK, Drawing, Layout, arm_legend, panels


def input_scaling(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps and test accuracy of both arms by input scaling, and below them what each pair gains."""
    target = f"{round(100 * options['target'], 1):g}{SPACE}%"
    frames = steps_and_accuracy(table, "scaling")
    levels, norms = in_order(table["scaling"]), arms(table)
    logs = frames["steps"].assign(value=-np.log(frames["steps"]["value"]))
    gains = {
        "steps": differences(logs, ["level"]),
        "accuracy": differences(frames["accuracy"], ["level"]),
    }
    gains["steps"]["value"] = np.exp(gains["steps"]["value"])
    titles = {"steps": f"steps to {target}", "accuracy": "test accuracy (%)"}
    gain_titles = {"steps": "gain (ratio)", "accuracy": "gain (points)"}
    paired = len(gains["steps"]) > 0

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(2 if paired else 1, 2, layout, height=1.9, sharex=True, sharey=False)
        for column, key in enumerate(frames):
            ax = axes[0, column]
            strip(ax, frames[key], levels, norms, logarithmic=key == "steps")
            ax.set_title(titles[key])
            if paired:
                gain_slopes(axes[1, column], gains[key], levels, ratio=key == "steps")
                axes[1, column].set_title(gain_titles[key])
        for ax in axes[-1]:
            ax.set_xlabel("input scaling")
            ax.tick_params(axis="x", labelsize=7 if layout.narrow else 8)
        scale_axes(axes)
        arm_legend(figure, norms, layout, censored_handle(frames["steps"], "not reached"))
        return figure

    parts = [
        f"with {name(level)} input the geometric mean of the steps is "
        + per_arm(
            select(frames["steps"], level=level),
            lambda rows: f"{geometric_mean(rows['value']):,.0f}",
        )
        + ", the mean test accuracy "
        + per_arm(
            select(frames["accuracy"], level=level),
            lambda rows: f"{decimal(rows['value'].mean(), 2)} percent",
        )
        for level in levels
    ]
    note = (
        " Below, each line is a seed: how many times fewer steps its batch-normalized run took, and "
        "by how many percentage points its test accuracy is higher; the horizontal line is no "
        "difference, black marks are means with their intervals."
    )
    data = pd.concat(
        [
            frame[["level", "norm", "seed", "value", "censored"]].assign(measure=key)
            for key, frame in frames.items()
        ]
    ).rename(columns={"level": "scaling"})
    return Drawing(
        "input-scaling",
        f"Seeds and means of both arms for each input scaling: {'; '.join(parts)}.",
        f"Steps to {target} accuracy on the validation probe (logarithmic scale) and test accuracy "
        f"after {counted(options['epochs'], 'epoch')}, batch size {options['batch_size']}, for "
        "pixels scaled to the range from \N{MINUS SIGN}1 to 1 (symmetric) and to mean 0 and "
        f"standard deviation 1 (standardized). Small marks are single runs ({seeds_of(table)}, thin lines "
        f"join the runs of one), large ones the mean{interval_phrase(table)}."
        f"{note if paired else ''}",
        data,
        draw,
    )


def gain_slopes(ax: Axes, gains: pd.DataFrame, levels: Sequence, *, ratio: bool) -> None:
    """A line per seed across the levels, and the mean of each level with its interval."""
    ax.axhline(1 if ratio else 0, color=INK, lw=0.8, zorder=1)
    if ratio:
        ax.set_yscale("log")
    wide = gains.pivot(index="seed", columns="level", values="value").reindex(columns=levels)
    x = np.broadcast_to(np.arange(len(levels)), wide.shape)
    thin_lines(ax, x, wide.to_numpy(float), lw=0.7, marker="o", ms=2.8, mew=0, alpha=0.6)
    means = averaged(gains, ["level"], logarithmic=ratio)
    places = means["level"].map(levels.index)
    mean_marks(ax, places + np.where(places > 0, 0.2, -0.2), means, INK, "D")
    ax.set_xticks(range(len(levels)), [name(level) for level in levels])
    ax.grid(axis="x", visible=False)
    if not ratio:
        true_minus(ax.yaxis)
