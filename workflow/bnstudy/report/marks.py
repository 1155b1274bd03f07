"""Marks that seaborn has not, or only at many times the bytes, and axes of words and of sizes."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import NullLocator
from seaborn.utils import relative_luminance

from bnstudy.report.look import (
    INK,
    MUTED,
    ON_DARK,
    ON_LIGHT,
    PAPER,
    Layout,
    Look,
    series,
    t_interval,
)
from bnstudy.report.panels import said

ALIKE = 0.18  # luminance of cells on which black and white letters contrast alike


def mark_of(rows: pd.Series, label: str, marker: str = "^") -> list[Line2D]:
    """A legend entry for the open marks of some rows, where there are any."""
    look = {"color": MUTED, "ls": "none", "marker": marker, "mfc": "none", "label": label}
    return [Line2D([], [], **look)] if rows.any() else []


def spread(count: int, width: float) -> np.ndarray:
    """Places of seeds side by side around zero: what jitter would be without chance."""
    return np.linspace(-width, width, count) if count > 1 else np.zeros(count)


def dots(
    ax: Axes,
    x: object,
    y: object,
    look: Look,
    *,
    size: float = 2.6,
    alpha: float = 0.55,
    **patch: object,
) -> None:
    """Many small marks, squares or circles as the look has them, in a single path.

    A line of next to no length (of none at all, PNG would not show it) with round or projecting
    caps is a circle or a square, and takes a tenth of the bytes of a marker.
    """
    points = np.column_stack(np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (x, y))))
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return
    ends = points.repeat(2, axis=0)
    ends[1::2, 0] += np.where(points[:, 0] == 0, 1e-9, 1e-6 * np.abs(points[:, 0]))
    path = Path(ends, [Path.MOVETO, Path.LINETO] * len(points))
    path.should_simplify = False
    square = look.marker == "s"
    width = 0.9 * size if square else size  # a square looks larger than a circle of its width
    cap = "projecting" if square else "round"
    drawn = {"ec": look.color, "lw": width, "alpha": alpha, "capstyle": cap, "snap": False} | patch
    ax.add_patch(PathPatch(path, fill=False, **drawn))
    ax.update_datalim(points)
    ax.autoscale_view()


def seeds_apart(ax: Axes, part: pd.DataFrame, x: object, y: object) -> None:
    """The marks of each seed once more, unseen until a reader of the page asks for that seed."""
    if "seed" in part and part["seed"].nunique() > 1:
        for seed, one in part.assign(x=x, y=y).groupby("seed"):
            unseen = {"alpha": 0.004, "gid": f"seed-{seed}", "zorder": 5}
            dots(ax, one["x"], one["y"], Look("", INK), size=5.5, **unseen)


def threads(ax: Axes, x: np.ndarray, y: np.ndarray, **line: object) -> None:
    """A thin line per row of two arrays of one shape, all in one path."""
    gap = np.full((len(y), 1), np.nan)
    joined = (np.hstack([np.broadcast_to(v, y.shape), gap]).ravel() for v in (x, y))
    ax.plot(*joined, **{"color": MUTED, "lw": 0.5, "alpha": 0.45, "zorder": 1} | line)


def means(
    ax: Axes,
    part: pd.DataFrame,
    x: str,
    y: str,
    look: Look,
    *,
    orient: str = "x",
    estimator: str = "mean",
    errorbar: Callable = t_interval,
) -> None:
    """Large marks for the means at numeric places, with their intervals."""
    if part.empty:
        return
    sns.pointplot(
        part, x=x, y=y, orient=orient, native_scale=True, estimator=estimator, errorbar=errorbar,
        color=look.color, marker=look.marker, linestyle="none", markersize=5.5, ax=ax, zorder=4,
        markeredgecolor=PAPER if look.filled else look.color,
        markeredgewidth=0.8 if look.filled else 1.4,
        markerfacecolor=look.color if look.filled else PAPER, err_kws={"linewidth": 1.8},
    )  # fmt: skip


def strip(
    ax: Axes,
    part: pd.DataFrame,
    x: str,
    y: str,
    looks: Mapping[Hashable, Look],
    column: str,
    *,
    order: Sequence,
    names: Sequence[str] | None = None,
    unit: str = "seed",
    censored: str | None = None,
    average: bool = True,
) -> None:
    """Runs of each level at each category: a mark per seed, a line between those of a seed, means.

    Parameters
    ----------
    x : str
        Column of the categories, which stand in this `order` under these `names`. Where it is the
        column of the levels itself these stand side by side.
    column : str
        Column of the levels, which have these looks.
    censored : str
        Column that is true for values which are only a bound; they are open triangles.
    average : bool
        Whether to draw means with intervals, geometric ones on a `geometric` axis.
    """
    part = part[part[x].isin(list(order))]
    place = part[x].map({value: i for i, value in enumerate(order)}).astype(float)
    levels = list(looks)
    rank = part[column].map({level: i for i, level in enumerate(levels)}).astype(float)
    middle, apart = (len(levels) - 1) / 2, x != column
    # Seeds stand outside of the means, which would hide them.
    center = place + (0.34 / max(1, len(levels) - 1) * (rank - middle) if apart else 0)
    side = center + np.where(rank < max(middle, 0.5), -0.1, 0.1)
    part = part.assign(place=center, side=side)
    by = unit if not apart else [x, unit]
    wide = part.pivot(index=by, columns=column, values=["side", y])
    if len(wide):
        both = (wide[key].reindex(columns=levels).to_numpy(float) for key in ("side", y))
        threads(ax, *both)
    seeds_apart(ax, part, part["side"], part[y])
    for level, look in looks.items():
        one = part[part[column] == level]
        bound = one[censored].astype(bool) if censored else pd.Series(False, index=one.index)
        dots(ax, one["side"][~bound], one[y][~bound], look, size=2.6 if apart else 3.4)
        open_ones = look.point(3.8) | {"marker": "^", "mfc": "none", "mec": look.color}
        ax.plot(one["side"][bound], one[y][bound], **open_ones | {"mew": 0.8, "zorder": 2.5})
        if average:
            means(ax, one, "place", y, look)
    category_axis(ax, "x", list(names or map(str, order)))


def curve(
    ax: Axes,
    part: pd.DataFrame,
    x: str,
    y: str,
    looks: Mapping[Hashable, Look],
    column: str,
    *,
    seeds: str = "dots",
    estimator: str = "mean",
    markers: bool = True,
) -> None:
    """A line of means with its band for each level of a column; seeds as small `dots` or thin `lines`."""
    for level, look in looks.items() if seeds else ():
        one = part[part[column] == level]
        if seeds == "dots":
            dots(ax, one[x], one[y], look, size=2.2)
            seeds_apart(ax, one, one[x], one[y])
        elif len(one):
            wide = one.pivot(index="seed", columns=x, values=y)
            threads(ax, wide.columns.to_numpy(float), wide.to_numpy(float), color=look.color)
    style = series(looks, column, markers=markers) | {"estimator": estimator, "zorder": 3}
    style["errorbar"] = t_interval if estimator == "mean" else None
    sns.lineplot(part, x=x, y=y, ax=ax, **style)


def curves(
    ax: Axes,
    part: pd.DataFrame,
    x: str,
    y: str,
    looks: Mapping[Hashable, Look],
    column: str,
    *,
    size: float = 4.5,
) -> None:
    """A line of means with its band for each level of a column, and the seeds as small dots.

    What `seaborn.lineplot` draws with `look.series`, and for looks with open marks, too.
    """
    for level, look in looks.items():
        one = part[part[column] == level].dropna(subset=[x, y])
        if len(one):
            dots(ax, one[x], one[y], look, size=2.2)
            seeds_apart(ax, one, one[x], one[y])
            line = look.point(size) | {"ls": look.linestyle, "lw": 1.5, "zorder": 3}
            band = {"alpha": 0.16, "lw": 0}
            sns.lineplot(one, x=x, y=y, ax=ax, errorbar=t_interval, err_kws=band, **line)


def across(ax: Axes, values: pd.Series, look: Look) -> None:
    """A line across the panel at the mean of some runs, and their interval as a band."""
    if values.empty:
        return
    ax.axhline(values.mean(), **look.line(lw=1.5, zorder=1.6))
    low, high = t_interval(values)
    if math.isfinite(low):
        ax.axhspan(low, high, color=look.color, alpha=0.14, lw=0, zorder=1.5)


def rows(
    ax: Axes,
    part: pd.DataFrame,
    x: str,
    y: str,
    looks: Mapping[Hashable, Look] | Look,
    *,
    names: Mapping | Callable[[object], str] | None = None,
    order: Sequence | None = None,
    width: float = 0.25,
    average: bool = True,
) -> None:
    """A row for each value of `y`: an open circle per seed, mean and interval in front of them.

    Rows have the names of their looks where there are no others.
    """
    if names is None:
        names = str if isinstance(looks, Look) else {v: look.name for v, look in looks.items()}
    order = list(looks) if order is None and not isinstance(looks, Look) else list(order or [])
    for place, value in enumerate(order):
        one = part[part[y] == value].assign(place=float(place))
        look = looks if isinstance(looks, Look) else looks[value]
        circles = {"ls": "none", "marker": "o", "mfc": "none", "mec": MUTED, "ms": 2.8, "mew": 0.6}
        sides = place + spread(len(one), width)
        ax.plot(one[x], sides, **circles, zorder=2)
        seeds_apart(ax, one, one[x], sides)
        if average:
            means(ax, one[np.isfinite(one[x].astype(float))], x, "place", look, orient="y")
    category_axis(ax, "y", [said(names, value) for value in order])


def heat(ax: Axes, values: pd.DataFrame, text: pd.DataFrame, **options: object):
    """A heat map with its numbers, readable on light and dark cells, on a light and a dark page."""
    settings = {"cmap": "cividis", "cbar": False, "linewidths": 1.5, "linecolor": PAPER, "fmt": ""}
    sns.heatmap(values.astype(float), annot=text, ax=ax, **settings | options)
    cells = ax.collections[0].get_facecolors()[values.notna().to_numpy().ravel()]
    for letters, cell in zip(ax.texts, cells, strict=True):
        light = relative_luminance(cell) > ALIKE
        letters.set(color=ON_LIGHT if light else ON_DARK, fontsize=7.5)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0, rotation=0)


def label_ends(ax: Axes, ends: Mapping[str, tuple[float, float]], size: float = 8) -> None:
    """Write names beside the ends of lines, as far apart as letters need; instead of a legend."""
    inches = ax.get_window_extent().height / ax.figure.dpi
    low, high = ax.transData.transform(np.array([[1, y] for y in ax.get_ylim()]))[:, 1]
    points = ax.transData.transform(np.array(list(ends.values()), dtype=float))[:, 1]
    heights = (points - low) / (high - low) * inches * 72
    before = -math.inf
    for name, height in sorted(zip(ends, heights, strict=True), key=lambda pair: pair[1]):
        before = max(height, before + 1.2 * size)
        note(ax, name, ends[name], (7, before - height), va="center", fontsize=size)


def note(ax: Axes, text: str, xy: tuple, offset: tuple, across: str = "data", **look: object):
    """Small text at an offset in points; `across` is `data` or `axes`, for both or each."""
    places = {"data": "data", "axes": "axes fraction"}
    coordinates = tuple(places[word] for word in (across.split() * 2)[:2])
    settings = {"textcoords": "offset points", "fontsize": 7.5} | look
    ax.annotate(text, xy, offset, xycoords=coordinates, **settings)


def doubling_axis(ax: Axes, sizes: Sequence[float], names: Sequence[str] | None = None) -> None:
    """A horizontal axis of sizes that double, each with its tick; its scale is None."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, names or [f"{size:g}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(min(sizes) / 1.4, max(sizes) * 1.4)


