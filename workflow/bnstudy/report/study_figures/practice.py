"""Figures of robustness, weight decay, large batches, scale and shift alone (S17 to S20), and convolution (S27)."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bnstudy.claims.endpoints.scoring import accuracy
from bnstudy.report import plots
from bnstudy.report.look import BLUE, DASHED, DOTTED, INK, ORANGE, RED, SKY, Drawing, Look, looks_of
from bnstudy.report.words import guessing
from bnstudy.scoring import failed
from bnstudy.settings import TRAINED
from bnstudy.training.observers.angles import equilibrium

KINDS = {"fgsm": "FGSM", "sign": "random signs", "noise": "Gaussian noise", "contrast": "contrast"}
DECAYED = {
    ("none", False): Look("none", ORANGE, DASHED, "s"),
    ("none", True): Look("none, weight decay", RED, DOTTED, "D"),
    ("batch", False): Look("batch norm.", BLUE),
    ("batch", True): Look("batch norm., weight decay", SKY, DOTTED, "^"),
}


def robustness(table: pd.DataFrame, options: dict) -> Drawing:
    """Test accuracy by the size of a disturbance, a panel per kind."""
    said = table["images"].str.partition("_")
    arm = list(zip(table["norm"], table["weight_decay"] > 0, strict=True))
    frame = table.assign(kind=said[0], dose=said[2].astype(float), arm=arm)
    frame["value"] = accuracy(table, "test_accuracy")
    drawing = plots.curves(
        "robustness",
        frame[["kind", "dose", "arm", "seed", "value"]],
        "Test accuracy under an attack, steps of the same size with random signs, noise, and contrast "
        f"reduced to a share; sizes are shares of the range of pixels.{guesses(table, 'weight_decay')}",
        x="dose", hue="arm", looks=DECAYED, col="kind", cols=[*KINDS], col_name=KINDS, sharex=False,
        value="test accuracy (%)", other="size", wrap=(4, 2),
    )  # fmt: skip
    ends = frame.groupby("kind")["dose"].transform("max")
    ends = ends.mask(frame["kind"] == "contrast", frame.groupby("kind")["dose"].transform("min"))
    looks = {arm: look for arm, look in DECAYED.items() if arm in set(frame["arm"])}
    what = "Test accuracy (%) under the largest disturbance"
    worst = frame[frame["dose"] == ends]
    return replace(drawing, finding=plots.alternative(worst, "arm", looks, what, {"kind": KINDS}))


def weight_decay(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Angle of a step by weight decay, a panel per layer, beside the theory."""
    layers = [column for column in table if column.startswith("angular_update:")]
    frame = table.melt(["norm", "weight_decay", "seed"], layers, "layer").dropna()
    if frame.empty:
        return None
    line = {"color": INK, "lw": 1, "ls": ":"}

    def theory(ax: Axes, part: pd.DataFrame) -> None:
        decays = np.linspace(part["weight_decay"].min(), part["weight_decay"].max(), 30)
        angles = [equilibrium(options["learning_rate"], decay) for decay in decays]
        ax.plot(decays, angles, zorder=2, **line)

    return plots.curves(
        "weight-decay",
        frame.assign(layer=frame["layer"].str.partition(":")[2]),
        "Root mean square angle by which a step turns the weights of a hidden layer, over the second "
        "half of training; dotted, the angle at which scale-invariant weights keep their length.",
        x="weight_decay", col="layer", col_name="hidden layer {}".format, value="angle (radians)",
        then=theory, legend=[Line2D([], [], label="theory", **line)],
    )  # fmt: skip


def large_batches(table: pd.DataFrame, options: dict) -> Drawing:
    """Test accuracy by batch size, with the rate scaled and not."""
    frame = table.assign(value=accuracy(table, "test_accuracy"))
    titles = {"scaled": "rate in proportion to the batch", "fixed": "rate of the smallest batch"}
    return plots.strips(
        "large-batches",
        frame[["norm", "batch_size", "rate", "seed", "value"]],
        f"Test accuracy after {options['epochs']} epochs of SGD on Fashion-MNIST."
        f"{guesses(table, 'rate', 'batch_size')}",
        x="batch_size", col="rate", cols=[*titles], col_name=titles, value="test accuracy (%)",
    )  # fmt: skip


def affine_only(table: pd.DataFrame, options: dict) -> Drawing:
    """Test accuracy by what is trained."""
    return plots.rows(
        "affine-only",
        table.assign(value=accuracy(table, "test_accuracy"))[["trained", "seed", "value"]],
        f"Test accuracy after {options['epochs']} epochs in which only a part of the parameters was "
        f"trained, the others staying as they were drawn.{guesses(table, 'trained')}",
        hue="trained", looks=looks_of(TRAINED, "all", TRAINED), value="test accuracy (%)",
    )  # fmt: skip


def convolutional(table: pd.DataFrame, options: dict) -> Drawing:
    """Test accuracy of the convolutional networks by batch size."""
    whole = table[table["train_images"] == table["train_images"].max()]
    return plots.strips(
        "convolutional",
        whole.assign(value=accuracy(whole, "test_accuracy"))[["norm", "batch_size", "seed", "value"]],
        f"Test accuracy of a convolutional network after {options['epochs']} epochs, each arm at its own "
        f"learning rate.{guesses(whole, 'batch_size')}",
        x="batch_size", value="test accuracy (%)", height=2.2,
    )  # fmt: skip


def guesses(table: pd.DataFrame, *keys: str) -> str:
    return guessing(
        table[failed(table)], ["norm", "seed", *keys] if "norm" in table else ["seed", *keys]
    )
