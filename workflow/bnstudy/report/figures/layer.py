"""Figures of the layer itself: a batch worked by hand, and what is computed in either mode."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from bnstudy.report.look import BLUE, INK, MUTED, WIDTH, Drawing, Look
from bnstudy.report.marks import Plot, category_axis, note, threads
from bnstudy.report.measures import decimal
from bnstudy.report.plots import plot


def four_samples(table: pd.DataFrame) -> Drawing:
    """The steps of batch normalization on a small batch, as points on number lines.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per sample; the columns are the successive values, their names the lines' labels.
    """
    frame = table.melt(var_name="line", value_name="value")

    def mark(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
        threads(ax, table.to_numpy(float), np.broadcast_to(range(len(table.columns)), table.shape))
        for y, line in enumerate(table):
            values = np.sort(table[line].to_numpy(float))
            ax.plot(values.mean(), y, marker="|", color=INK, ms=17, mew=1.2, zorder=1)
            ax.plot(values, [y] * len(values), ls="none", marker="o", color=BLUE)
            for rank, value in enumerate(values):
                text, offset = decimal(value, 2).removesuffix(".00"), 6 if rank % 2 else -13
                note(ax, text, (value, y), (0, offset), ha="center")
        category_axis(ax, "y", list(table))

    first, normalized = table.iloc[:, 0], table.iloc[:, 1]
    return plot(
        "figure",
        "four-samples",
        frame,
        "Batch normalization of one feature in a batch of four samples. The tick is the mean of "
        "the batch; thin lines follow each sample.",
        mark=mark, hue="line", looks={line: Look(line) for line in table}, flat=True,
        value="value of one feature", yscale=None, height=0.72 * table.shape[1] - 0.25,
        finding=f"Four points on three number lines. Their mean moves from {first.mean():.2f} to "
        f"{abs(normalized.mean()):.2f} and their standard deviation from {first.std(ddof=0):.2f} "
        f"to {normalized.std(ddof=0):.2f}; their order stays the same.",
        data=table,
    )  # fmt: skip


STEPS = pd.DataFrame(
    [
        ("input", "a batch of m values", "one value"),
        ("statistics", "mean and variance of the batch", "running mean and variance, fixed"),
        ("normalize", "by the statistics of the batch", "by the running statistics"),
        ("scale and shift", "learned parameters", "the same parameters, fixed"),
    ],
    columns=["step", "training mode", "evaluation mode"],
)
FORMULAS = {
    "training": (
        r"$x_1, \ldots, x_m$",
        r"$\mu,\ \sigma^2$",
        r"$\hat{x}_i = \dfrac{x_i - \mu}{\sqrt{\sigma^2 + \varepsilon}}$",
        r"$y_i = \gamma\,\hat{x}_i + \beta$",
    ),
    "evaluation": (
        r"$x$",
        r"$\bar{\mu},\ \bar{\sigma}^2$",
        r"$\hat{x} = \dfrac{x - \bar{\mu}}{\sqrt{\bar{\sigma}^2 + \varepsilon}}$",
        r"$y = \gamma\,\hat{x} + \beta$",
    ),
}


def computation() -> Drawing:
    """The layer as a diagram: what is computed in training and what in evaluation mode."""

    def draw() -> list[Figure]:
        drawn = Figure(figsize=(WIDTH, 4.3))
        ax = drawn.subplots()
        middle = {"ha": "center", "va": "center"}

        def at(step: float, mode: float) -> tuple[float, float]:
            return 1.75 * mode, -1.05 * step

        def arrow(start: Text, end: Text, color: str, bend: float = 0, dash: str = "-") -> None:
            """From box to box: matplotlib ends it at their edges."""
            look = {"arrowstyle": "-|>", "color": color, "lw": 1.3, "ls": dash, "shrinkA": 0}
            look |= {"connectionstyle": f"arc3,rad={bend}", "shrinkB": 0}
            look |= {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
            ax.annotate("", end.get_position(), start.get_position(), arrowprops=look)

        boxes = {}
        for mode, (name, formulas) in enumerate(FORMULAS.items()):
            color = INK if mode else BLUE
            for step, formula in enumerate(formulas):
                edge = {"boxstyle": "square,pad=0.7", "fc": "none", "ec": color, "lw": 1.3}
                edge |= {"ls": "--"} if step == mode == 1 else {}
                boxes[step, mode] = ax.text(*at(step, mode), formula, bbox=edge, **middle)
            ax.text(*at(-0.5, mode), f"{name} mode", weight="bold", **middle)
            for step in (1, 2) if mode else (0, 1, 2):
                arrow(boxes[step, mode], boxes[step + 1, mode], color)
            # The values themselves go past the statistics.
            arrow(boxes[0, mode], boxes[2, mode], color, -0.45 if mode else 0.45)
        arrow(boxes[1, 0], boxes[1, 1], MUTED, dash="--")
        ax.text(*at(0.9, 0.5), r"$\alpha$", ha="center", color=MUTED, fontsize=7.5)
        ax.set(xlim=(-1.05, 2.8), ylim=(-3.6, 0.75))
        ax.set_axis_off()
        return [drawn]

    return Drawing(
        "computation",
        "Boxes and arrows in two rows. In training mode a batch gives its mean and variance, is "
        "normalized by them, scaled and shifted. In evaluation mode a value is normalized by "
        "running averages of those statistics, scaled and shifted by the same parameters.",
        "What the layer computes for one feature. In training mode (blue) the values of a batch are "
        "normalized by their own mean and variance. A moving average of these, updated after each "
        "batch (dashed), is what evaluation mode uses, where the samples no longer depend on each "
        "other. Scale $\\gamma$ and shift $\\beta$ are learned and the same in both modes.",
        STEPS,
        draw,
    )
