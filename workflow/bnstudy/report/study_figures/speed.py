"""Figures of speed and accuracy by input scaling (S1b), on Fashion-MNIST (S13), and of stability (S14)."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.scoring import accuracy
from bnstudy.data.registry import DATASETS
from bnstudy.report.look import Drawing
from bnstudy.report.measures import SPACE, counted, listed
from bnstudy.report.plots import strips
from bnstudy.report.study_figures.tables import (
    MISSED,
    after,
    differences,
    name,
    percent,
    targets,
    val_losses,
)

SCALES = {"steps": "geometric", "steps_gain": "geometric"}
SCALES |= {"accuracy": "linear", "accuracy_gain": "linear"}


def speed_and_accuracy(
    label: str, table: pd.DataFrame, axis: str, options: dict, caption: str
) -> Drawing:
    """Steps to the target, where there is one, and test accuracy, and below what each pair gains."""
    measures = {"accuracy": table.assign(value=accuracy(table, "test_accuracy"), **{MISSED: False})}
    start, target = "Test accuracy", ""
    if "target" in options:
        measures = {"steps": targets(table)} | measures
        target = percent(options["target"])
        start = f"Steps to {target} accuracy on the validation probe (logarithmic scale; open triangles "
        start += "never reached it and stand at their last step) and test accuracy"
    frame = pd.concat(runs.assign(measure=measure) for measure, runs in measures.items())
    frame = frame[["measure", axis, "norm", "seed", "value", MISSED]]
    logs = frame["value"].mask(frame["measure"] == "steps", -np.log(frame["value"]))
    gains = differences(frame.assign(value=logs), ["measure", axis])
    ratios = gains["value"].mask(gains["measure"] == "steps", np.exp(gains["value"]))
    gains = gains.assign(value=ratios, measure=gains["measure"] + "_gain", norm="batch")
    frame = pd.concat([frame, gains.assign(**{MISSED: False})], ignore_index=True)
    titles = {"steps": f"steps to {target}", "accuracy": "test accuracy (%)"}
    titles |= {"steps_gain": "times fewer steps", "accuracy_gain": "points gained"}
    below = " Below, what each pair of runs of a seed gains by batch normalization."
    return strips(
        label,
        frame,
        f"{start} {after(options)}{caption}{below if len(gains) else ''}",
        x=axis, names=None if axis == "batch_size" else name, col="measure", col_name=titles,
        cols=[m for m in titles if m in set(frame["measure"])], value="", scale=SCALES,
        rule={"steps_gain": 1, "accuracy_gain": 0}, missed=MISSED, sharey=False, wrap=(2, 2),
        height=1.7, what="steps and accuracy" if target else "accuracy",
    )  # fmt: skip


def input_scaling(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps and test accuracy by input scaling."""
    return speed_and_accuracy("input-scaling", table, "scaling", options, pixels(options))


def long_training(table: pd.DataFrame, options: dict) -> Drawing:
    """Test accuracy by input scaling after many epochs."""
    return speed_and_accuracy("long-training", table, "scaling", options, pixels(options))


def pixels(options: dict) -> str:
    return (
        f", batch size {options['batch_size']}, for pixels scaled to the range from \N{MINUS SIGN}1 to "
        "1 (symmetric) and to mean 0 and standard deviation 1 (standardized)."
    )


def fashion(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps and test accuracy by batch size."""
    titles = (DATASETS[d].title if d in DATASETS else str(d) for d in table["dataset"].unique())
    return speed_and_accuracy("fashion", table, "batch_size", options, f" on {listed(titles)}.")


MEASURES = {
    "fluctuation": "fluctuation of the loss",
    "spikes": "spikes at that level",
    "spikes_all": "spikes, all steps",
    "deviation": "final loss, centered",
}
UNITS = {"fluctuation": "relative", "deviation": "nats"}


def stability(table: pd.DataFrame, options: dict) -> Drawing:
    """Fluctuation of the loss, spikes, and spread between seeds, by batch size."""
    loss = val_losses(table)
    mean = loss.groupby([table["norm"], table["batch_size"]]).transform("mean")
    spikes = 100 * table[["spikes", "spikes_all"]].astype(float)
    frame = table.assign(deviation=loss - mean, **spikes)
    frame = frame.melt(["norm", "batch_size", "seed"], list(MEASURES), "measure")
    short = counted(int(table["fluctuation"].isna().sum()), "run")
    return strips(
        "stability",
        frame.dropna(subset="value").round({"value": 12}),
        "Fluctuation is the root mean square deviation of the training loss of a step from its running "
        f"median, relative to it, while the median lies between 0.15 and 0.25{SPACE}nats ({short} too "
        "short at that level); a spike is a step with more than twice the running median, counted at "
        "that level and over all steps; last, the final validation loss less the mean of its arm.",
        x="batch_size", value=UNITS | dict.fromkeys(("spikes", "spikes_all"), "% of steps"),
        col="measure", cols=[*MEASURES], col_name=MEASURES, sharey=False,
        scale=dict.fromkeys(MEASURES, "zero") | {"deviation": "linear"}, wrap=(2, 2), height=1.7,
        what="steadiness of training",
    )  # fmt: skip
