"""Figure of the time of a step (S11)."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from bnstudy.report.figures import INK, MUTED, Drawing, Layout, panels
from bnstudy.report.results import SPACE, counted, decimal, listed
from bnstudy.report.study_figures.looks import BLUE, Look, fit, name_rows, row_mean

FAR = 1.6  # times the largest median, or below the smallest, a block is drawn at the edge
SIGNS = 6  # blocks that a 95 % interval of the median takes
PHASES = {
    ("training", "batch"): Look("training", BLUE, "solid", "o"),
    ("inference", "batch"): Look("inference", BLUE, "solid", "D"),
    ("inference", "fused"): Look("inference, fused", BLUE, "solid", "s", filled=False),
}


def step_times(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Ratios of step times with and without batch normalization, a panel per phase."""
    wide = table.pivot(
        index=["batch_size", "seed", "phase"], columns="arm", values="milliseconds"
    ).reset_index()
    if "none" not in wide:
        return None
    parts = [
        wide[wide["phase"] == phase][["batch_size", "seed", "phase"]].assign(
            arm=arm, ratio=wide[arm] / wide["none"]
        )
        for phase, arm in PHASES
        if arm in wide
    ]
    data = pd.concat(parts).dropna(subset=["ratio"]).rename(columns={"seed": "block"})
    phases = [key for key in PHASES if of_phase(data, *key).any()]
    sizes = sorted(data["batch_size"].unique())
    if not phases:
        return None
    # A block that was disturbed can be far off; it is drawn at the edge instead of far out.
    cells = data["ratio"].groupby([data["phase"], data["arm"], data["batch_size"]])
    medians = [1.0, *cells.median()]
    low = max(data["ratio"].min(), min(medians) / FAR)
    high = min(data["ratio"].max(), max(medians) * FAR)
    low, high = min(low, 0.95), max(high, 1.05)
    outside = int(((data["ratio"] < low) | (data["ratio"] > high)).sum())

    def draw(layout: Layout) -> Figure:
        shape = (len(phases), 1) if layout.narrow else (1, len(phases))
        figure, axes = panels(
            *shape, layout, height=0.45 + 0.27 * len(sizes), sharex=True, sharey=True
        )
        for ax, key in zip(axes.flat, phases, strict=True):
            some = data[of_phase(data, *key)]
            ax.axvline(1, color=INK, lw=0.8, zorder=1)
            for y, size in enumerate(sizes):
                ratios = some[some["batch_size"] == size]["ratio"]
                if len(ratios):
                    block_row(ax, y, ratios, PHASES[key], low, high)
            fit(ax, "x", [low, high], log=True)
            name_rows(ax, [f"{size}" for size in sizes])
            ax.set_title(PHASES[key].name)
        for ax in axes[:, 0]:
            ax.set_ylabel("batch size")
        for ax in axes[-1]:
            ax.set_xlabel("time over that without")
        return figure

    finding = "; ".join(
        f"{PHASES[key].name} "
        + listed(
            f"{decimal(median_ratio(data, key, size), 2)} times at batch size {size}"
            for size in sizes
            if (of_phase(data, *key) & (data["batch_size"] == size)).any()
        )
        for key in phases
    )
    n = data["block"].nunique()
    intervals = f" with 95{SPACE}% intervals from order statistics" if n >= SIGNS else ""
    return Drawing(
        "timing",
        f"Median time of a step with batch normalization over that without: {finding}.",
        "Time of a step with batch normalization over that without (logarithmic scale), training "
        "and inference, and inference once batch normalization is folded into the Linear layer "
        f"before it. A circle is one of {counted(n, 'block')} of {counted(options['steps'], 'step')} "
        f"that the arms took in turns; large marks are medians{intervals}. The vertical line marks "
        "equal times."
        + (
            f" Outside the axes lie {counted(outside, 'circle')}, drawn at the edge as triangles."
            if outside
            else ""
        ),
        data,
        draw,
    )


def of_phase(rows: pd.DataFrame, phase: str, arm: str) -> pd.Series:
    return (rows["phase"] == phase) & (rows["arm"] == arm)


def median_ratio(data: pd.DataFrame, key: tuple[str, str], size: int) -> float:
    return data[of_phase(data, *key) & (data["batch_size"] == size)]["ratio"].median()


def block_row(ax: Axes, y: float, ratios: pd.Series, look: Look, low: float, high: float) -> None:
    """A row of blocks, those outside the axis at its edge, with median and interval."""
    offsets = y + (np.linspace(-0.3, 0.3, len(ratios)) if len(ratios) > 1 else np.zeros(1))
    values = ratios.to_numpy()
    for chosen, marker in (
        ((values >= low) & (values <= high), "o"),
        (values < low, "<"),
        (values > high, ">"),
    ):
        ax.plot(
            values[chosen].clip(low, high),
            offsets[chosen],
            ls="none",
            marker=marker,
            mfc="none",
            mec=MUTED,
            ms=2.4,
            mew=0.5,
            zorder=2,
        )
    interval = (math.nan, math.nan)
    if len(ratios) >= SIGNS:
        interval = stats.quantile_test(ratios, p=0.5).confidence_interval(0.95)
    row_mean(ax, y, look, ratios.median(), *interval)
