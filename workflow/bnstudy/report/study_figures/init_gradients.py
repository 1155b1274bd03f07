"""Figures of the gradients at initialization (S5)."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnstudy.claims.endpoints.init_gradients import growth_by_network
from bnstudy.report.look import (
    BLUE,
    GRID,
    INK,
    MUTED,
    ORANGE,
    Drawing,
    Layout,
    Look,
    summary,
)
from bnstudy.report.marks import dots, doubling_axis, spread, threads
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import SPACE, counted, decimal, listed
from bnstudy.report.words import in_order, number

NETWORKS = {  # the colour is that of the norm, lines are solid: theory is dashed
    "none_default": Look("ReLU, default init", ORANGE, marker="s"),
    "none_he": Look("ReLU, He init", ORANGE, marker="D", filled=False),
    "batch_relu": Look("ReLU, batch normalization", BLUE),
    "batch_linear": Look("linear, batch normalization", BLUE, marker="v", filled=False),
}
TOLERANCE = 0.05  # of the shaded band, relative
THEORY = {"color": INK, "lw": 1.1, "ls": (0, (3, 2))}


def gradient_norms(table: pd.DataFrame, options: dict) -> Drawing:
    """Norm of the gradient at every layer of four untrained networks, against theory."""
    table = table[table["network"].isin(NETWORKS)]
    depth = options["theory_depth"]
    depth = depth if depth in set(table["depth"]) else int(table["depth"].max())
    size = int(table["batch_size"].max())
    frame = table[(table["depth"] == depth) & (table["batch_size"] == size)]
    mean = summary(frame, ["network", "layer"], value="gradient", geometric=True)
    looks = {network: NETWORKS[network] for network in in_order(frame["network"], NETWORKS)}
    growth = frame.groupby("network")["theory"].first()
    first, last = (min(layer, depth) for layer in options["middle"])

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, None, None, layout, x="hidden layer, from the input to the output",
            y="norm of the gradient", xscale="count", yscale="log", height=2.6, width=6.4,
        )  # fmt: skip
        for ax, _ in panels:
            for i, (network, look) in enumerate(looks.items()):
                runs = frame[frame["network"] == network].pivot(
                    index="seed", columns="layer", values="gradient"
                )
                threads(ax, runs.columns.to_numpy(float), runs.to_numpy(float), color=look.color)
                curve = mean[mean["network"] == network]
                every = {"markevery": (i, len(looks))}  # where lines coincide marks take turns
                mark = look.point(5.6 if look.filled else 4.2)  # paper cuts into filled ones
                line = mark | {"ls": "solid", "lw": 1.3} | every
                ax.plot(curve["layer"], curve["mean"], **line)
                ax.plot(*theory_line(curve, growth[network], first, last), zorder=4, **THEORY)
        return panels.finish([*looks.values(), Line2D([], [], label="slope in theory", **THEORY)])

    ends = mean.pivot(index="network", columns="layer", values="mean")
    parts = (
        f"{look.name}, a factor of {number(ends.loc[network].iloc[0] / ends.loc[network].iloc[-1])}"
        for network, look in looks.items()
    )
    return Drawing(
        "gradient-norms",
        f"Gradient norm from layer 1 to {depth} of untrained networks, on a logarithmic scale. Norm "
        f"at the first layer over that at the last: {'; '.join(parts)}.",
        "Norm of the gradient of the loss by the output of each hidden layer's linear map, before "
        f"training (logarithmic scale; {depth} hidden layers of {options['width']} units, batch "
        f"size {size}). Thin lines are networks ({counted(frame['seed'].nunique(), 'seed')}), thick "
        "ones their geometric mean. Dashed: the slope in theory, laid through the middle layers. "
        "The gradient flows from right to left.",
        mean,
        draw,
    )


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
    seeds = middle.assign(growth=np.log(middle["growth"])).groupby(keys)[["growth", "theory"]]
    seeds = seeds.mean().reset_index().assign(growth=lambda rows: np.exp(rows["growth"]))
    means = growth_by_network(table, options)
    looks = {network: NETWORKS[network] for network in in_order(seeds["network"], NETWORKS)}
    sizes = sorted(seeds["batch_size"].unique())

    def draw(layout: Layout) -> Figure:
        word = "norm." if layout.narrow else "normalization"
        titles = {n: look.name.replace("normalization", word) for n, look in looks.items()}
        panels = small_multiples(
            seeds, None, "network", layout, cols=list(looks), x="batch size", y="growth per layer",
            xscale=None, sharey=False, height=1.75, width=layout.width,
            col_name=titles,
        )  # fmt: skip
        for ax, part in panels:
            network = part["network"].iat[0]
            x, theory = theory_curve(network, sizes)
            ax.fill_between(x, theory * (1 - TOLERANCE), theory * (1 + TOLERANCE), fc=GRID, lw=0)
            ax.plot(x, theory, zorder=2, **THEORY)
            doubling_axis(ax, sizes)
            aside = part.groupby("batch_size")["growth"].transform(lambda v: spread(len(v), 0.3))
            dots(ax, part["batch_size"] * 2**aside, part["growth"], looks[network], size=2.4)
            ax.plot(means.loc[network, "measured"], **looks[network].point(5), zorder=3)
            center = float(theory.mean())
            reach = np.abs(np.concatenate([part["growth"], theory]) / center - 1).max()
            ax.set_ylim(*(center * (1 + s * max(2.2 * TOLERANCE, 1.1 * reach)) for s in (-1, 1)))
            ax.grid(visible=False)
        band = Patch(color=GRID, label=f"theory ± {100 * TOLERANCE:.0f}{SPACE}%")
        one = Line2D([], [], color=MUTED, ls="none", marker=".", label="one network")
        return panels.finish([Line2D([], [], label="theory", **THEORY), band, one])

    error = (means["measured"] / means["theory"] - 1).abs()
    parts = (
        f"{look.name}, "
        + listed(
            f"{row.measured:.3f} against {row.theory:.3f} at batch size {size}"
            for size, row in means.loc[network].iterrows()
        )
        for network, look in looks.items()
    )
    return Drawing(
        "gradient-growth",
        "Growth of the squared gradient norm per layer, measured against theory: "
        f"{'; '.join(parts)}. The largest deviation is {decimal(100 * error.max(), 1)} percent.",
        "How much the squared norm of the gradient grows per layer on its way to the input, before "
        f"training: geometric means over layers {first} to {last} of {depth}. Dots are networks "
        f"({counted(seeds['seed'].nunique(), 'seed')}), large marks their geometric means. Dashed: "
        "theory, Yang et al. (2019), theorem 8, for batch normalization, and 1/6 and 1 without; "
        f"shaded, {100 * TOLERANCE:.0f}{SPACE}% around it. Each panel has its own axis.",
        seeds.rename(columns={"growth": "measured"}),
        draw,
    )


def theory_curve(network: str, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Batch sizes around the measured ones and the growth that theory has for them."""
    from bnstudy.studies.init_gradients import growth_in_theory  # imports torch

    x = np.geomspace(max(4, min(sizes) / 1.5), max(sizes) * 1.5, 40)
    return x, np.array([growth_in_theory(network, size) for size in x])
