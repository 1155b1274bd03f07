"""What figures of runs share: names, strips of seeds side by side, and ticks."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from bnstudy.claims.endpoints.scoring import accuracy, steps
from bnstudy.report.results import SPACE, counted, listed
from bnstudy.report.study_figures.toolkit import (
    MUTED,
    PAPER,
    Layout,
    arm,
    arm_legend,
    band,
    log_ticks,
    style,
)
from bnstudy.scoring import failed as diverged

PLAIN_DECADES = 5  # log axes up to this length have plain numbers, longer ones powers of ten
FEW_SEEDS = 5  # intervals of fewer are so long that the limits of an axis cannot follow them
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NAMES = {
    "sgd": "SGD",
    "adam": "Adam",
    "relu": "ReLU",
    "default": "default init",
    "he": "He init",
    "all": "all layers scaled",
    "hidden": "hidden layers scaled",
    "symmetric": "symmetric",
    "standardize": "standardized",
    "relu2": "2 layers, ReLU",
    "relu5": "5 layers, ReLU",
    "sigmoid3": "3 layers, sigmoid",
}
INTERVALS = f"95{SPACE}% t-interval"
CROSS, TRIANGLE = {"marker": "x", "alpha": 0.8}, {"marker": "^", "mfc": "none"}
# Ink on a heat map: the colours of cells are the same on a dark page, so these must be too.
ON_LIGHT, ON_DARK = "#000000", "#fefefe"


BASELINE = "none"


def name(value: object) -> str:
    """A value of a grid as figures write it."""
    return NAMES.get(str(value), str(value))


def arms(table: pd.DataFrame) -> list[str]:
    """The arms of a table, the baseline first."""
    return sorted(table["norm"].unique(), key=lambda norm: norm != BASELINE)


def in_order(column: pd.Series) -> list:
    """The different values in the order of the table, which is that of the config."""
    return column.drop_duplicates().tolist()


def seeds_of(table: pd.DataFrame) -> str:
    return counted(table["seed"].nunique(), "seed")


def select(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Rows in which each named column has the value given."""
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def runs(count: int) -> str:
    return counted(count, "run")


def number(x: float) -> str:
    """Three significant digits, `1.2e-9` below a thousandth."""
    if not math.isfinite(x):
        return "n/a"
    text = f"{x:.3g}"
    return text if "e" not in text or abs(x) < 1 else f"{x:,.0f}"


def per_arm(frame: pd.DataFrame, write: Callable[[pd.DataFrame], str]) -> str:
    """`97.1 without normalization and 98.0 with batch normalization`."""
    return listed(f"{write(select(frame, norm=norm))} {arm(norm)}" for norm in arms(frame))


def interval_phrase(table: pd.DataFrame, around: str = " with its ") -> str:
    """What stands around a mean; nothing for a single seed."""
    count = table["seed"].nunique()
    cut = " (cut at the edge of the panel where it is longer)" if count < FEW_SEEDS else ""
    return f"{around}{INTERVALS}{cut}" if count > 1 else ""


def averaged(frame: pd.DataFrame, by: list[str], *, logarithmic: bool) -> pd.DataFrame:
    """`figures.band`; of the logarithms for a quantity whose ratios matter, and back."""
    if not logarithmic:
        return band(frame, by)
    positive = frame[frame["value"] > 0]
    table = band(positive.assign(value=np.log(positive["value"])), by)
    columns = ["mean", "ci_low", "ci_high"]
    table[columns] = np.exp(table[columns])
    return table


def scale_axis(ax: Axes, which: str) -> None:
    """Ticks of a logarithmic axis, once everything is drawn: plain numbers or powers of ten."""
    low, high = np.log10(getattr(ax, f"get_{which}lim")())
    axis = getattr(ax, f"{which}axis")
    axis.set_minor_locator(NullLocator())  # even invisible ticks would take their bytes
    if high - low <= PLAIN_DECADES:
        log_ticks(ax, which)
        return
    stride = math.ceil((high - low) / 5)
    exponents = [e for e in range(math.ceil(low), math.floor(high) + 1) if e % stride == 0]
    axis.set_major_locator(FixedLocator([10.0**e for e in exponents]))
    axis.set_major_formatter(
        FuncFormatter(lambda x, _: "10" + str(round(math.log10(x))).translate(SUPERSCRIPTS))
    )


