"""Figure of the fluctuations of the loss (S14)."""

import pandas as pd

from bnstudy.report.look import Drawing
from bnstudy.report.plots import strips
from bnstudy.report.results import SPACE, counted
from bnstudy.report.study_figures.tables import val_losses

TITLES = {
    "fluctuation": "fluctuation of the loss",
    "spikes": "spikes at that level",
    "spikes_all": "spikes, all steps",
    "deviation": "final loss, centered",
}
UNITS = {"fluctuation": "relative", "deviation": "nats"} | dict.fromkeys(
    ("spikes", "spikes_all"), "% of steps"
)


def stability(table: pd.DataFrame, options: dict) -> Drawing:
    """Fluctuation of the loss, spikes, and spread between seeds, by batch size."""
    loss = val_losses(table)
    mean = loss.groupby([table["norm"], table["batch_size"]]).transform("mean")
    spikes = 100 * table[["spikes", "spikes_all"]].astype(float)
    frame = table.assign(deviation=loss - mean, **spikes)
    frame = frame.melt(["norm", "batch_size", "seed"], list(TITLES), "measure")
    undefined = counted(int(table["fluctuation"].isna().sum()), "run")
    return strips(
        "stability",
        frame.dropna(subset="value"),
        "Fluctuation is the root mean square deviation of the training loss of a step from its running "
        f"median, relative to it, while the median lies between 0.15 and 0.25{SPACE}nats (runs too "
        f"short at that level, which the first two panels lack: {undefined}); a spike is a step with "
        "more than twice the running median, counted at that level and over all steps; last, the final "
        "validation loss less the mean of its arm over seeds.",
        x="batch_size", value=UNITS, col="measure", cols=[*TITLES], col_name=TITLES, sharey=False,
        scale=dict.fromkeys(TITLES, "zero") | {"deviation": "linear"},
        wrap=(2, 2), height=1.75, what="steadiness of training",
    )  # fmt: skip
