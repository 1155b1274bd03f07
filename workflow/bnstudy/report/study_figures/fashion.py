"""Figure of Fashion-MNIST (S13)."""

import pandas as pd
from matplotlib.figure import Figure

from bnstudy.data.registry import DATASETS
from bnstudy.report.results import SPACE, counted, decimal, listed
from bnstudy.report.study_figures.runs import (
    arms,
    censored_handle,
    geometric_mean,
    in_order,
    interval_phrase,
    per_arm,
    scale_axes,
    seeds_of,
    select,
    steps_and_accuracy,
    strip,
)
from bnstudy.report.study_figures.toolkit import Drawing, Layout, arm_legend, panels


def fashion(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps and test accuracy of both arms by batch size."""
    target = f"{round(100 * options['target'], 1):g}{SPACE}%"
    frames = steps_and_accuracy(table, "batch_size")
    sizes, norms = sorted(table["batch_size"].unique()), arms(table)
    titles = [DATASETS[d].title if d in DATASETS else str(d) for d in in_order(table["dataset"])]

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(1, 2, layout, height=2.1, sharex=True, sharey=False)
        for ax, (key, frame) in zip(axes.flat, frames.items(), strict=True):
            strip(ax, frame, sizes, norms, logarithmic=key == "steps")
            ax.set_title(f"steps to {target}" if key == "steps" else "test accuracy (%)")
            ax.set_xlabel("batch size")
        scale_axes(axes)
        arm_legend(figure, norms, layout, censored_handle(frames["steps"], "not reached"))
        return figure

    parts = "; ".join(
        f"batch size {size}, steps "
        + per_arm(
            select(frames["steps"], level=size),
            lambda rows: f"{geometric_mean(rows['value']):,.0f}",
        )
        + ", test accuracy "
        + per_arm(
            select(frames["accuracy"], level=size),
            lambda rows: f"{decimal(rows['value'].mean(), 2)} percent",
        )
        for size in sizes
    )
    data = pd.concat(
        [
            frame[["level", "norm", "seed", "value", "censored"]].assign(measure=key)
            for key, frame in frames.items()
        ]
    ).rename(columns={"level": "batch_size", "censored": "not reached"})
    return Drawing(
        "fashion",
        f"Steps to {target} and test accuracy of both arms. Means, geometric for steps: {parts}.",
        f"Steps to {target} accuracy on the validation probe (logarithmic scale) and test accuracy "
        f"after {counted(options['epochs'], 'epoch')} on {listed(titles)}. Small marks are single runs "
        f"({seeds_of(table)}, thin lines join the runs of one), large ones the mean"
        f"{interval_phrase(table)}; the mean of steps is geometric.",
        data,
        draw,
    )