def category_axis(ax: Axes, which: str, names: Sequence[str]) -> None:
    """An axis of words at 0, 1, ..., from the left or from above; its scale is None."""
    edges = (-0.55, len(names) - 0.45)
    getattr(ax, f"set_{which}ticks")(range(len(names)), names)
    getattr(ax, f"set_{which}lim")(edges if which == "x" else edges[::-1])
    ax.grid(axis=which, visible=False)
    ax.tick_params(axis=which, length=0)


def row_names(ax: Axes, names: Sequence[str], layout: Layout, bold: Sequence[bool] = ()) -> None:
    """Names of rows at 0, 1, ...: beside them, or above them on a phone, which has no room there."""
    category_axis(ax, "y", [""] * len(names) if layout.narrow else names)
    if layout.narrow:
        ax.set_ylim(len(names) - 0.5, -0.95)
        for row, name in enumerate(names):
            note(ax, name, (0, row), (2, 6), "axes data", fontsize=7.2)
    for heavy, letters in zip(
        bold, ax.texts if layout.narrow else ax.get_yticklabels(), strict=False
    ):
        letters.set_fontweight("bold" if heavy else "normal")


def fit(ax: Axes, which: str, values: Iterable[float], *, log: bool = False) -> None:
    """Let an axis hold these values, the seeds as a rule, and no more.

    Intervals do not count: those of very few seeds would squeeze the rest into a corner.
    """
    finite = np.array([v for v in values if np.isfinite(v) and (v > 0 or not log)], dtype=float)
    if len(finite) == 0:
        return
    low, high = finite.min(), finite.max()
    if log:
        getattr(ax, f"set_{which}scale")("log")
        margin = max((high / low) ** 0.07, 1.03)
        low, high = low / margin, high * margin
    else:
        margin = 0.07 * (high - low) or 0.05 * abs(high) or 0.05
        low, high = low - margin, high + margin
    getattr(ax, f"set_{which}lim")(low, high)