def scale_axes(axes: np.ndarray) -> None:
    for ax in axes.flat:
        for which in ("x", "y"):
            if getattr(ax, f"get_{which}scale")() == "log":
                scale_axis(ax, which)


def true_minus(axis: object) -> None:
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}".replace("-", "\N{MINUS SIGN}")))


def outer_labels(axes: np.ndarray, x: str, y: str) -> None:
    """Label the left and the lower edge of a grid of panels."""
    for ax in axes[:, 0]:
        ax.set_ylabel(y)
    for ax in axes[-1]:
        ax.set_xlabel(x)


def step_ticks(ax: Axes, layout: Layout) -> None:
    """Round numbers of steps."""
    ax.xaxis.set_major_locator(MaxNLocator(3 if layout.narrow else 5, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def bare_inside(axes: np.ndarray) -> None:
    """No ticks between panels that share their axes."""
    for ax in axes.flat:
        ax.label_outer(remove_inner_ticks=True)


def finish_over_steps(figure: Figure, axes: np.ndarray, norms: list[str], layout: Layout) -> None:
    """What a grid of panels over the steps of training ends with: labels, scales, a legend."""
    for ax in axes[-1]:
        ax.set_xlabel("step")
    scale_axes(axes)
    bare_inside(axes)
    figure.align_ylabels()
    arm_legend(figure, norms, layout)


def spread(count: int, width: float) -> np.ndarray:
    """Places of the seeds side by side around zero."""
    return np.linspace(-width, width, count) if count > 1 else np.zeros(count)


# runs side by side: a strip per arm and level


def strip(
    ax: Axes,
    frame: pd.DataFrame,
    levels: Sequence,
    norms: Sequence[str],
    *,
    logarithmic: bool,
    means: bool = True,
) -> None:
    """Seeds of each arm at each level, a thin line per seed, and means with their intervals.

    `frame` has the columns level, norm, seed, value and, optionally, censored: values that are only
    a bound, drawn as open triangles.
    """
    if logarithmic:
        ax.set_yscale("log")
    order = {level: place for place, level in enumerate(levels)}
    frame = frame[frame["level"].isin(order)]
    middle = (len(norms) - 1) / 2
    centers = 0.34 / max(1, len(norms) - 1) * (np.arange(len(norms)) - middle)
    # Seeds stand outside of the means, which would hide them.
    sides = centers + np.where(np.arange(len(norms)) < max(middle, 0.5), -0.1, 0.1)
    wide = frame.pivot(index=["level", "seed"], columns="norm", values="value")
    wide = wide.reindex(columns=norms)
    rows = wide.index.get_level_values("level").map(order).to_numpy(float)
    thin_lines(ax, rows[:, None] + sides, wide.to_numpy(float))
    average = averaged(frame, ["level", "norm"], logarithmic=logarithmic)
    for norm, center, side in zip(norms, centers, sides, strict=True):
        one, mean, look = select(frame, norm=norm), select(average, norm=norm), style(norm)
        bound = one["censored"] if "censored" in one else pd.Series(False, index=one.index)
        places = one["level"].map(order) + side
        dots(ax, places[~bound], one[~bound]["value"], norm)
        marks(ax, places[bound], one[bound]["value"], norm, **TRIANGLE)
        if means:
            mean_marks(ax, mean["level"].map(order) + center, mean, look.color, look.marker)
    ax.set_xticks(range(len(levels)), [name(level) for level in levels])
    ax.set_xlim(-0.55, len(levels) - 0.45)
    ax.grid(axis="x", visible=False)


def thin_lines(ax: Axes, x: np.ndarray, y: np.ndarray, **line: object) -> None:
    """A thin line per row of two arrays of one shape, in one path."""
    gap = np.full((len(y), 1), np.nan)
    joined = (np.hstack([values, gap]).ravel() for values in (x, y))
    ax.plot(*joined, **{"color": MUTED, "lw": 0.5, "alpha": 0.45, "zorder": 1} | line)


def dots(ax: Axes, x: object, values: pd.Series, norm: str, size: float = 2.8) -> None:
    """Many small marks, squares or circles as the arm has them, in a single path.

    A line of no length with round or projecting caps is a circle or a square, and takes a quarter
    of the bytes of a marker.
    """
    look = style(norm)
    if not len(values):
        return
    points = np.column_stack([np.broadcast_to(x, len(values)), values.astype(float)])
    path = Path(points.repeat(2, axis=0), np.tile([Path.MOVETO, Path.LINETO], len(points)))
    cap = "projecting" if look.marker == "s" else "round"
    if look.marker == "s":
        size *= 0.9  # a square looks larger than a circle of its width
    ax.add_patch(
        PathPatch(path, fill=False, ec=look.color, lw=size, capstyle=cap, alpha=0.5, zorder=2)
    )
    ax.update_datalim(points)
    ax.autoscale_view()


def marks(ax: Axes, x: object, values: pd.Series, norm: str, **look: object) -> None:
    """Marks of another shape, such as those of runs that failed."""
    ax.plot(
        np.broadcast_to(x, len(values)),
        values.astype(float),
        **{"ls": "none", "color": style(norm).color, "ms": 3.6, "mew": 0.8, "zorder": 2.5} | look,
    )


def mean_marks(ax: Axes, places: pd.Series, means: pd.DataFrame, color: str, marker: str) -> None:
    """Means at places on the x axis, each with its interval."""
    gap = np.full(len(means), np.nan)
    x = np.column_stack([places, places, gap]).astype(float)
    y = np.column_stack([means["ci_low"], means["ci_high"], gap]).astype(float)
    # An artist by itself leaves the limits to the runs: intervals of few seeds are long.
    if np.isfinite(y).any():
        ax.add_artist(Line2D(x.ravel(), y.ravel(), color=color, lw=1.8, zorder=3))
    ax.plot(
        places, means["mean"], ls="none", marker=marker, color=color, ms=5.5, mec=PAPER, zorder=4
    )


def shade(ax: Axes, x: pd.Series, low: pd.Series, high: pd.Series, color: str) -> None:
    """A band that leaves the limits of the axes to the lines."""
    known = low.notna() & high.notna()
    if known.any():
        there = np.column_stack([x[known], high[known]])
        back = np.column_stack([x[known], low[known]])[::-1]
        corners = np.vstack([there, back]).astype(float)
        ax.add_artist(Polygon(corners, color=color, alpha=0.2, lw=0, zorder=1))


def censored_handle(frame: pd.DataFrame, label: str) -> list[Line2D]:
    """A legend entry for open triangles where there are any."""
    if not frame["censored"].any():
        return []
    return [Line2D([], [], color=MUTED, ls="none", marker="^", mfc="none", label=label)]


def targets(table: pd.DataFrame, column: str = "steps_to_target") -> pd.DataFrame:
    """Runs with the steps to a target as `value`, `censored` where it was not reached."""
    missing = table[column].isna() | diverged(table)
    return table.assign(value=steps(table, column).clip(lower=1).astype(float), censored=missing)


def steps_and_accuracy(table: pd.DataFrame, axis: str) -> dict[str, pd.DataFrame]:
    """Steps to the target and test accuracy of every run, the values of an axis as `level`."""
    frames = {
        "steps": targets(table),
        "accuracy": table.assign(value=accuracy(table, "test_accuracy"), censored=False),
    }
    return {key: frame.rename(columns={axis: "level"}) for key, frame in frames.items()}


def geometric_mean(values: pd.Series) -> float:
    return math.exp(np.log(values.astype(float)).mean()) if len(values) else math.nan


def differences(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`value` with batch normalization minus without, a row per seed and cell with both."""
    wide = frame.pivot(index=[*by, "seed"], columns="norm", values="value")
    wide = wide.reindex(columns=[BASELINE, "batch"]).astype(float)
    return (wide["batch"] - wide[BASELINE]).dropna().rename("value").reset_index()


def swept_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(value=accuracy(table), failed=diverged(table))


def product_of(rows: Iterable, columns: Iterable) -> list[tuple[tuple, tuple]]:
    """Pairs of numbered rows and numbered columns."""
    return [(row, column) for row in enumerate(rows) for column in enumerate(columns)]


def plot_seeds(ax: Axes, rows: pd.DataFrame, norm: str) -> None:
    """A thin line per seed."""
    wide = rows.pivot_table(index="seed", columns="step", values="value")
    steps_shown = np.broadcast_to(wide.columns.to_numpy(float), wide.shape)
    thin_lines(ax, steps_shown, wide.to_numpy(float), color=style(norm).color, lw=0.45, alpha=0.35)


def plot_mean(ax: Axes, mean: pd.DataFrame, norm: str) -> None:
    look = style(norm)
    ax.plot(mean["step"], mean["mean"], color=look.color, ls=look.dash, lw=1.7, zorder=3)
    shade(ax, mean["step"], mean["ci_low"], mean["ci_high"], look.color)
