"""What the figures of some studies still draw with, below `bnstudy.report.look`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from bnstudy.report.look import GRID, INK, MUTED, PAPER, Drawing, Layout
from bnstudy.report.panels import log_ticks
from bnstudy.settings import level_name

__all__ = [
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "Drawing",
    "Layout",
    "arm",
    "arm_legend",
    "arm_name",
    "band",
]
__all__ += ["log_ticks", "panels", "style"]


@dataclass(frozen=True)
class ArmStyle:
    """Colour of an arm and, for those who do not see it, dash pattern and marker."""

    color: str
    dash: object
    marker: str


# The first three colours of seaborn's colour-blind-safe palette.
ARM_STYLES = {
    "none": ArmStyle("#de8f05", (0, (4, 1.6)), "s"),
    "batch": ArmStyle("#0173b2", "solid", "o"),
    "layer": ArmStyle("#029e73", (0, (4, 1.4, 1, 1.4)), "D"),
}


def style(norm: str) -> ArmStyle:
    return ARM_STYLES.get(norm, ArmStyle("#cc78bc", "dotted", "^"))


def arm_name(norm: str) -> str:
    return level_name("norm", norm)


def panels(
    rows: int, columns: int, layout: Layout, *, height: float, sharex: object, sharey: object
) -> tuple[Figure, np.ndarray]:
    """A grid of axes, each `height` inches high, an array of shape (rows, columns)."""
    width = layout.width
    if not layout.narrow and columns < 3:
        width = min(width, 3.1 * columns + 0.6)
    figure = Figure(figsize=(width, rows * height + 0.75))
    axes = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
    return figure, axes


def arm_legend(figure: Figure, norms: Sequence[str], layout: Layout, extra: Sequence = ()) -> None:
    """Name the arms above the panels."""
    handles = [
        Line2D(
            [],
            [],
            color=style(n).color,
            ls=style(n).dash,
            marker=style(n).marker,
            label=arm_name(n),
        )
        for n in norms
    ]
    handles += list(extra)
    columns = 1 if layout.narrow and len(handles) > 2 else len(handles)
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        handlelength=2.6,
        columnspacing=1.6,
        borderpad=0,
        fontsize=7.5 if layout.narrow and columns > 1 else 8.5,
    )


def band(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Mean over seeds of column `value` with its pointwise 95 % t-interval.

    Returns
    -------
    pandas.DataFrame
        Columns `by`, mean, ci_low, ci_high, n; the interval is empty for n < 2. Values that are not
        finite, as a diverging run leaves them, do not count.
    """
    finite = frame[np.isfinite(frame["value"])]
    table = finite.groupby(by, sort=True)["value"].agg(["mean", "std", "count"]).reset_index()
    several = table["count"] > 1
    n = table["count"].where(several, 2)
    half = stats.t.ppf(0.975, n - 1) * table["std"].fillna(0.0) / np.sqrt(n)
    table["ci_low"] = (table["mean"] - half).where(several)
    table["ci_high"] = (table["mean"] + half).where(several)
    return table.rename(columns={"count": "n"})[[*by, "mean", "ci_low", "ci_high", "n"]]


def arm(norm: str) -> str:
    """The arm as a sentence names it."""
    return "without normalization" if norm == "none" else f"with {arm_name(norm)}"
