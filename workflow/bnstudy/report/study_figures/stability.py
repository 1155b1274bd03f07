"""Figure of the fluctuations of the loss (S14)."""

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bnstudy.claims.endpoints.scoring import diverged
from bnstudy.report.figures import Drawing, Layout, arm_legend, panels
from bnstudy.report.results import SPACE, decimal
from bnstudy.report.study_figures.runs import (
    arms,
    interval_phrase,
    per_arm,
    runs,
    seeds_of,
    select,
    strip,
    true_minus,
)

STABILITY = {
    "fluctuation": ("fluctuation", "relative"),
    "spikes": ("spikes at that level", "% of steps"),
    "spikes_all": ("spikes, all steps", "% of steps"),
    "deviation": ("final loss, centered", "nats"),
}


def stability(table: pd.DataFrame, options: dict) -> Drawing:
    """Fluctuation of the loss, spikes, and spread between seeds, by batch size."""
    guessing = table["val_loss"].astype(float).where(~diverged(table), math.log(10))
    deviation = guessing - guessing.groupby([table["norm"], table["batch_size"]]).transform("mean")
    values = table.assign(
        spikes=100 * table["spikes"].astype(float),
        spikes_all=100 * table["spikes_all"].astype(float),
        deviation=deviation,
    )
    frame = values.melt(
        ["norm", "batch_size", "seed"], list(STABILITY), var_name="measure", value_name="value"
    ).rename(columns={"batch_size": "level"})
    sizes, norms = sorted(table["batch_size"].unique()), arms(table)
    undefined = int(table["fluctuation"].isna().sum())

    def draw(layout: Layout) -> Figure:
        shape = (2, 2)
        figure, axes = panels(*shape, layout, height=1.75, sharex=True, sharey=False)
        for ax, (measure, (title, unit)) in zip(axes.flat, STABILITY.items(), strict=True):
            cell = select(frame, measure=measure).dropna(subset="value")
            centered = measure == "deviation"
            strip(ax, cell, sizes, norms, logarithmic=False, means=not centered)
            ax.set_title(title, fontsize=7.8 if layout.narrow else 8.5)
            ax.set_ylabel(unit)
            ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            true_minus(ax.yaxis)
            if not centered:
                ax.set_ylim(bottom=0)
        for ax in axes[-1]:
            ax.set_xlabel("batch size")
        arm_legend(figure, norms, layout)
        return figure

    def means_of(measure: str, digits: int) -> str:
        cells = select(frame, measure=measure)
        return "; ".join(
            f"batch size {size}, "
            + per_arm(select(cells, level=size), lambda rows: decimal(rows["value"].mean(), digits))
            for size in sizes
        )

    verbs = ("was", "is") if undefined == 1 else ("were", "are")
    missing = (
        f" {runs(undefined)} {verbs[0]} too short at that level and {verbs[1]} missing from the "
        "first two panels."
        if undefined
        else ""
    )
    return Drawing(
        "stability",
        "Four measures of how steady training is, for both arms. Mean fluctuation of the loss at "
        f"an equal level: {means_of('fluctuation', 3)}. Mean percentage of spikes over all steps: "
        f"{means_of('spikes_all', 1)}.",
        "Fluctuation is the root mean square deviation of the training loss of a step from its "
        f"running median, relative to it, while the median lies between 0.15 and 0.25{SPACE}nats; a "
        "spike is a step with more than twice the running median, counted at that level and over "
        "all steps; last, the final validation loss less the mean of its arm over seeds. Small "
        f"marks are single runs ({seeds_of(table)}, thin lines join the runs of one), large ones the mean"
        f"{interval_phrase(table)}.{missing}",
        frame.rename(columns={"level": "batch_size"}),
        draw,
    )
