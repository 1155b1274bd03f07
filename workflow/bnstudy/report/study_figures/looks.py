"""What figures of many arms share: the look of a series, estimates, and ticks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

from bnstudy import statistics
from bnstudy.claims.endpoints import scoring
from bnstudy.report.results import MINUS, SPACE, counted, decimal
from bnstudy.report.study_figures.toolkit import MUTED, PAPER, Layout, band, style

BLUE, ORANGE, GREEN = (style(norm).color for norm in ("batch", "none", "layer"))
PINK, RED = "#cc78bc", "#d55e00"  # further colours of the same palette, readable on dark pages too
INTERVAL = f"95{SPACE}% t-interval"
ENOUGH = 3  # seeds that an interval takes


@dataclass(frozen=True)
class Look:
    """A series: its name, and how its line and marks look."""

    name: str
    color: str
    dash: object = "solid"
    marker: str = "o"
    filled: bool = True

    def point(self, size: float = 6) -> dict:
        """Arguments for a large mark."""
        return {
            "ls": "none",
            "marker": self.marker,
            "ms": size,
            "color": self.color,
            "mfc": self.color if self.filled else PAPER,
            "mec": PAPER if self.filled else self.color,
            "mew": 0.8 if self.filled else 1.4,
        }

    def handle(self, *, line: bool = True) -> Line2D:
        """Its entry in a legend."""
        point = self.point() | {"ls": self.dash if line else "none"}
        return Line2D([], [], label=self.name, **point)


DASHED, DOTTED, DASH_DOT = (0, (4, 1.6)), (0, (1, 1.4)), (0, (4, 1.4, 1, 1.4))
NONE = Look("no normalization", ORANGE, DASHED, "s")
BATCH = Look("batch normalization", BLUE, "solid", "o")
LAYER = Look("layer normalization", GREEN, DASH_DOT, "D")


def legend(
    figure: Figure, looks: Sequence[Look | Line2D], layout: Layout, *, wide: int, narrow: int = 1
) -> None:
    """Name the series above the panels, in the given numbers of columns."""
    figure.legend(
        handles=[look.handle() if isinstance(look, Look) else look for look in looks],
        loc="outside upper left",
        ncols=narrow if layout.narrow else wide,
        handlelength=2.6,
        columnspacing=1.4,
        borderpad=0,
        fontsize=8 if layout.narrow else 8.5,
    )


def note(
    ax: Axes, text: str, xy: tuple, offset: tuple, across: str = "data", **look: object
) -> None:
    """Small text at an offset in points; `across` is `data` or `axes` for each coordinate."""
    places = {"data": "data", "axes": "axes fraction"}
    coordinates = tuple(places[word] for word in (across.split() * 2)[:2])
    settings = {"textcoords": "offset points", "fontsize": 7.5} | look
    ax.annotate(text, xy, offset, xycoords=coordinates, **settings)


def estimate(values: pd.Series, *, log: bool) -> tuple[float, float, float]:
    """Mean and t-interval over seeds, of the logarithms where `log`.

    The interval is NaN for fewer than `ENOUGH` seeds: that of two is so wide that it says nothing.
    """
    d = values.to_numpy(float)
    d = d[np.isfinite(d)]
    d = np.log(d) if log else d
    interval = statistics.t_interval(d) if len(d) >= ENOUGH else (math.nan, math.nan)
    found = np.array([statistics.mean(d), *interval])
    mean, low, high = np.exp(found) if log else found
    return float(mean), float(low), float(high)


def dots(
    ax: Axes, x: pd.Series, y: pd.Series, color: str, *, size: float = 2.2, alpha: float = 0.5
) -> None:
    """Small dots, as lines of no length with round ends: a tenth of the bytes of marks in SVG."""
    points = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return
    path = Path(points.repeat(2, axis=0), [Path.MOVETO, Path.LINETO] * len(points))
    path.should_simplify = False
    ax.add_patch(
        PathPatch(path, fill=False, ec=color, lw=size, alpha=alpha, capstyle="round", zorder=2)
    )


def dot_row(
    ax: Axes, y: float, values: pd.Series, look: Look, *, log: bool = False, spread: float = 0.27
) -> None:
    """A row of a dot plot: an open circle per seed, mean and interval in front of them."""
    offsets = np.linspace(-spread, spread, len(values)) if len(values) > 1 else np.zeros(1)
    ax.plot(
        values, y + offsets, ls="none", marker="o", mfc="none", mec=MUTED, ms=2.8, mew=0.6, zorder=2
    )
    row_mean(ax, y, look, *estimate(values, log=log))


def row_mean(ax: Axes, y: float, look: Look, mean: float, low: float, high: float) -> None:
    if not math.isnan(low):
        ax.plot([low, high], [y, y], color=look.color, lw=2, zorder=3)
    ax.plot(mean, y, zorder=4, **look.point(5.5))


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


def fit(ax: Axes, which: str, values: Iterable[float], *, log: bool = False) -> None:
    """Let an axis hold the seeds, and give it ticks.

    Intervals do not count: those of very few seeds would squeeze the rest into a corner.
    """
    finite = np.array([v for v in values if np.isfinite(v) and (v > 0 or not log)], dtype=float)
    if log:
        getattr(ax, f"set_{which}scale")("log")
    if len(finite) == 0:
        return
    low, high = finite.min(), finite.max()
    if log:
        margin = max((high / low) ** 0.07, 1.03)
        low, high = low / margin, high * margin
    else:
        margin = 0.07 * (high - low) or 0.05 * abs(high) or 0.05
        low, high = low - margin, high + margin
    getattr(ax, f"set_{which}lim")(low, high)
    log_ticks(ax, which) if log else plain_ticks(ax, which)


def plain_ticks(ax: Axes, which: str) -> None:
    """Few plain numbers with a true minus sign."""
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}".replace("-", MINUS)))


def log_ticks(ax: Axes, which: str) -> None:
    """Three to five round numbers on a logarithmic axis, powers of ten where it is long."""
    low, high = getattr(ax, f"get_{which}lim")()
    decades = math.log10(high / low)
    if decades > 4:
        power_ticks(ax, which, math.ceil(decades / 5))
        return
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [10.0**e * digit for e in exponents for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    else:
        ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
        ticks = [tick for tick in ticks if low <= tick <= high]
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1000 else f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def power_ticks(ax: Axes, which: str, every: int) -> None:
    """Powers of ten on a logarithmic axis, one in so many."""
    low, high = (math.log10(end) for end in getattr(ax, f"get_{which}lim")())
    exponents = [e for e in range(math.ceil(low), math.floor(high) + 1) if e % every == 0]
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(FixedLocator([10.0**e for e in exponents]))
    axis.set_major_formatter(FuncFormatter(lambda v, _: power(v)))
    axis.set_minor_formatter(NullFormatter())


def power(value: float) -> str:
    """`1` or ten to a power, as matplotlib sets it."""
    exponent = round(math.log10(value))
    return {0: "1", 1: "10"}.get(exponent, f"$10^{{{exponent}}}$")


def doubling_axis(ax: Axes, sizes: Sequence[float], names: Sequence[str] | None = None) -> None:
    """A horizontal axis of sizes that double, each with its tick."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, names or [f"{size:g}" for size in sizes])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(min(sizes) / 1.4, max(sizes) * 1.4)


