"""Figures of the layer itself: a batch worked by hand, and what is computed in either mode."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bnstudy.report.look import BLUE, INK, MUTED, Drawing, Layout
from bnstudy.report.marks import category_axis, note, threads
from bnstudy.report.measures import decimal
from bnstudy.report.panels import small_multiples


def four_samples(table: pd.DataFrame) -> Drawing:
    """The steps of batch normalization on a small batch, as points on three number lines.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per sample; the columns are the successive values, their names the lines' labels.
    """
    lines = list(table.columns)

    def draw(layout: Layout) -> Figure:
        height = 0.72 * len(lines) - 0.25
        panels = small_multiples(
            table,
            None,
            None,
            layout,
            x="value of one feature",
            yscale=None,
            height=height,
            width=6.4,
        )
        ax = panels.axes[None, None]
        threads(ax, table.to_numpy(float), np.arange(len(lines)) + 0 * table.to_numpy(float))
        for y, line in enumerate(lines):
            values = np.sort(table[line].to_numpy(float))
            ax.plot(values.mean(), y, marker="|", color=INK, ms=17, mew=1.2, zorder=1)
            ax.plot(values, [y] * len(values), ls="none", marker="o", color=BLUE)
            for rank, value in enumerate(values):
                text, offset = decimal(value, 2).removesuffix(".00"), 6 if rank % 2 else -13
                note(ax, text, (value, y), (0, offset), ha="center")
        category_axis(ax, "y", lines)
        ax.grid(axis="both", visible=True)
        ax.spines["left"].set_visible(False)
        return panels.finish()

    first, normalized = table[lines[0]], table[lines[1]]
    return Drawing(
        "four-samples",
        f"Four points on three number lines. Their mean moves from {first.mean():.2f} to "
        f"{abs(normalized.mean()):.2f} and their standard deviation from {first.std(ddof=0):.2f} "
        f"to {normalized.std(ddof=0):.2f}; their order stays the same.",
        "Batch normalization of one feature in a batch of four samples. The tick is the mean of "
        "the batch; thin lines follow each sample.",
        table,
        draw,
    )


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

    def draw(layout: Layout) -> Figure:
        narrow = layout.narrow
        figure = Figure(figsize=(layout.width, 4.3 if narrow else 2.75))
        ax = figure.subplots()
        width, height = (0.66, 0.30) if narrow else (0.74, 0.36)  # of half a box

        def at(step: int, mode: int, along: float = 0, across: float = 0) -> tuple[float, float]:
            """A box's center, or so many halves of it further along the flow and across it."""
            if narrow:
                return 1.75 * mode + across * width, -1.05 * step - along * height
            return 1.95 * step + along * width, -1.55 * mode - across * height

        def arrow(start: tuple, end: tuple, color: str, bend: float = 0, dash: str = "-") -> None:
            look = {"arrowstyle": "-|>", "color": color, "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
            look |= {"connectionstyle": f"arc3,rad={bend}", "ls": dash}
            ax.annotate("", end, start, arrowprops=look)

        small = {"color": MUTED, "fontsize": 7.5}
        for mode, (name, formulas) in enumerate(FORMULAS.items()):
            color, outer = (INK, 1) if mode else (BLUE, -1)
            for step, formula in enumerate(formulas):
                x, y = at(step, mode)
                edge = {
                    "fc": "none",
                    "ec": color,
                    "lw": 1.3,
                    "ls": "--" if step == mode == 1 else "-",
                }
                ax.add_patch(Rectangle((x - width, y - height), 2 * width, 2 * height, **edge))
                ax.text(x, y, formula, ha="center", va="center")
                if 0 < step < 3 or step == mode == 0:
                    arrow(at(step, mode, 1), at(step + 1, mode, -1), color)
            # The values themselves go past the statistics.
            bend = outer * (-0.32 if narrow else 0.18)
            arrow(at(0, mode, 0, outer), at(2, mode, 0, outer), color, bend)
            words = f"{name} mode" if narrow else f"{name}\nmode"
            align = {"ha": "center"} if narrow else {"ha": "right", "va": "center"}
            ax.text(*at(0, mode, -1.35 if narrow else -1.15), words, weight="bold", **align)
        arrow(at(1, 0, 0, 1), at(1, 1, 0, -1), MUTED, dash="--")
        if narrow:
            ax.text(0.875, -0.95, r"$\alpha$", ha="center", **small)
        else:
            ax.text(2.03, -0.775, r"moving average, weight $\alpha$", va="center", **small)
            for step, word in enumerate(STEPS["step"]):
                ax.text(1.95 * step, 1.02, word, ha="center", **small)
        ax.set(xlim=(-1.05, 2.8) if narrow else (-1.75, 6.7))
        ax.set(ylim=(-3.6, 0.75) if narrow else (-2.4, 1.2))
        ax.set_axis_off()
        return figure

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
