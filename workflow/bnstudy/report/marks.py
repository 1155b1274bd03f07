"""Marks that seaborn has not, or only at many times the bytes, and axes of words and of sizes."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import NullLocator
from scipy import stats
from seaborn.utils import relative_luminance

from bnstudy.report.look import INK, MUTED, ON_DARK, ON_LIGHT, PAPER, Look, series, t_interval

ALIKE = 0.18  # luminance of cells on which black and white letters contrast alike
SHORT = 24  # letters of a row's name that stand beside it
SIGNS = 6  # values that a 95 % interval of the median takes


@dataclass
class Plot:
    """What is drawn into the panels of a figure, and how; report/figures.yaml declares most of them."""

    value: str | Mapping = ""  # label of the axis of values; as its scale and rule one, or by panel
    scale: str | Mapping | None = "linear"
    rule: float | Mapping | None = None  # where a line of reference stands
    flat: bool = False  # the axis of values is horizontal
    x: str | None = None  # the column of the other axis
    other: str | Mapping | None = None  # the label of the other axis
    names: Mapping | None = None  # words for the categories of x
    row: str | None = None  # columns whose values make panels
    col: str | None = None
    hue: str = "norm"  # the column of levels, in order; without looks the baseline is first
    looks: Mapping[Hashable, Look] | None = None
    baseline: Hashable = "none"
    missed: str | None = None  # a column that is true for values which are only a bound
    seeds: str = "dots"  # on curves; or as thin "lines", or not at all
    estimator: str = "mean"
    markers: bool = True
    dodge: float = 1  # the factor that sets levels side by side on a logarithmic axis
    ticks: bool = False  # numbers double, and each of a panel gets its tick
    noun: str = "seed"  # of what a row has circles
    bold: Sequence[bool] = ()  # of the names of rows
    above: bool = False  # where they stand
    mark: Callable | None = None  # draws a panel: mark(axes, rows, plot); so does what comes then
    then: Callable | None = None
    words: Mapping | None = None  # the options of a study, and what its frame adds
    legend: Sequence = ()  # entries after those of the levels
    what: str = ""  # that is measured, for the alternative text
    apart: bool = False  # its means are told where they are furthest apart
    finding: str | None = None  # all of it, and the data, where they do not follow from the frame
    data: pd.DataFrame | Sequence[str] | None = None  # or columns of the frame
    panels: dict = field(default_factory=dict)  # options of `panels.small_multiples`


def bound(missed: str, **style: object) -> dict:
    """An open mark: a cross for what failed, a triangle for a value that is only a lower bound."""
    return {"ls": "none", "mfc": "none", "marker": "x" if "train" in missed else "^"} | style


def dots(
    ax: Axes, x: object, y: object, look: Look, *, size: float = 2.6, alpha: float = 0.55,
    **patch: object,
) -> None:  # fmt: skip
    """Many small marks, squares or circles as the look has them, in a single path.

    A line of next to no length (of none at all, PNG would not show it) with round or projecting caps is a circle or a
    square, and takes a tenth of the bytes of a marker.
    """
    points = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return
    ends = points.repeat(2, axis=0)
    ends[1::2, 0] += np.where(points[:, 0] == 0, 1e-9, 1e-6 * np.abs(points[:, 0]))
    path = Path(ends, [Path.MOVETO, Path.LINETO] * len(points))
    path.should_simplify = False
    # A square looks larger than a circle of its width.
    width, cap = (0.9 * size, "projecting") if look.marker == "s" else (size, "round")
    drawn = {"lw": width, "capstyle": cap, "snap": False} | patch
    # An alpha of the colour, which SVG lets many marks have in common, and not of the mark.
    ax.add_artist(PathPatch(path, fill=False, ec=to_rgba(look.color, alpha), **drawn))
    ax.update_datalim(points)
    ax.autoscale(None)  # once, when limits are asked for


def seeds_apart(ax: Axes, part: pd.DataFrame, x: Sequence, y: Sequence) -> None:
    """The marks of each seed once more, unseen until a reader of the page asks for that seed."""
    if "seed" in part and part["seed"].nunique() > 1:
        x, y = np.asarray(x), np.asarray(y)
        for seed, rows in part.groupby("seed").indices.items():
            unseen = {"alpha": 0.004, "gid": f"seed-{seed}", "zorder": 5}
            dots(ax, x[rows], y[rows], Look("", INK), size=5.5, **unseen)


def seeds_and_bounds(ax: Axes, one: pd.DataFrame, x: str, look: Look, missed: str | None) -> None:
    """A small mark for each `value`, an open one where the column `missed` is true."""
    is_bound = one[missed].to_numpy(bool) if missed else np.zeros(len(one), bool)
    dots(ax, one[x][~is_bound], one["value"][~is_bound], look)
    if is_bound.any():
        style = bound(missed, ms=3.8, mec=look.color, mew=0.8, zorder=2.5)
        ax.plot(one[x][is_bound], one["value"][is_bound], **style)


def threads(ax: Axes, x: np.ndarray, y: np.ndarray, **line: object) -> None:
    """A thin line per row of two arrays of one shape, all in one path."""
    gap = np.full((len(y), 1), np.nan)
    joined = (np.hstack([np.broadcast_to(v, y.shape), gap]).ravel() for v in (x, y))
    ax.plot(*joined, **{"color": MUTED, "lw": 0.5, "alpha": 0.45, "zorder": 1} | line)


def means(ax: Axes, part: pd.DataFrame, look: Look, *, flat: bool = False, estimator: str = "mean") -> None:
    """Large marks for the means at each `place`, with their intervals, both on the axis's scale."""
    scale = (ax.xaxis if flat else ax.yaxis).get_transform()
    middle, interval = MIDDLES[estimator]
    found = []
    for place, values in part.groupby("place")["value"]:
        values = scale.transform(values.to_numpy(float))
        found.append((place, *scale.inverted().transform([middle(values), *interval(values)])))
    mark = look.point(5.5) | {"mew": 0.5, "zorder": 4}
    places, marks, lows, highs = np.reshape(found, (-1, 4)).T
    ax.plot(*(marks, places) if flat else (places, marks), **mark)
    for place, *ends in zip(places, lows, highs, strict=True):
        line = (ends, [place] * 2) if flat else ([place] * 2, ends)
        ax.plot(*line, color=look.color, lw=1.8, zorder=4)


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the median from order statistics; NaN of fewer values than it takes."""
    if len(values) < SIGNS:
        return math.nan, math.nan
    return tuple(stats.quantile_test(values, p=0.5).confidence_interval(0.95))


MIDDLES = {"mean": (np.mean, t_interval), "median": (np.median, median_interval)}


def strips(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """The runs of each level side by side at each value of `x`, a thin line between those of a seed.

    Categories stand in the order of `names`, which are their words.
    """
    looks = {k: look for k, look in plot.looks.items() if (part[plot.hue] == k).any()}
    category = part[plot.x] if plot.x else [*plot.names] * len(part)
    rank, middle = rank_of(part[plot.hue], looks), (len(looks) - 1) / 2
    center = rank_of(category, plot.names) + 0.34 / max(1, len(looks) - 1) * (rank - middle)
    # Seeds stand outside of the means, which would hide them.
    side = center + np.where(rank < max(middle, 0.5), -0.1, 0.1)
    part = part.assign(category=category, place=center, side=side)
    wide = part.pivot(index=["category", "seed"], columns=plot.hue, values=["side", "value"])
    threads(ax, *(wide[key].reindex(columns=[*looks]).to_numpy(float) for key in ("side", "value")))
    seeds_apart(ax, part, part["side"], part["value"])
    for level, look in looks.items():
        one = part[part[plot.hue] == level]
        seeds_and_bounds(ax, one, "side", look, plot.missed)
        means(ax, one, look)
    category_axis(ax, "x", list(plot.names.values()))


def rank_of(values: Sequence, order: Iterable) -> np.ndarray:
    return pd.Index([*order]).get_indexer(values)


def curves(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """A line of means with its band for each level; a level without `x` is a line across."""
    x, looks = plot.x, plot.looks
    for level, same in part[part[x].isna()].groupby(plot.hue):
        across(ax, same["value"], looks[level])
    part = part[part[x].notna()]
    sizes = sorted(part[x].unique())
    if plot.dodge != 1:
        side = rank_of(part[plot.hue], looks) - (len(looks) - 1) / 2
        part = part.assign(**{x: part[x] * plot.dodge**side})
    for level, look in looks.items() if plot.seeds else ():
        one = part[part[plot.hue] == level]
        if plot.seeds == "dots":
            seeds_and_bounds(ax, one, x, look, plot.missed)
            seeds_apart(ax, one, one[x], one["value"])
        elif len(one):
            wide = one.pivot(index="seed", columns=x, values="value")
            threads(ax, wide.columns.to_numpy(float), wide.to_numpy(float), color=look.color)
    style = series(looks, plot.hue, markers=plot.markers) | {"estimator": plot.estimator}
    style |= {} if plot.estimator == "mean" else {"errorbar": None}
    if len(part):
        sns.lineplot(part, x=x, y="value", ax=ax, zorder=3, **style)
    if plot.ticks:
        ax.set_xscale("log", base=2)
        ax.set_xticks(sizes, map("{:g}".format, sizes))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlim(sizes[0] / 1.4, sizes[-1] * 1.4)


def across(ax: Axes, values: pd.Series, look: Look) -> None:
    """A line across the panel at the mean of some runs, and their interval as a band."""
    ax.axhline(values.mean(), **look.line(lw=1.5, zorder=1.6))
    low, high = t_interval(values)
    if math.isfinite(low):
        ax.axhspan(low, high, color=look.color, alpha=0.14, lw=0, zorder=1.5)


def rows(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """A row for each level: a circle per `value`, mean and interval in front of them."""
    for place, (level, look) in enumerate(plot.looks.items()):
        one = part[part[plot.hue] == level].assign(place=float(place))
        side = 0.14 if plot.above else 0.25  # clear of what stands above
        sides = place + np.linspace(-side, side, len(one)) * (len(one) > 1)
        dots(ax, one["value"], sides, Look("", MUTED))
        seeds_apart(ax, one, one["value"], sides)
        means(ax, one, look, flat=True, estimator=plot.estimator)
    row_names(ax, [look.name for look in plot.looks.values()], plot.bold, plot.above)


def heat(ax: Axes, values: pd.DataFrame, text: pd.DataFrame, **options: object):
    """A heat map with its numbers, readable on light and dark cells, on a light and a dark page."""
    settings = {"cmap": "cividis", "cbar": False, "linewidths": 1.5, "linecolor": PAPER, "fmt": ""}
    sns.heatmap(values.astype(float), annot=text, ax=ax, **settings | options)
    cells = ax.collections[0].get_facecolors()[values.notna().to_numpy().ravel()]
    for letters, cell in zip(ax.texts, cells, strict=True):
        light = relative_luminance(cell) > ALIKE
        letters.set(color=ON_LIGHT if light else ON_DARK, fontsize=7.5)
    ax.set(xlabel="", ylabel="")
    ax.grid(visible=False)
    ax.tick_params(length=0, rotation=0)


def note(ax: Axes, text: str, xy: tuple, offset: tuple, across: str = "data", **look: object):
    """Small text at an offset in points; `across` is `data` or `axes`, for both or each."""
    places = {"data": "data", "axes": "axes fraction"}
    coordinates = tuple(places[word] for word in (across.split() * 2)[:2])
    settings = {"textcoords": "offset points", "fontsize": 7.5} | look
    ax.annotate(text, xy, offset, xycoords=coordinates, **settings)


def category_axis(ax: Axes, which: str, names: Sequence[str]) -> None:
    """An axis of words at 0, 1, ..., from the left or from above; its scale is None."""
    edges = (-0.55, len(names) - 0.45)
    getattr(ax, f"set_{which}ticks")(range(len(names)), names)
    getattr(ax, f"set_{which}lim")(edges if which == "x" else edges[::-1])
    ax.grid(axis=which, visible=False)
    ax.tick_params(axis=which, length=0)


def row_names(ax: Axes, names: Sequence[str], bold: Sequence[bool] = (), above: bool = False) -> None:
    """Names of rows at 0, 1, ...: beside them, or above them, always where one is long."""
    above = above or max(map(len, names), default=0) > SHORT
    category_axis(ax, "y", [""] * len(names) if above else names)
    if above:
        ax.set_ylim(len(names) - 0.5, -0.95)
        for row, name in enumerate(names):
            note(ax, name, (0, row), (2, 7), "axes data", fontsize=7.2)
    for heavy, letters in zip(bold, ax.texts if above else ax.get_yticklabels(), strict=False):
        letters.set_fontweight("bold" if heavy else "normal")
