"""Figure of the fluctuations of the loss (S14)."""

import math

import pandas as pd
from matplotlib.figure import Figure

from bnstudy.report.look import Drawing, Layout
from bnstudy.report.marks import strip
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import SPACE, counted
from bnstudy.report.study_figures.tables import arms
from bnstudy.report.words import average, interval_phrase, per_level
from bnstudy.scoring import failed as diverged

STABILITY = {
    "fluctuation": ("fluctuation", "relative"),
    "spikes": ("spikes at that level", "% of steps"),
    "spikes_all": ("spikes, all steps", "% of steps"),
    "deviation": ("final loss, centered", "nats"),
}


def stability(table: pd.DataFrame, options: dict) -> Drawing:
    """Fluctuation of the loss, spikes, and spread between seeds, by batch size."""
    loss = table["val_loss"].astype(float).where(~diverged(table), math.log(10))
    mean = loss.groupby([table["norm"], table["batch_size"]]).transform("mean")
    spikes = 100 * table[["spikes", "spikes_all"]].astype(float)
    frame = table.assign(deviation=loss - mean, **spikes)
    frame = frame.melt(["norm", "batch_size", "seed"], list(STABILITY), var_name="measure")
    sizes, looks = sorted(table["batch_size"].unique()), arms(table)
    undefined = int(table["fluctuation"].isna().sum())

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame.dropna(subset="value"), None, "measure", layout, cols=list(STABILITY),
            x="batch size", y={measure: unit for measure, (_, unit) in STABILITY.items()},
            xscale=None, sharey=False, wrap=(2, 2), height=1.75, width=layout.width,
            col_name={measure: title for measure, (title, _) in STABILITY.items()},
        )  # fmt: skip
        for ax, part in panels:
            centered = part["measure"].iat[0] == "deviation"
            strip(ax, part, "batch_size", "value", looks, "norm", order=sizes, average=not centered)
            if not centered:
                ax.set_ylim(bottom=0)
        return panels.finish(looks)

    def means_of(measure: str, digits: int) -> str:
        cells = frame[frame["measure"] == measure].groupby("batch_size")
        return "; ".join(
            f"batch size {size}, "
            + per_level(cell, "norm", looks, lambda rows: average(rows["value"], digits))
            for size, cell in cells
        )

    verbs = ("was", "is") if undefined == 1 else ("were", "are")
    missing = (
        f" {counted(undefined, 'run')} {verbs[0]} too short at that level and {verbs[1]} missing "
        "from the first two panels."
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
        f"marks are single runs ({counted(table['seed'].nunique(), 'seed')}, thin lines join the "
        f"runs of one), large ones means{interval_phrase(table)}.{missing if undefined else ''}",
        frame,
        draw,
    )