def curve(ax: Axes, seeds: pd.DataFrame, x: str, look: Look, *, size: float = 4.5) -> None:
    """A line of means over x with its band, and the seeds as small dots.

    `seeds` has the columns `x` and `value`.
    """
    if seeds.empty:
        return
    means = band(seeds, [x])
    dots(ax, seeds[x], seeds["value"], look.color)
    ax.plot(means[x], means["mean"], **look.point(size) | {"ls": look.dash, "lw": 1.5}, zorder=3)
    if (means["n"] >= ENOUGH).all():
        ax.fill_between(
            means[x], means["ci_low"], means["ci_high"], color=look.color, alpha=0.16, lw=0
        )


def level(ax: Axes, seeds: pd.Series, look: Look) -> None:
    """A reference line across the panel, at the mean of some runs, with its band."""
    if seeds.empty:
        return
    mean, low, high = estimate(seeds, log=False)
    ax.axhline(mean, color=look.color, ls=look.dash, lw=1.5, zorder=1.6)
    if not math.isnan(low):
        ax.axhspan(low, high, color=look.color, alpha=0.14, lw=0, zorder=1.5)


def seeds_of(table: pd.DataFrame, *, geometric: bool = False, noun: str = "seed") -> str:
    """What circles and large marks are, and how many seeds a mean stands for."""
    n = table["seed"].nunique()
    means = "geometric means" if geometric else "means"
    if n == 1:
        return f"One {noun}, so there are no intervals."
    if n < ENOUGH:
        return f"Circles are {counted(n, noun)}, too few for intervals; large marks are {means}."
    return f"Circles are {counted(n, noun)}, large marks {means} with their {INTERVAL}s."


def bands_of(table: pd.DataFrame) -> str:
    """The same for lines."""
    n = table["seed"].nunique()
    if n == 1:
        return "One seed, so there are no bands."
    if n < ENOUGH:
        return f"Lines are means, dots the {counted(n, 'seed')}, too few for bands."
    return f"Lines are means, bands their {INTERVAL}s, dots the {counted(n, 'seed')}."


def guessing(failed: pd.DataFrame, keys: list[str]) -> str:
    """A sentence on the runs that count as guessing, none where there are none."""
    n = len(failed[keys].drop_duplicates())
    if n == 0:
        return ""
    verb = "run diverged or ended" if n == 1 else "runs diverged or ended"
    return (
        f" {n:,}{SPACE}{verb} below {100 * scoring.FAILED_BELOW:g}{SPACE}% accuracy and "
        f"{'counts' if n == 1 else 'count'} as guessing."
    )


def left_out(table: pd.DataFrame, keys: list[str]) -> str:
    """A sentence on diverged runs that are not drawn, none where there are none."""
    n = len(table.loc[table["status"] == "diverged", keys].drop_duplicates())
    if n == 0:
        return ""
    return f" {counted(n, 'run')} diverged and {'is' if n == 1 else 'are'} left out."


def average(values: pd.Series, digits: int) -> str:
    return decimal(values.mean(), digits)


def significant(x: float) -> str:
    """Two significant digits; a tiny number with a power of ten."""
    if x == 0 or abs(x) >= 1e-4:
        return f"{x:.2g}".replace("-", MINUS)
    digits, exponent = f"{x:.1e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits}\N{MULTIPLICATION SIGN}10{raised}"


def plain(x: float) -> str:
    """A setting without an exponent, as in 0.00001."""
    return f"{x:.12f}".rstrip("0").rstrip(".")


def in_order(values: Iterable[str], order: Iterable[str]) -> list[str]:
    """The values there are, in the order given."""
    present = set(values)
    return [value for value in order if value in present]
