"""Figures of the layer itself: a batch worked by hand, and what is computed in either mode."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bnstudy.report.look import BLUE, INK, MUTED, Drawing, Layout
from bnstudy.report.marks import category_axis, note, threads
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import decimal


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
        size = (layout.width, 4.3) if narrow else (layout.width, 2.75)
        figure = Figure(figsize=size)
        ax = figure.subplots()
        half = (0.66, 0.30) if narrow else (0.74, 0.36)  # of a box

        def place(step: int, mode: int) -> tuple[float, float]:
            return (1.75 * mode, -1.05 * step) if narrow else (1.95 * step, -1.55 * mode)

        def arrow(start: tuple, end: tuple, color: str, bend: float = 0, **line: object) -> None:
            ax.annotate(
                "",
                end,
                start,
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": color,
                    "lw": 1.3,
                    "shrinkA": 0,
                    "shrinkB": 0,
                    "connectionstyle": f"arc3,rad={bend}",
                }
                | line,
            )

        def side(step: int, mode: int, way: int) -> tuple[float, float]:
            """The middle of the edge at which the flow enters (-1) or leaves (1) a box."""
            x, y = place(step, mode)
            return (x, y - way * half[1]) if narrow else (x + way * half[0], y)

        for mode, (name, formulas) in enumerate(FORMULAS.items()):
            color = BLUE if mode == 0 else INK
            for step, formula in enumerate(formulas):
                x, y = place(step, mode)
                box = Rectangle(
                    (x - half[0], y - half[1]),
                    2 * half[0],
                    2 * half[1],
                    fc="none",
                    ec=color,
                    lw=1.3,
                    ls=(0, (3, 1.5)) if (step, mode) == (1, 1) else "solid",
                )
                ax.add_patch(box)
                ax.text(x, y, formula, ha="center", va="center", fontsize=8.5)
            arrow(side(1, mode, 1), side(2, mode, -1), color)
            arrow(side(2, mode, 1), side(3, mode, -1), color)
            if mode == 0:
                arrow(side(0, 0, 1), side(1, 0, -1), color)
            # The values themselves go past the statistics.
            outer = 1 if mode == 0 else -1
            (x0, y0), (x2, y2) = place(0, mode), place(2, mode)
            bend = (-0.32 if narrow else -0.18) * outer
            if narrow:
                edge = -outer * half[0]
                arrow((x0 + edge, y0), (x2 + edge, y2), color, -bend)
            else:
                edge = outer * half[1]
                arrow((x0, y0 + edge), (x2, y2 + edge), color, bend)
            x, y = place(0, mode)
            title = f"{name} mode"
            if narrow:
                ax.text(x, y + half[1] + 0.12, title, ha="center", weight="bold")
            else:
                ax.text(x - half[0] - 0.1, y, title.replace(" ", "\n"), ha="right", va="center",
                        weight="bold")  # fmt: skip
        (x0, y0), (x1, y1) = place(1, 0), place(1, 1)
        past = {"ls": (0, (3, 1.5))}
        if narrow:
            arrow((x0 + half[0], y0), (x1 - half[0], y1), MUTED, **past)
            ax.text((x0 + x1) / 2, y0 + 0.1, r"$\alpha$", ha="center", color=MUTED)
        else:
            arrow((x0, y0 - half[1]), (x1, y1 + half[1]), MUTED, **past)
            ax.text(x0 + 0.08, (y0 + y1) / 2, r"moving average, weight $\alpha$", va="center",
                    fontsize=7.5, color=MUTED)  # fmt: skip
            for step, word in enumerate(STEPS["step"]):
                ax.text(place(step, 0)[0], 1.02, word, ha="center", color=MUTED, fontsize=7.5)
        ax.set_xlim((-1.05, 2.8) if narrow else (-1.75, 6.7))
        ax.set_ylim((-3.6, 0.75) if narrow else (-2.4, 1.2))
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
