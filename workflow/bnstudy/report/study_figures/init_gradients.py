"""Figures of the gradients at initialization (S5)."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnstudy.report.look import BLUE, GRID, INK, ORANGE, PINK, SKY, Drawing, Look, summary
from bnstudy.report.measures import SPACE
from bnstudy.report.plots import curves

NETWORKS = {  # lines are solid: theory is dashed
    "none_default": Look("ReLU, default init", ORANGE, marker="s"),
    "none_he": Look("ReLU, He init", PINK, marker="D"),
    "batch_relu": Look("ReLU, batch norm.", BLUE),
    "batch_linear": Look("linear, batch norm.", SKY, marker="v"),
}
TOLERANCE = 0.05  # of the shaded band, relative
THEORY = {"color": INK, "lw": 1.1, "ls": (0, (3, 2)), "zorder": 4}


def gradient_norms(table: pd.DataFrame, options: dict) -> Drawing:
    """Norm of the gradient at every layer of four untrained networks, against theory."""
    table = table[table["network"].isin(NETWORKS)]
    depth = options["theory_depth"]
    depth = depth if depth in set(table["depth"]) else int(table["depth"].max())
    size = int(table["batch_size"].max())
    frame = table[(table["depth"] == depth) & (table["batch_size"] == size)]
    growth = frame.groupby("network")["theory"].first()
    first, last = (min(layer, depth) for layer in options["middle"])

    def theory(ax: Axes, part: pd.DataFrame) -> None:
        mean = summary(part, ["network", "layer"], geometric=True)
        for network, curve in mean.groupby("network"):
            ax.plot(*theory_line(curve, growth[network], first, last), **THEORY)

    return curves(
        "gradient-norms",
        frame.assign(value=frame["gradient"])[["network", "layer", "seed", "value"]],
        "Norm of the gradient of the loss by the output of each hidden layer's linear map, before "
        f"training (logarithmic scale; {depth} hidden layers of {options['width']} units, batch "
        f"size {size}); means are geometric. Dashed: the slope in theory, laid through the middle "
        "layers. The gradient flows from right to left.",
        x="layer", hue="network", looks=NETWORKS, seeds="lines", value="norm of the gradient",
        other="hidden layer, from the input to the output", scale="geometric", xscale="count",
        height=2.6, width=6.4, then=theory, legend=[Line2D([], [], label="slope in theory", **THEORY)],
    )  # fmt: skip


def theory_line(
    curve: pd.DataFrame, growth: float, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Norms that grow by `growth` (of their squares) a layer towards the input.

    The line spans the layers `first` to `last` and has the geometric mean of the measured ones.
    """
    middle = curve[curve["layer"].between(first, last)]
    layers = middle["layer"].to_numpy(float)
    level = np.log(middle["mean"]).mean() if len(middle) else 0.0
    center = layers.mean() if len(layers) else 0.0
    return layers, np.exp(level - (layers - center) * math.log(growth) / 2)


def gradient_growth(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Measured growth of the squared gradient per layer against Yang et al.'s theorem 8."""
    table = table[table["network"].isin(NETWORKS)]
    first, last = options["middle"]
    depth = options["theory_depth"]
    middle = table[(table["depth"] == depth) & table["layer"].between(first, last)]
    if middle.empty:
        return None
    keys = ["network", "batch_size", "seed"]
    frame = middle.assign(value=np.log(middle["growth"])).groupby(keys)["value"].mean()
    return curves(
        "gradient-growth",
        np.exp(frame).reset_index(),
        "How much the squared norm of the gradient grows per layer on its way to the input, before "
        f"training: geometric means over layers {first} to {last} of {depth}. Dashed: theory, Yang et "
        "al. (2019), theorem 8, for batch normalization, and 1/6 and 1 without; shaded, "
        f"{100 * TOLERANCE:.0f}{SPACE}% around it. Each panel has its own axis.",
        x="batch_size", hue="network", looks=NETWORKS, col="network", value="growth per layer",
        col_name={network: look.name for network, look in NETWORKS.items()}, ticks=True,
        sharey=False, height=1.75, width=7.6,
        then=partial(theory_band, sizes=sorted(middle["batch_size"].unique())),
        legend=[
            Line2D([], [], label="theory", **THEORY),
            Patch(color=GRID, label=f"theory ± {100 * TOLERANCE:.0f}{SPACE}%"),
        ],
    )  # fmt: skip


def theory_band(ax: Axes, part: pd.DataFrame, sizes: Sequence[int]) -> None:
    x, theory = theory_curve(part["network"].iat[0], sizes)
    ax.fill_between(x, theory * (1 - TOLERANCE), theory * (1 + TOLERANCE), fc=GRID, lw=0)
    ax.plot(x, theory, **THEORY)


def theory_curve(network: str, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Batch sizes around the measured ones and the growth that theory has for them."""
    from bnstudy.studies.init_gradients import growth_in_theory  # imports torch

    x = np.geomspace(max(4, min(sizes) / 1.5), max(sizes) * 1.5, 40)
    return x, np.array([growth_in_theory(network, size) for size in x])
