"""Figures of the gradients at initialization (S5)."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter

from bnstudy.claims.endpoints.init_gradients import TOLERANCE, growth_by_network
from bnstudy.report.results import SPACE, decimal, listed
from bnstudy.report.study_figures.runs import (
    averaged,
    dots,
    number,
    outer_labels,
    scale_axes,
    seeds_of,
    select,
    spread,
    thin_lines,
)
from bnstudy.report.study_figures.toolkit import (
    GRID,
    INK,
    MUTED,
    PAPER,
    Drawing,
    Layout,
    panels,
    style,
)

# name, arm whose colour it has, filled marker
NETWORKS = {
    "none_default": ("ReLU, default init", "none", True),
    "none_he": ("ReLU, He init", "none", False),
    "batch_relu": ("ReLU, batch normalization", "batch", True),
    "batch_linear": ("linear, batch normalization", "batch", False),
}


def network_look(network: str) -> dict[str, object]:
    """Colour of the arm; networks of one arm differ in marker, its filling, and dashes."""
    _, norm, filled = NETWORKS[network]
    look = style(norm)
    marker = look.marker if filled else {"s": "D", "o": "v"}[look.marker]
    return {"color": look.color, "marker": marker, "mfc": look.color if filled else PAPER}


def gradient_norms(table: pd.DataFrame, options: dict) -> Drawing:
    """Norm of the gradient at every layer of four untrained networks, against theory."""
    depth = options["theory_depth"]
    depth = depth if depth in set(table["depth"]) else int(table["depth"].max())
    size = int(table["batch_size"].max())
    frame = select(table, depth=depth, batch_size=size).assign(value=lambda t: t["gradient"])
    mean = averaged(frame, ["network", "layer"], logarithmic=True)
    networks = [n for n in NETWORKS if n in set(frame["network"])]
    growth = frame.groupby("network")["theory"].first()
    first, last = (min(layer, depth) for layer in options["middle"])

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(1, 1, layout, height=2.9, sharex=True, sharey=True)
        figure.set_figwidth(min(layout.width, 6.4))
        ax = axes[0, 0]
        ax.set_yscale("log")
        for i, network in enumerate(networks):
            look = network_look(network)
            wide = select(frame, network=network).pivot(
                index="seed", columns="layer", values="value"
            )
            layers = np.broadcast_to(wide.columns.to_numpy(float), wide.shape)
            thin_lines(ax, layers, wide.to_numpy(float), color=look["color"], alpha=0.35)
            curve = select(mean, network=network)
            every = (i, len(networks))  # lines that coincide show their marks in turn
            ax.plot(curve["layer"], curve["mean"], lw=1.3, ms=4.2, markevery=every, **look)
            layers, theory = theory_line(curve, growth[network], first, last)
            ax.plot(layers, theory, color=INK, lw=1.1, ls=(0, (3, 2)), zorder=4)
        ax.set_xlabel("hidden layer, from the input to the output")
        ax.set_ylabel("norm of the gradient")
        ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        scale_axes(axes)
        handles = [
            Line2D([], [], lw=1.3, label=NETWORKS[n][0], **network_look(n)) for n in networks
        ]
        handles.append(Line2D([], [], color=INK, lw=1.1, ls=(0, (3, 2)), label="slope in theory"))
        figure.legend(
            handles=handles,
            loc="outside upper left",
            ncols=1 if layout.narrow else 2,
            borderpad=0,
            columnspacing=1.6,
        )
        return figure

    ends = mean.pivot(index="network", columns="layer", values="mean")
    parts = [
        f"{NETWORKS[n][0]}, a factor of {number(ends.loc[n].iloc[0] / ends.loc[n].iloc[-1])}"
        for n in networks
    ]
    return Drawing(
        "gradient-norms",
        f"Gradient norm from layer 1 to {depth} of untrained networks, on a logarithmic scale. Norm "
        f"at the first layer over that at the last: {'; '.join(parts)}.",
        "Norm of the gradient of the loss by the output of each hidden layer's linear map, before "
        f"training (logarithmic scale; {depth} hidden layers of {options['width']} units, batch "
        f"size {size}). Thin lines are networks ({seeds_of(frame)}), thick ones their geometric "
        "mean. Dashed: the slope in theory, laid through the middle layers. The gradient flows from "
        "right to left.",
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


def gradient_growth(table: pd.DataFrame, options: dict) -> Drawing:
    """Measured growth of the squared gradient per layer against Yang et al.'s theorem 8."""
    first, last = options["middle"]
    depth = options["theory_depth"]
    middle = table[(table["depth"] == depth) & table["layer"].between(first, last)]
    seeds = (
        middle.assign(growth=np.log(middle["growth"]))
        .groupby(["network", "batch_size", "seed"])[["growth", "theory"]]
        .mean()
        .reset_index()
    )
    seeds["growth"] = np.exp(seeds["growth"])
    means = growth_by_network(table, options)
    networks = [n for n in NETWORKS if n in set(seeds["network"])]
    sizes = sorted(seeds["batch_size"].unique())

    def draw(layout: Layout) -> Figure:
        rows, columns = (2, 2) if layout.narrow else (1, 4)
        columns = min(columns, len(networks))
        rows = math.ceil(len(networks) / columns)
        figure, axes = panels(rows, columns, layout, height=1.9, sharex=True, sharey=False)
        for ax, network in zip(axes.flat, networks, strict=False):
            growth_panel(ax, select(seeds, network=network), means.loc[network], network, sizes)
            ax.set_title(NETWORKS[network][0].replace(", ", "\n"), fontsize=8)
        for ax in axes.flat[len(networks) :]:
            ax.set_visible(False)
        outer_labels(axes, "batch size", "growth per layer")
        figure.legend(
            handles=[
                Line2D([], [], color=INK, lw=1.1, ls=(0, (3, 2)), label="theory"),
                Patch(color=GRID, label=f"theory ± {100 * TOLERANCE:.0f}{SPACE}%"),
                Line2D([], [], color=MUTED, ls="none", marker=".", label="one network"),
            ],
            loc="outside upper left",
            ncols=3,
            borderpad=0,
            columnspacing=1.4,
            fontsize=7.5 if layout.narrow else 8.5,
        )
        return figure

    error = (means["measured"] / means["theory"] - 1).abs()
    parts = [
        f"{NETWORKS[n][0]}, "
        + listed(
            f"{row.measured:.3f} against {row.theory:.3f} at batch size {size}"
            for size, row in means.loc[n].iterrows()
        )
        for n in networks
    ]
    return Drawing(
        "gradient-growth",
        "Growth of the squared gradient norm per layer, measured against theory: "
        f"{'; '.join(parts)}. The largest deviation is {decimal(100 * error.max(), 1)} percent.",
        "How much the squared norm of the gradient grows per layer on its way to the input, before "
        f"training: geometric means over layers {first} to {last} of {depth}. Dots are networks "
        f"({seeds_of(seeds)}), large marks their geometric means. Dashed: theory, Yang et al. "
        f"(2019), theorem 8, for batch normalization, and 1/6 and 1 without; shaded, "
        f"{100 * TOLERANCE:.0f}{SPACE}% around it. Each panel spans the same ratios.",
        seeds.rename(columns={"growth": "measured"}),
        draw,
    )


