"""Figures of the layer itself: a batch worked by hand, and what is computed in either mode."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from bnstudy.report.look import BLUE, DECLARED, INK, MUTED, WIDTH, Drawing, Look
from bnstudy.report.marks import Plot, category_axis, note, threads
from bnstudy.report.measures import decimal
from bnstudy.report.plots import declared, pictured


def four_samples(table: pd.DataFrame) -> Drawing:
    """The steps of batch normalization on a small batch, as points on number lines.

    The table has a row per sample; its columns are the successive values, whose names label the lines.
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

    means, spreads = table.mean().round(9) + 0, table.std(ddof=0)  # + 0: zero has no sign
    found = {"mark": mark, "looks": {line: Look(line) for line in table}, "data": table}
    found |= {"means": [*means], "spreads": [*spreads], "height": 0.72 * len(means) - 0.25}
    return declared("four-samples", DECLARED["pictures"]["four-samples"], frame, {}, found)


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
        for mode, (name, formulas) in enumerate(DECLARED["pictures"]["formulas"].items()):
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

    table = pd.DataFrame(DECLARED["pictures"]["steps"])
    return pictured("computation", "computation", table, draw)