def growth_panel(
    ax: Axes, seeds: pd.DataFrame, means: pd.DataFrame, network: str, sizes: Sequence[int]
) -> None:
    look = network_look(network)
    ax.set_xscale("log", base=2)
    x, theory = theory_curve(network, sizes)
    ax.fill_between(x, theory * (1 - TOLERANCE), theory * (1 + TOLERANCE), color=GRID, lw=0)
    ax.plot(x, theory, color=INK, lw=1.1, ls=(0, (3, 2)), zorder=2)
    for size, cell in seeds.groupby("batch_size"):
        places = size * 2 ** spread(len(cell), 0.3)
        dots(ax, places, cell["growth"], NETWORKS[network][1], 2.4)
    ax.plot(means.index, means["measured"], ls="none", ms=4.5, zorder=3, **look)
    center = float(theory.mean())
    values = np.concatenate([seeds["growth"] / center, theory / center])
    reach = max(2.2 * TOLERANCE, 1.1 * np.abs(values - 1).max())
    ax.set_ylim(center * (1 - reach), center * (1 + reach))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(x[0], x[-1])
    ax.grid(visible=False)


def theory_curve(network: str, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Batch sizes around the measured ones and the growth that theory has for them."""
    from bnstudy.studies.init_gradients import growth_in_theory  # imports torch

    x = np.geomspace(max(4, min(sizes) / 1.5), max(sizes) * 1.5, 40)
    return x, np.array([growth_in_theory(network, size) for size in x])
