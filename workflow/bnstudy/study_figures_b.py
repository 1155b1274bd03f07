"""The figures of the studies of identities, mechanisms, small batches, inference statistics,
regularization and time, and of the controls.

`FIGURES` maps a study to functions of its table and its options. Each returns a `Drawing`, or None
where a reduced grid has left it nothing to draw. Runs are scored as the claims score them.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter
from scipy import stats

from bnstudy import statistics
from bnstudy.endpoints import scoring
from bnstudy.endpoints.regularization import GUESSING_LOSS, matched_gaps
from bnstudy.figures import (
    GRID,
    INK,
    MUTED,
    PAPER,
    Drawing,
    Layout,
    band,
    panels,
    style,
)
from bnstudy.results import ALPHA, MINUS, SPACE, capitalized, counted, decimal, listed

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


# --- S0: identities


CHECKS = {
    "M1": "formulas of both passes",
    "M2": "mean and variance of a batch",
    "M3a": "scale and shift undo it",
    "M4": "inference ignores the batch",
    "M5": "averages span an epoch",
    "M6": "gradient of the bias is zero",
    "M7": "scale of weights cancels",
    "M8": "two samples become ±1",
    "M9": "folds into the Linear layer",
    "S4.1": "smoothness bound",
    "E4": "variance that is stored",
    "E5": "conventions of momentum",
    "E6": "every variance is 1",
    "E7": "gradient without statistics",
    "E8": "mean of the batch losses",
    "E10": "pixels are standardized",
    "E18": "statistics are updated",
    "MNIST pixels": "as published",
    "L5 epsilon": "change of accuracy",
    "L5 momentum": "change of accuracy",
}
SWEEPS = ("M4 in training", "M4 slope", "M7 with epsilon")  # have a figure of their own


def identity_errors(table: pd.DataFrame, options: dict) -> Drawing | None:
    """The error of every check that has a tolerance, in multiples of it."""
    rows = table[(table["tolerance"] > 0) & ~table["check"].isin(SWEEPS)]
    if rows.empty:
        return None
    errors = (rows["value"] - rows["reference"]).abs()
    data = rows[["seed", "check", "quantity", "tolerance", "holds"]].assign(
        error=errors, ratio=errors / rows["tolerance"]
    )
    passed = data.groupby("check", sort=False)["holds"].min()
    passed = passed.loc[sorted(passed.index, key=lambda name: [*CHECKS, name].index(name))]
    checks = [*passed[passed == 1].index, *passed[passed == 0].index]
    kept = int((passed == 1).sum())
    smallest = data["ratio"].where(data["ratio"] > 0).min()
    zero = 10 ** (math.floor(math.log10(1e-3 if math.isnan(smallest) else smallest)) - 1)

    def draw(layout: Layout) -> Figure:
        step = 0.3 if layout.narrow else 0.2
        figure, axes = panels(
            1, 1, layout, height=step * len(checks) - 0.1, sharex=False, sharey=False
        )
        ax = axes[0, 0]
        figure.set_size_inches(layout.width if layout.narrow else 6.4, figure.get_size_inches()[1])
        ax.set_xscale("log")
        high = max(10.0, data["ratio"].max()) * 10
        ax.set_xlim(zero / 4, high)
        ax.axvspan(1, high, color=GRID, alpha=0.45, lw=0, zorder=0)
        ax.axvline(1, color=INK, lw=0.8, zorder=1)
        for y, name in enumerate(checks):
            some = data[data["check"] == name]
            ax.axhline(y, color=GRID, lw=0.6, zorder=0.5)
            for holds, marker, color in ((1, "o", BLUE), (0, "X", RED)):
                part = some[some["holds"] == holds]["ratio"]
                none = part == 0
                ax.plot(
                    part[~none],
                    [y] * (~none).sum(),
                    ls="none",
                    marker=marker,
                    color=color,
                    ms=4.6,
                    mec=PAPER,
                    mew=0.5,
                    zorder=3,
                )
                ax.plot(
                    [zero] * none.sum(),
                    [y] * none.sum(),
                    ls="none",
                    marker=marker,
                    mec=color,
                    mfc=PAPER,
                    ms=4.2,
                    mew=1.1,
                    zorder=3,
                )
        names = [f"{name}  {CHECKS[name]}" if name in CHECKS else name for name in checks]
        name_rows(ax, [""] * len(names) if layout.narrow else names)
        if layout.narrow:
            for y, name in enumerate(names):
                note(ax, name, (0, y), (0, 4), "axes data", fontsize=7)
            ax.set_ylim(len(names) - 0.5, -0.9)
        if 0 < kept < len(checks):
            ax.axhline(kept - (0.85 if layout.narrow else 0.5), color=MUTED, lw=0.6)
        power_ticks(ax, "x", 4)
        powers = [tick for tick in ax.get_xticks() if tick > 100 * zero]
        ax.xaxis.set_major_locator(FixedLocator([zero, *powers]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: "0" if v == zero else power(v)))
        ax.set_xlabel("error, in multiples of the tolerance")
        note(ax, "holds", (1, 1), (-4, 3), "data axes", ha="right", color=MUTED)
        note(ax, "does not hold", (1, 1), (4, 3), "data axes", color=MUTED)
        ax.spines["left"].set_visible(False)
        return figure

    held = data[data["check"].isin(passed[passed == 1].index)]
    failing = listed(passed[passed == 0].index)
    return Drawing(
        "identities",
        f"{kept} of {counted(len(checks), 'check')} {'holds' if kept == 1 else 'hold'} in all parts"
        + (f", the largest error of them being {worst_of(held)}" if kept else "")
        + (f"; in {failing} at least one part does not." if failing else "."),
        "Error of every check that has a tolerance, divided by the tolerance (logarithmic scale); "
        "a mark is one quantity of the check, an open one has no error at all. Right of the line "
        "the statement, as it is written, does not hold. Checks of counts and of equality are not drawn. Formulas in double, networks in single precision; "
        f"{counted(data['seed'].nunique(), 'seed')}.",
        data,
        draw,
    )


def worst_of(held: pd.DataFrame) -> str:
    """The largest error in multiples of its tolerance, and whose it is."""
    row = held.loc[held["ratio"].idxmax()]
    return f"{significant(row['ratio'])} times its tolerance ({row['check']})"


def last_number(quantity: pd.Series) -> pd.Series:
    """The number at the end of each text."""
    return quantity.str.extract(r"([0-9.e+-]+)$")[0].astype(float)


def identity_sweeps(table: pd.DataFrame, options: dict) -> Drawing | None:
    """How an output depends on its batch, and on the scale of the weights before the layer."""
    output = table["quantity"].str.startswith("relative change of the output")
    parts = {
        "batch": table[table["check"] == "M4 in training"],
        "epsilon": table[table["check"] == "M7 with epsilon"],
        "no epsilon": table[(table["check"] == "M7") & output],
    }
    data = pd.concat(
        rows[["seed"]].assign(sweep=name, x=last_number(rows["quantity"]), value=rows["value"])
        for name, rows in parts.items()
    )
    if parts["batch"].empty or parts["epsilon"].empty:
        return None
    slope = table[table["check"] == "M4 slope"]["value"].mean()
    least = 1e-17  # an error of exactly zero is drawn here

    def draw(layout: Layout) -> Figure:
        shape = (2, 1) if layout.narrow else (1, 2)
        figure, axes = panels(*shape, layout, height=1.9, sharex=False, sharey=False)
        ax, right = axes.flat
        noise = data[data["sweep"] == "batch"].assign(value=lambda rows: 100 * rows["value"])
        means = np.exp(np.log(noise["value"]).groupby(noise["x"]).mean())
        sizes = means.index.to_numpy()
        ideal = np.exp(np.log(means * np.sqrt(sizes)).mean()) / np.sqrt(sizes)
        ax.plot(sizes, ideal, color=MUTED, ls=DOTTED, lw=1.2)
        curve(ax, noise, "x", BATCH, size=5)
        fit(ax, "y", [*noise["value"], *ideal], log=True)
        doubling_axis(ax, sizes)
        ax.set_title("training mode")
        ax.set_xlabel("batch size")
        ax.set_ylabel("deviation of the logits (%)")
        note(
            ax,
            f"measured slope {decimal(slope, 2)}\ndotted: 1 / √B",
            (1, 1),
            (-2, -2),
            "axes",
            ha="right",
            va="top",
        )
        for name, look in EPSILON.items():
            some = data[data["sweep"] == name]
            curve(right, some.assign(value=some["value"].clip(lower=least)), "x", look, size=5)
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_ylim(least, 30)
        power_ticks(right, "x", 2 if layout.narrow else 1)
        power_ticks(right, "y", 4)
        right.set_title("scale of the weights")
        right.set_xlabel("weights multiplied by")
        right.set_ylabel("relative change of the output")
        for name, look in EPSILON.items():
            some = data[data["sweep"] == name]
            if len(some):
                x = some["x"].min()
                y = some[some["x"] == x]["value"].clip(lower=least).mean()
                below = name == "epsilon"
                note(
                    right,
                    look.name,
                    (x, y),
                    (0, -8 if below else 8),
                    va="top" if below else "bottom",
                )
        return figure

    batch, scales = data[data["sweep"] == "batch"], data[data["sweep"] == "epsilon"]
    deviations = batch.groupby("x")["value"].mean()
    changes = scales.groupby("x")["value"].mean()
    return Drawing(
        "identities-sweeps",
        f"In training mode the logits of an image deviate by {percent(deviations.iloc[0])} between "
        f"batches of {deviations.index[0]:g} and by {percent(deviations.iloc[-1])} between batches "
        f"of {deviations.index[-1]:g}, a slope of {decimal(slope, 2)}. With epsilon the output "
        f"changes by {percent(changes.iloc[0])} where weights are multiplied by "
        f"{plain(changes.index[0])}, and by {percent(changes.iloc[-1])} at {plain(changes.index[-1])}.",
        "*Training mode:* relative deviation of an image's logits over batches that it shares with "
        "different other images, against the batch size; the dotted line falls as one over the "
        "root of the batch size. *Scale of the weights:* relative change of the layer's output in "
        "training mode when the weights before it are multiplied, with epsilon as it is in PyTorch "
        f"(0.00001) and with none. All axes are logarithmic. {bands_of(data)}",
        data,
        draw,
    )


EPSILON = {
    "epsilon": Look("with epsilon", BLUE, "solid", "o"),
    "no epsilon": Look("without", BLUE, DOTTED, "o", filled=False),
}


def percent(share: float) -> str:
    """A share in percent, to two significant digits where it is small."""
    shown = 100 * share
    text = decimal(shown, 1) if shown >= 1 else f"{shown:.2g}"
    return f"{text}{SPACE}%"


# --- S7: mechanisms


ARMS = {
    "none": NONE,
    "noisy_none": Look("noise alone", ORANGE, DASHED, "s", filled=False),
    "batch": BATCH,
    "noisy_batch": Look("batch norm. with noise", BLUE, "solid", "o", filled=False),
    "batch_no_affine": Look("no scale and shift", BLUE, "solid", "^"),
    "batch_detached": Look("detached statistics", BLUE, "solid", "v", filled=False),
    "layer": LAYER,
}


ARM_NOTES = {
    "noisy_none": "*Noise* shifts the distributions anew at every step.",
    "noisy_batch": "*Noise* shifts the distributions anew at every step.",
    "batch_no_affine": "*No scale and shift* leaves out the learned gamma and beta.",
    "batch_detached": "*Detached statistics* stop the gradient through mean and variance.",
}


def network_name(network: str) -> str:
    """`relu5` in words."""
    activation, depth = re.fullmatch(r"([a-z]+)(\d+)", network).groups()
    name = {"relu": "ReLU"}.get(activation, activation)
    return f"{depth} hidden layers, {name}"


def in_order(values: Iterable[str], order: Iterable[str]) -> list[str]:
    """The values there are, in the order given."""
    present = set(values)
    return [value for value in order if value in present]


def scored_mechanisms(table: pd.DataFrame) -> pd.DataFrame:
    """Runs with a column `value`, the validation loss, as the claims score it."""
    loss = table["val_loss"].astype(float).mask(scoring.diverged(table), GUESSING_LOSS)
    return table[["network", "arm", "seed", "status", "drift"]].assign(value=loss)


def mechanism_arms(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation loss of the arms that take batch normalization apart, a panel per network."""
    data = scored_mechanisms(table)
    networks = in_order(data["network"], options["networks"])
    arms = in_order(data["arm"], ARMS)
    if not networks or not arms:
        return None

    def draw(layout: Layout) -> Figure:
        shape = (len(networks), 1) if layout.narrow else (1, len(networks))
        figure, axes = panels(
            *shape, layout, height=0.4 + 0.2 * len(arms), sharex=False, sharey=True
        )
        for ax, network in zip(axes.flat, networks, strict=True):
            some = data[data["network"] == network]
            for arm in in_order(some["arm"], ("none", "batch")):
                mean, *_ = estimate(some[some["arm"] == arm]["value"], log=True)
                ax.axvline(mean, color=ARMS[arm].color, ls=ARMS[arm].dash, lw=1, alpha=0.6)
            for arm in in_order(some["arm"], arms):
                values = some[some["arm"] == arm]["value"]
                dot_row(ax, arms.index(arm), values, ARMS[arm], log=True)
            fit(ax, "x", some["value"], log=True)
            name_rows(ax, [ARMS[arm].name for arm in arms])
            ax.set_title(network_name(network))
        for ax in axes[-1] if not layout.narrow else axes[-1:, 0]:
            ax.set_xlabel("validation loss (nats)")
        return figure

    return Drawing(
        "mechanisms",
        " ".join(mechanism_finding(data, network, arms) for network in networks),
        f"Validation loss (cross-entropy in nats, logarithmic scale, evaluation mode) after "
        f"{counted(options['epochs'], 'epoch')} of SGD at a learning rate of "
        f"{options['learning_rate']:g} and batch size {options['batch_size']}. "
        f"{arm_notes(arms)}Vertical lines repeat the means without and with batch "
        f"normalization. {seeds_of(data, geometric=True)}"
        f"{guessing(table[scoring.diverged(table)], ['network', 'arm', 'seed'])}",
        data,
        draw,
    )


def arm_notes(arms: Iterable[str]) -> str:
    """What the arms are whose name does not say it, each sentence once, a space behind it."""
    return "".join(
        f"{text} " for text in dict.fromkeys(ARM_NOTES[arm] for arm in arms if arm in ARM_NOTES)
    )


def mechanism_finding(data: pd.DataFrame, network: str, arms: Sequence[str]) -> str:
    """Which arms end lowest and highest, and where the two main arms are."""
    some = data[data["network"] == network]
    there = in_order(some["arm"], arms)
    means = {arm: estimate(some[some["arm"] == arm]["value"], log=True)[0] for arm in there}
    low, high = min(means, key=means.get), max(means, key=means.get)
    others = [arm for arm in ("none", "batch") if arm in means and arm not in (low, high)]
    text = (
        f"{capitalized(network_name(network))}: the lowest mean loss is {decimal(means[low], 3)} "
        f"({ARMS[low].name}), the highest {decimal(means[high], 3)} ({ARMS[high].name})"
    )
    rest = listed(f"{decimal(means[arm], 3)} ({ARMS[arm].name})" for arm in others)
    return text + (f"; for comparison {rest}." if rest else ".")


def mechanism_drift(table: pd.DataFrame, options: dict) -> Drawing | None:
    """The loss against how far distributions shift, a panel per network."""
    data = scored_mechanisms(table).dropna(subset=["drift"])
    data = data[data["drift"] > 0]
    networks = in_order(data["network"], options["networks"])
    arms = in_order(data["arm"], ARMS)
    if not networks or not arms:
        return None

    def draw(layout: Layout) -> Figure:
        shape = (len(networks), 1) if layout.narrow else (1, len(networks))
        figure, axes = panels(*shape, layout, height=1.75, sharex=False, sharey=False)
        for ax, network in zip(axes.flat, networks, strict=True):
            some = data[data["network"] == network]
            for arm in arms:
                look, runs = ARMS[arm], some[some["arm"] == arm]
                dots(ax, runs["drift"], runs["value"], look.color)
                if len(runs):
                    centre = [estimate(runs[c], log=True)[0] for c in ("drift", "value")]
                    ax.plot(*centre, **look.point(6.5), zorder=3)
            fit(ax, "x", some["drift"], log=True)
            fit(ax, "y", some["value"], log=True)
            ax.set_title(network_name(network))
        for ax in axes[:, 0]:
            ax.set_ylabel("validation loss (nats)")
        for ax in axes[-1]:
            ax.set_xlabel("drift (standard deviations)")
        legend(figure, [ARMS[arm].handle(line=False) for arm in arms], layout, wide=4, narrow=2)
        return figure

    return Drawing(
        "mechanisms-drift",
        " ".join(drift_finding(data, network, arms) for network in networks),
        "Validation loss after training against the drift of the inputs of the last nonlinearity, "
        f"the mean distance over {options['drift_steps']} steps by which their distribution moves "
        "in training mode, noise included (both axes logarithmic). If less drift were what makes "
        "training fast, the marks would lie on a rising line. Small marks are seeds, large marks "
        f"geometric means ({counted(data['seed'].nunique(), 'seed')})."
        f"{guessing(table[scoring.diverged(table)], ['network', 'arm', 'seed'])}",
        data,
        draw,
    )


def drift_finding(data: pd.DataFrame, network: str, arms: Sequence[str]) -> str:
    """Drift and loss of the arms that the causal claim compares."""
    some = data[data["network"] == network]
    parts = []
    for arm in in_order(arms, ("none", "batch", "noisy_batch")) or arms[:1]:
        runs = some[some["arm"] == arm]
        if len(runs):
            drift, loss = (estimate(runs[c], log=True)[0] for c in ("drift", "value"))
            parts.append(f"{significant(drift)} and {decimal(loss, 3)} ({ARMS[arm].name})")
    return f"{capitalized(network_name(network))}: drift and loss are {'; '.join(parts)}."


# --- S8: small batches


STATISTICS = {
    "running": Look("batch norm., running averages", BLUE, "solid", "o"),
    "precise": Look("batch norm., precise statistics", PINK, DASHED, "v"),
    "batch": Look("batch norm., batch statistics", MUTED, DOTTED, "^"),
}
DESIGNS = {
    "groups": ("group_size", ("ghost",)),
    "batches": ("batch_size", ("batch",)),
}


def small_batches(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation error against the number of images that are normalized together."""
    data = table[["design", "norm", "statistics", "batch_size", "group_size", "seed"]].assign(
        value=100 - scoring.accuracy(table)
    )
    designs = [d for d in DESIGNS if (data["design"] == d).any()]
    designs = [d for d in designs if data[data["design"] == d]["norm"].isin(DESIGNS[d][1]).any()]
    if not designs:
        return None
    norms = [look for look in (NONE, LAYER) if (data["norm"] == KEYS[look.name]).any()]

    def draw(layout: Layout) -> Figure:
        shape = (len(designs), 1) if layout.narrow else (1, len(designs))
        figure, axes = panels(*shape, layout, height=2.35, sharex=False, sharey=False)
        for ax, design in zip(axes.flat, designs, strict=True):
            size, (norm,) = DESIGNS[design]
            rows = data[data["design"] == design]
            own = rows[rows["norm"] == norm]
            for look in norms:
                reference = rows[rows["norm"] == KEYS[look.name]]
                if design == "groups":
                    level(ax, reference["value"], look)
                else:
                    curve(ax, reference, size, look)
            for name, look in STATISTICS.items():
                curve(ax, own[own["statistics"] == name], size, look)
            fit(ax, "y", rows["value"], log=True)
            ax.set_title(design_title(design, options))
            ax.set_xlabel("images normalized together" if design == "groups" else "batch size")
        for ax in axes.flat if layout.narrow else axes[:, 0]:
            ax.set_ylabel("validation error (%)")
        for ax, design in zip(axes.flat, designs, strict=True):
            size, norm = DESIGNS[design]
            rows = data[(data["design"] == design) & data["norm"].isin(norm)]
            doubling_axis(ax, sorted(rows[size].dropna().unique()))
        legend(figure, [*STATISTICS.values(), *norms], layout, wide=2)
        return figure

    return Drawing(
        "small-batches",
        " ".join(small_batch_finding(data, design, options) for design in designs),
        "Validation error (logarithmic scale). "
        + " ".join(design_note(design, options) for design in designs)
        + " Three lines evaluate the same batch-normalized networks with PyTorch's running "
        "averages, with precise statistics over "
        f"{options['statistics_images']:,} training images, and with the statistics of groups as "
        "small as in training. "
        f"{bands_of(data)}"
        f"{guessing(table[scoring.diverged(table)], ['design', 'norm', *SIZES, 'seed'])}",
        data,
        draw,
    )


SIZES = ("batch_size", "group_size")
KEYS = {NONE.name: "none", BATCH.name: "batch", LAYER.name: "layer"}


def design_title(design: str, options: dict) -> str:
    if design == "groups":
        return f"gradient from {options['batch_size']} images"
    return "small batches as they are"


def design_note(design: str, options: dict) -> str:
    title = capitalized(design_title(design, options))
    if design == "groups":
        return (
            f"*{title}:* every update sees the same batch, and only the groups that are "
            "normalized together get smaller."
        )
    return f"*{title}:* {options['small_images']:,} training images."


def small_batch_finding(data: pd.DataFrame, design: str, options: dict) -> str:
    """The error in the smallest and the largest groups, and that of the references."""
    size, (norm,) = DESIGNS[design]
    rows = data[data["design"] == design]
    own = rows[(rows["norm"] == norm) & (rows["statistics"] == "running")]
    sizes = sorted(own[size].dropna().unique())
    ends = listed(
        f"{average(own[own[size] == s]['value'], 2)} percent at {s:g}"
        for s in dict.fromkeys((sizes[0], sizes[-1]))
    )
    precise = rows[(rows["norm"] == norm) & (rows["statistics"] == "precise")]
    precise = precise[precise[size] == sizes[0]]["value"]
    others = []
    for look in (NONE, LAYER):
        some = rows[(rows["norm"] == KEYS[look.name]) & rows[size].isin([*sizes[:1], np.nan])]
        if len(some):
            others.append(f"{average(some['value'], 2)} with {look.name}")
    text = f"{capitalized(design_title(design, options))}: the mean error is {ends}"
    if len(precise):
        text += f"; at {sizes[0]:g} it is {average(precise, 2)} with precise statistics"
    if others:
        text += f"; for comparison {listed(others)}"
    return f"{text}."


# --- S9: inference statistics


MOMENTA = (
    ("0.1", BLUE, "solid", "o"),
    ("cumulative", MUTED, DOTTED, "s"),
    ("0.01", PINK, DASHED, "v"),
    ("0.5", RED, DASH_DOT, "^"),
)
PRECISE = Look("precise statistics", INK, "solid", "")


def momentum_looks(momenta: Iterable[str]) -> dict[str, Look]:
    """A look for every momentum; the usual ones keep theirs whatever else there is."""
    known = {name: (color, dash, marker) for name, color, dash, marker in MOMENTA}
    spare = [look for name, *look in MOMENTA if name not in set(momenta)]
    spare += [(GREEN, DASH_DOT, "D"), (ORANGE, DASHED, "P")]
    looks = {}
    ordered = sorted(
        momenta, key=lambda m: (m == "cumulative", 0 if m == "cumulative" else float(m))
    )
    for i, momentum in enumerate(ordered):
        color, dash, marker = known.get(momentum) or spare[i % len(spare)]
        looks[momentum] = Look(momentum_name(momentum), color, dash, marker)
    return looks


def momentum_name(momentum: str) -> str:
    return "cumulative average" if momentum == "cumulative" else f"momentum {momentum}"


def staleness(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Running against precise statistics over the first steps of training."""
    rows = table[(table["part"] == "staleness") & (table["status"] == "ok")]
    if rows.empty:
        return None
    rows = rows.assign(momentum=rows["momentum"].astype(str))
    looks = momentum_looks(rows["momentum"].unique())
    data = rows[["seed", "momentum", "step", "statistics", "loss", "mean_error"]]
    running, frozen = (data[data["statistics"] == name] for name in ("running", "frozen"))
    # All momenta see the same weights, so any of them has the precise statistics of all.
    floor = data[(data["statistics"] == "precise") & (data["momentum"] == next(iter(looks)))]

    def draw(layout: Layout) -> Figure:
        shape = (3, 1) if layout.narrow else (1, 3)
        figure, axes = panels(*shape, layout, height=1.95, sharex=False, sharey=False)
        loss, distance, rest = axes.flat
        for ax, column in ((loss, "loss"), (distance, "mean_error")):
            for momentum, look in looks.items():
                some = running[running["momentum"] == momentum]
                curve(ax, some.assign(value=some[column]), "step", look, size=4)
            fit(ax, "x", running["step"], log=True)
            ax.set_xlabel("step")
        curve(loss, floor.assign(value=floor["loss"]), "step", PRECISE)
        fit(loss, "y", [*running["loss"], *floor["loss"]], log=True)
        fit(distance, "y", running["mean_error"], log=True)
        loss.set_title("validation loss (nats)")
        distance.set_title("distance of the means (sd)")
        for y, (momentum, look) in enumerate(looks.items()):
            some = frozen[frozen["momentum"] == momentum]["mean_error"]
            if len(some):
                dot_row(rest, y, some, look, log=(some > 0).all())
        fit(rest, "x", frozen["mean_error"], log=True)
        name_rows(rest, [m.replace("cumulative", "all") for m in looks])
        rest.set_title("distance at rest (sd)")
        rest.set_xlabel("after an epoch, weights frozen")
        rest.set_ylabel("momentum")
        legend(figure, [*looks.values(), PRECISE], layout, wide=3, narrow=2)
        return figure

    return Drawing(
        "staleness",
        staleness_finding(running, floor, frozen, looks),
        f"*Validation loss* during {first_epochs(options['staleness']['epochs'])} at batch size "
        f"{options['staleness']['batch_size']}, evaluated with running averages of several momenta "
        "and with precise statistics, the mean and variance over "
        f"{options['statistics_images']:,} training images under the weights of that step. "
        "*Distance of the means:* root mean square over units of running minus precise mean, in "
        "standard deviations. *Distance at rest:* the same for the first layer against the whole "
        "training set, after one more epoch with frozen weights; what is left is the short memory "
        f"of the average. All axes of numbers are logarithmic. {bands_of(data)}"
        f"{left_out(table[table['part'] == 'staleness'], ['momentum', 'seed'])}",
        data,
        draw,
    )


def first_epochs(n: int) -> str:
    return "the first epoch" if n == 1 else f"the first {counted(n, 'epoch')}"


def staleness_finding(
    running: pd.DataFrame, floor: pd.DataFrame, frozen: pd.DataFrame, looks: dict[str, Look]
) -> str:
    """The loss in the middle and at the end by momentum, and what is left with frozen weights."""
    steps = sorted(running["step"].unique())
    early = min(steps, key=lambda step: abs(math.log(step / 10)))
    parts = []
    for step in dict.fromkeys((early, steps[-1])):
        at = running[running["step"] == step].groupby("momentum")["loss"].mean()
        losses = listed(f"{decimal(at[m], 3)} ({looks[m].name})" for m in looks if m in at)
        exact = average(floor[floor["step"] == step]["loss"], 3)
        parts.append(
            f"At step {step:g} the mean validation loss is {losses}, and {exact} with precise "
            "statistics."
        )
    means = frozen.groupby("momentum")["mean_error"].mean()
    if len(means):
        rest = listed(f"{significant(means[m])} ({looks[m].name})" for m in looks if m in means)
        parts.append(f"With frozen weights the distance of the means is {rest}.")
    return " ".join(parts)


LAST_BATCH = {
    "kept": Look("all batches", BLUE, "solid", "o"),
    "statistics_dropped": Look("not in the averages", BLUE, "solid", "o", filled=False),
    "dropped": Look("without its step", BLUE, "solid", "^", filled=False),
}


def last_batch(table: pd.DataFrame, options: dict) -> Drawing | None:
    """What a last batch of two images does to the loss at the end of each epoch."""
    rows = table[(table["part"] == "last_batch") & (table["status"] == "ok")]
    if rows.empty:
        return None
    wide = rows.pivot(index=["seed", "step"], columns="statistics", values="loss")
    ratios = wide[[*LAST_BATCH]].div(wide["precise"], axis=0)
    data = pd.concat(
        [frame.melt(ignore_index=False)["value"] for frame in (wide[[*LAST_BATCH]], ratios)], axis=1
    ).set_axis(["loss", "ratio"], axis=1)
    data.insert(0, "statistics", wide[[*LAST_BATCH]].melt(ignore_index=False)["statistics"])
    data = data.reset_index()
    ends = sorted(data["step"].unique())

    def draw(layout: Layout) -> Figure:
        shape = (len(ends), 1) if layout.narrow else (1, len(ends))
        figure, axes = panels(
            *shape, layout, height=0.4 + 0.2 * len(LAST_BATCH), sharex=True, sharey=True
        )
        for ax, step in zip(axes.flat, ends, strict=True):
            some = data[data["step"] == step]
            ax.axvline(1, color=INK, lw=0.8, zorder=1)
            for y, (kind, look) in enumerate(LAST_BATCH.items()):
                dot_row(ax, y, some[some["statistics"] == kind]["ratio"], look, log=True)
            name_rows(ax, [look.name for look in LAST_BATCH.values()])
            fit(ax, "x", [1, *data["ratio"]], log=True)
            ax.set_title(f"end of epoch {ends.index(step) + 1}")
        figure.supxlabel("loss over that with precise statistics", fontsize=8.5)
        return figure

    parts = []
    for epoch, step in enumerate(ends, 1):
        at = np.exp(np.log(data[data["step"] == step]["ratio"]).groupby(data["statistics"]).mean())
        found = listed(f"{decimal(at[k], 3)} ({look.name})" for k, look in LAST_BATCH.items())
        parts.append(f"after epoch {epoch} {found}")
    return Drawing(
        "last-batch",
        f"Validation loss over that with precise statistics: {'; '.join(parts)}.",
        "Validation loss with running averages over that of the whole training with precise "
        "statistics (logarithmic scale), at the end of each epoch whose last batch has two images, at batch size "
        f"{options['last_batch']['batch_size']}: with everything, without that batch in the "
        "running averages, and without the whole step, which `drop_last` leaves out. "
        f"{seeds_of(data, geometric=True)}"
        f"{left_out(table[table['part'] == 'last_batch'], ['seed'])}",
        data,
        draw,
    )


SHIFTS = {
    "contrast": ("less contrast", "share of the contrast left"),
    "brightness": ("more brightness", "added to every pixel"),
    "noise": ("Gaussian noise", "standard deviation"),
}
SHIFTED = {
    ("none", "running"): NONE,
    ("batch", "running"): Look("batch normalization", BLUE, "solid", "o"),
    ("batch", "reestimated"): Look("batch norm., estimated anew", BLUE, DOTTED, "o", filled=False),
}


def shifted_images(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Test accuracy on shifted images, a panel per kind of shift."""
    rows = table[(table["part"] == "shift") & table["shift"].notna()]
    if rows.empty:
        return None
    columns = ["norm", "statistics", "shift", "level"]
    data = rows[["seed", *columns]].assign(value=100 * rows["accuracy"])
    # A diverged run guesses, whatever the shift.
    failed = table[(table["part"] == "shift") & (table["status"] == "diverged")]
    for _, run in failed.iterrows():
        cells = data.loc[data["norm"] == run["norm"], columns].drop_duplicates()
        data = pd.concat([data, cells.assign(seed=run["seed"], value=100 * scoring.CHANCE)])
    shifts = in_order(data["shift"], SHIFTS)
    # Contrast 1 leaves the images as they are; the other shifts start there, too.
    clean = data[(data["shift"] == "contrast") & (data["level"] == 1)]
    missing = [name for name in shifts if name != "contrast" and not starts_at_zero(data, name)]
    data = pd.concat([data, *(clean.assign(shift=name, level=0.0) for name in missing)])
    looks = {key: look for key, look in SHIFTED.items() if of_arm(data, *key).any()}

    def draw(layout: Layout) -> Figure:
        shape = (len(shifts), 1) if layout.narrow else (1, len(shifts))
        figure, axes = panels(*shape, layout, height=1.9, sharex=False, sharey=True)
        for ax, name in zip(axes.flat, shifts, strict=True):
            some = data[data["shift"] == name]
            for key, look in looks.items():
                curve(ax, some[of_arm(some, *key)], "level", look, size=5)
            ax.set_xticks(sorted(some["level"].unique()))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            title, unit = SHIFTS[name]
            ax.set_title(title)
            ax.set_xlabel(unit)
            if name == "contrast":
                ax.invert_xaxis()
        fit(axes.flat[0], "y", data["value"])
        for ax in axes[:, 0]:
            ax.set_ylabel("test accuracy (%)")
        legend(figure, list(looks.values()), layout, wide=3)
        return figure

    parts = []
    for name in shifts:
        some = data[data["shift"] == name]
        end = some["level"].min() if name == "contrast" else some["level"].max()
        at = some[some["level"] == end]
        values = listed(
            f"{average(at[of_arm(at, *key)]['value'], 1)} percent ({look.name})"
            for key, look in looks.items()
        )
        parts.append(f"at {name} {end:g} {values}")
    return Drawing(
        "shifted-images",
        f"Mean test accuracy where the shift is largest: {'; '.join(parts)}.",
        f"Accuracy on test images with {listed(SHIFTS[name][0] for name in shifts)}, one at a "
        "time, in units of the brightest pixel; shifts grow to the right. Batch normalization is evaluated with "
        "the running averages of training, and with statistics estimated anew on "
        f"{options['statistics_images']:,} validation images with the same shift. "
        f"{bands_of(data)}{guessing(failed, ['norm', 'seed'])}",
        data,
        draw,
    )


def starts_at_zero(data: pd.DataFrame, name: str) -> bool:
    return 0 in set(data[data["shift"] == name]["level"])


def of_arm(rows: pd.DataFrame, norm: str, statistics: str) -> pd.Series:
    return (rows["norm"] == norm) & (rows["statistics"] == statistics)


# --- S10: regularization


def group_sizes(arms: Iterable[str], options: dict) -> dict[str, int]:
    """How many images each arm normalizes together, in order; the whole training set is last."""
    sizes = {"batch": options["batch_size"], "population": options["train_images"]}
    for arm in arms:
        if arm.startswith("ghost_"):
            sizes[arm] = int(arm.removeprefix("ghost_"))
    return {arm: sizes[arm] for arm in sorted(set(arms) & set(sizes), key=sizes.get)}


def overfitting_path(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation against training loss over the epochs."""
    looks = {
        "none": NONE,
        "batch": BATCH,
        "ghost_4": Look("batch norm. of groups of 4", BLUE, DASH_DOT, "^", filled=False),
        "population": Look("batch norm. of all images", BLUE, DOTTED, "o", filled=False),
    }
    rows = table[table["status"] == "ok"].dropna(subset=["train_loss", "val_loss"])
    rows = rows[(rows["train_loss"] > 0) & (rows["val_loss"] > 0)]
    arms = in_order(rows["arm"], looks)
    if not arms:
        return None
    keys = ["arm", "epoch"]
    logs = rows[keys].assign(train=np.log(rows["train_loss"]), val=np.log(rows["val_loss"]))
    means = np.exp(logs.groupby(keys)[["train", "val"]].mean()).reset_index()
    data = means[means["arm"].isin(arms)].rename(
        columns={"train": "training_loss", "val": "validation_loss"}
    )
    target = options["matched_train_loss"]

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(1, 1, layout, height=2.7, sharex=False, sharey=False)
        figure.set_size_inches(layout.width if layout.narrow else 5.2, figure.get_size_inches()[1])
        ax = axes[0, 0]
        shown = rows[rows["arm"].isin(arms)]
        fit(ax, "x", shown["train_loss"], log=True)
        fit(ax, "y", shown["val_loss"], log=True)
        ends = np.array([*ax.get_xlim(), *ax.get_ylim()])
        ax.plot([ends.min(), ends.max()], [ends.min(), ends.max()], color=MUTED, lw=0.8)
        ax.axvline(target, color=INK, lw=0.8)
        for arm in arms:
            look = looks[arm]
            for _, path in shown[shown["arm"] == arm].groupby("seed"):
                path = epochs_drawn(path)
                ax.plot(path["train_loss"], path["val_loss"], color=look.color, lw=0.5, alpha=0.25)
            path = epochs_drawn(data[data["arm"] == arm], 24)
            point = look.point(4.5) | {"ls": look.dash, "lw": 1.6}
            ax.plot(
                path["training_loss"],
                path["validation_loss"],
                **point,
                zorder=3,
                markevery=[0, len(path) - 1],
            )
        ax.set_xlim(ends[0], ends[1])
        ax.set_ylim(ends[2], ends[3])
        ax.set_xlabel("training loss, evaluation mode (nats)")
        ax.set_ylabel("validation loss (nats)")
        note(ax, f"compared at {target:g}", (target, 1), (3, -2), "data axes", va="top")
        ax.invert_xaxis()
        legend(figure, [looks[arm] for arm in arms], layout, wide=2)
        return figure

    last = data[data["epoch"] == data["epoch"].max()].set_index("arm")
    least = data.groupby("arm")["validation_loss"].min()
    parts = listed(
        f"{decimal(last['validation_loss'][arm], 3)}, lowest on the way {decimal(least[arm], 3)} "
        f"({looks[arm].name})"
        for arm in arms
        if arm in last.index
    )
    return Drawing(
        "overfitting",
        f"As the training loss falls, the mean validation loss ends at {parts}.",
        f"The way through training on {options['train_images']:,} images: validation against "
        "training loss of the same weights, both in evaluation mode and in nats (logarithmic "
        "scales), from the first epoch on the left to the last, "
        f"{options['epochs']}, on the right. On the thin diagonal they are equal. Thick lines are "
        f"geometric means, thin lines the {counted(rows['seed'].nunique(), 'seed')}; not every epoch "
        f"is drawn.{left_out(table[table['arm'].isin(looks)], ['arm', 'seed'])}",
        data,
        draw,
    )


def epochs_drawn(path: pd.DataFrame, most: int = 16) -> pd.DataFrame:
    """At most about so many epochs of a run, the first and the last among them."""
    path = path.sort_values("epoch")
    chosen = np.unique(np.geomspace(1, len(path), most).round().astype(int)) - 1
    return path.iloc[chosen]


OUTCOMES = {
    "matched": "gap at a training loss of {target:g}",
    "end": "gap at the end",
    "test": "test accuracy (%)",
}


def noise_doses(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Gap and accuracy against how many images are normalized together."""
    sizes = group_sizes(table["arm"].unique(), options)
    if not sizes:
        return None
    arms = [*sizes, *in_order(table["arm"], ["none"])]
    shown = table[table["arm"].isin(arms)]
    matched, reached = matched_gaps(shown, options["matched_train_loss"])
    last = shown[shown["epoch"] == shown["epoch"].max()]
    end = last["val_loss"].fillna(GUESSING_LOSS) - last["train_loss"].fillna(0)
    data = pd.concat(
        [
            matched.melt(ignore_index=False, var_name="arm")
            .reset_index(names="seed")
            .assign(outcome="matched"),
            last[["seed", "arm"]].assign(value=end, outcome="end"),
            last[["seed", "arm"]].assign(
                value=scoring.accuracy(last, "test_accuracy"), outcome="test"
            ),
        ]
    ).assign(group_size=lambda rows: rows["arm"].map(sizes))
    data = data[["outcome", "arm", "group_size", "seed", "value"]]
    places = [*sizes.values()]
    names = [f"{n:,}" if arm != "population" else "all" for arm, n in sizes.items()]

    def draw(layout: Layout) -> Figure:
        shape = (3, 1) if layout.narrow else (1, 3)
        figure, axes = panels(*shape, layout, height=1.9, sharex=False, sharey=False)
        for ax, (outcome, title) in zip(axes.flat, OUTCOMES.items(), strict=True):
            some = data[data["outcome"] == outcome]
            level(ax, some[some["arm"] == "none"]["value"], NONE)
            groups = some.dropna(subset=["group_size"])
            curve(ax, groups, "group_size", BATCH, size=5)
            fit(ax, "y", some["value"])
            doubling_axis(ax, places, names)
            ax.set_title(title.format(target=options["matched_train_loss"]))
            if outcome != "test":
                ax.set_ylabel("nats")
            ax.set_xlabel("images normalized together")
        legend(figure, [BATCH, NONE] if "none" in arms else [BATCH], layout, wide=2)
        return figure

    missed = int((~reached.astype(bool)).to_numpy().sum())
    late = f" {counted(missed, 'run')} never came down to it and has its last gap."
    if missed != 1:
        late = late.replace("has its last gap", "have their last gaps")
    return Drawing(
        "noise-doses",
        doses_finding(data, sizes, options),
        "The generalization gap, validation minus training loss in evaluation mode, where the "
        f"training loss first comes down to {options['matched_train_loss']:g} and after the last "
        "epoch, and the final test accuracy. The fewer images are normalized together (logarithmic "
        "scale; *all* is the whole training set, without noise), the noisier the statistics; the "
        f"gradient always comes from batches of {options['batch_size']}. "
        f"{options['train_images']:,} training images, {options['epochs']} epochs. "
        f"{bands_of(data)}{late if missed else ''}"
        f"{guessing(shown[scoring.diverged(shown)], ['arm', 'seed'])}",
        data,
        draw,
    )


def doses_finding(data: pd.DataFrame, sizes: dict[str, int], options: dict) -> str:
    """The gap at the matched loss for every dose and without normalization, then accuracies."""
    sentences = []
    for outcome, text, digits in (
        ("matched", f"Mean gap at a training loss of {options['matched_train_loss']:g}", 3),
        ("test", "Mean test accuracy in percent", 2),
    ):
        means = data[data["outcome"] == outcome].groupby("arm")["value"].mean()
        parts = [f"{decimal(means[arm], digits)} in groups of {n:,}" for arm, n in sizes.items()]
        if "none" in means:
            parts.append(f"{decimal(means['none'], digits)} without normalization")
        sentences.append(f"{text}: {listed(parts)}.")
    return " ".join(sentences)


ORDERS = {
    "batch": Look("no dropout", BLUE, "solid", "o"),
    "batch_dropout": Look("after the activation", BLUE, "solid", "^"),
    "dropout_before": Look("before batch norm.", BLUE, "solid", "v", filled=False),
}


def dropout(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Dropout without and with batch normalization, and its place."""
    last = table[table["epoch"] == table["epoch"].max()]
    last = last.assign(value=scoring.accuracy(last, "test_accuracy"))
    pairs = {
        look: arms
        for look, arms in ((NONE, ("none", "none_dropout")), (BATCH, ("batch", "batch_dropout")))
        if set(arms) <= set(last["arm"])
    }
    places = in_order(last["arm"], ORDERS)
    if not pairs or not places:
        return None
    shifts = [c for c in last.columns if c.startswith("variance_shift_")]
    wanted = {arm for arms in pairs.values() for arm in arms} | set(places)
    data = last[last["arm"].isin(wanted)][["seed", "arm", "value", *shifts]].rename(
        columns={"value": "test_accuracy"}
    )

    def draw(layout: Layout) -> Figure:
        if layout.narrow:
            figure, axes = panels(3, 1, layout, height=1.35, sharex=False, sharey=False)
        else:
            figure = Figure(figsize=(layout.width, 2.75))
            axes = figure.subplots(1, 3, squeeze=False, width_ratios=(0.8, 1, 1))
        interaction, order, variance = axes.flat
        for look, arms in pairs.items():
            wide = data[data["arm"].isin(arms)].pivot(
                index="seed", columns="arm", values="test_accuracy"
            )[list(arms)]
            for _, seed in wide.iterrows():
                interaction.plot((0, 1), seed, color=look.color, lw=0.6, alpha=0.35)
            estimates = [estimate(wide[arm], log=False) for arm in arms]
            for x, (_, low, high) in enumerate(estimates):
                interaction.plot([x, x], [low, high], color=look.color, lw=2)
            means = [mean for mean, *_ in estimates]
            interaction.plot((0, 1), means, **look.point() | {"ls": look.dash, "lw": 1.8}, zorder=3)
        interaction.set_xticks((0, 1), ("without", f"dropout {options['dropout']:g}"))
        interaction.set_xlim(-0.3, 1.3)
        interaction.grid(axis="x", visible=False)
        accuracies = [arm for arms in pairs.values() for arm in arms]
        fit(interaction, "y", data[data["arm"].isin(accuracies)]["test_accuracy"])
        interaction.set_title("test accuracy (%)")
        for y, arm in enumerate(places):
            dot_row(order, y, data[data["arm"] == arm]["test_accuracy"], ORDERS[arm])
            ratios = data[data["arm"] == arm]
            for k, column in enumerate(shifts):
                some = ratios[column].dropna()
                offset = 0.36 * (k - (len(shifts) - 1) / 2)
                if len(some):
                    dot_row(variance, y + offset, some, ORDERS[arm], log=True, spread=0.12)
                    note(
                        variance,
                        f"layer {k + 1}",
                        (1, y + offset),
                        (2, 0),
                        "axes data",
                        va="center",
                        fontsize=7,
                        color=MUTED,
                    )
        variance.axvline(1, color=INK, lw=0.8, zorder=1)
        fit(order, "x", data[data["arm"].isin(places)]["test_accuracy"])
        fit(variance, "x", [1, *data[shifts].to_numpy(float).ravel()], log=True)
        names = [ORDERS[arm].name for arm in places]
        name_rows(order, names)
        name_rows(variance, names if layout.narrow else [""] * len(names))
        order.set_title("place of dropout")
        order.set_xlabel("test accuracy (%)")
        variance.set_title("variance, inference / running")
        variance.set_xlabel("ratio")
        legend(figure, list(pairs), layout, wide=2)
        return figure

    means = data.groupby("arm")["test_accuracy"].mean()
    effects = listed(
        f"{decimal(means[arms[1]] - means[arms[0]], 2, signed=True)} points with {look.name}"
        for look, arms in pairs.items()
    )
    order_text = listed(f"{decimal(means[arm], 2)} percent ({ORDERS[arm].name})" for arm in places)
    return Drawing(
        "dropout",
        f"Dropout changes mean test accuracy by {effects}. By place of dropout it is {order_text}.",
        f"Dropout with probability {options['dropout']:g} on {options['train_images']:,} training "
        "images. *Test accuracy* without and with dropout; parallel lines would mean that "
        "dropout helps as much with batch normalization as without. *Place of dropout:* networks "
        "with batch normalization. *Variance:* that of the inputs of each batch normalization in "
        "evaluation mode over its running variance, mean over units (logarithmic scale); at 1 "
        "training and inference agree. Thin lines and circles are the "
        f"{counted(data['seed'].nunique(), 'seed')}, large marks means (of ratios, geometric)"
        + (f" with their {INTERVAL}s." if data["seed"].nunique() >= ENOUGH else ".")
        + guessing(last[scoring.diverged(last) & last["arm"].isin(wanted)], ["arm", "seed"]),
        data,
        draw,
    )


# --- S11: timing


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


# --- S15, S16: controls of the verdict rule


def controls(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Differences that must be nothing, and differences that must be something."""
    accuracy = 100 * table.pivot(index="seed", columns="learning_rate", values="test_accuracy")
    rates = sorted(accuracy.columns)
    usual = accuracy[rates[-1]]
    half = len(usual) // 2
    if half == 0:
        return None
    first, second = usual.iloc[:half], usual.iloc[half : 2 * half]
    differences = {"same": first - second.set_axis(first.index)}
    if len(rates) > 1:
        differences["learning_rate"] = first - accuracy[rates[0]].iloc[:half]
    titles = {
        "same": "same settings, other seeds",
        "learning_rate": f"learning rate {plain(rates[-1])} or {plain(rates[0])}",
    }
    data = pd.concat(
        d.rename("difference").reset_index().assign(control=name) for name, d in differences.items()
    )[["control", "seed", "difference"]]

    def draw(layout: Layout) -> Figure:
        shape = (len(differences), 1) if layout.narrow else (1, len(differences))
        figure, axes = panels(*shape, layout, height=0.75, sharex=False, sharey=False)
        for ax, (name, d) in zip(axes.flat, differences.items(), strict=True):
            ax.axvline(0, color=INK, lw=0.8, zorder=1)
            dot_row(ax, 0, d, NONE, spread=0.3)
            fit(ax, "x", [0, *d, *(v for v in estimate(d, log=False) if np.isfinite(v))])
            name_rows(ax, [""])
            ax.spines["left"].set_visible(False)
            ax.set_title(titles[name])
        for ax in axes.flat if not layout.narrow else axes[-1]:
            ax.set_xlabel("percentage points of test accuracy")
        return figure

    parts = []
    for name, d in differences.items():
        mean, low, high = estimate(d, log=False)
        between = (
            f", interval {decimal(low, 2, signed=True)} to {decimal(high, 2, signed=True)}"
            if not math.isnan(low)
            else ""
        )
        parts.append(f"{titles[name]} {decimal(mean, 2, signed=True)} percentage points{between}")
    compared = f"seeds {first.index[0]} to {first.index[-1]}" if half > 1 else "one seed"
    return Drawing(
        "controls",
        f"Mean differences: {'; '.join(parts)}.",
        "Differences in test accuracy of networks without normalization after "
        f"{counted(options['epochs'], 'epoch')} at batch size {options['batch_size']}. *Same "
        f"settings:* {compared} minus as many other seeds, which must not be told apart. "
        + (
            f"*Learning rate:* {plain(rates[-1])} minus {plain(rates[0])}, which must be. "
            if len(rates) > 1
            else ""
        )
        + seeds_of(data, noun="pair"),
        data,
        draw,
    )


VERDICTS = {
    "supported": Look("supported", INK, "solid", "o"),
    "not supported": Look("not supported", MUTED, DASHED, "s"),
    "inconclusive": Look("inconclusive", PINK, DASH_DOT, "D"),
    "refuted": Look("refuted", RED, DOTTED, "v"),
}


def verdict_shares(table: pd.DataFrame, options: dict) -> Drawing | None:
    """How often each verdict comes out against the true effect, by simulation."""
    shares = table.groupby("effect")[list(VERDICTS)].mean().sort_index()
    if shares.empty:
        return None
    studies = table.groupby("effect")["studies"].sum()
    data = (
        (100 * shares)
        .rename(columns=str)
        .reset_index()
        .melt("effect", var_name="verdict", value_name="percent")
        .assign(studies=lambda rows: rows["effect"].map(studies))
    )

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(1, 1, layout, height=2.3, sharex=False, sharey=False)
        figure.set_size_inches(layout.width if layout.narrow else 5.6, figure.get_size_inches()[1])
        ax = axes[0, 0]
        ax.axhline(100 * ALPHA, color=MUTED, lw=0.8, ls=DOTTED)
        for verdict, look in VERDICTS.items():
            y = 100 * shares[verdict]
            ax.plot(y.index, y, **look.point(4.5) | {"ls": look.dash, "lw": 1.6}, clip_on=False)
        ax.set_xlim(shares.index.min(), max(shares.index.max(), shares.index.min() + 0.1))
        ax.set_ylim(0, 103)
        ax.set_xticks(shares.index if not layout.narrow else shares.index[::2])
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.set_xlabel("true effect, in units of the smallest effect that matters")
        if layout.narrow:
            ax.set_xlabel("true effect / smallest that matters")
        ax.set_ylabel("share of the studies (%)")
        if layout.narrow:
            legend(figure, list(VERDICTS.values()), layout, wide=4, narrow=2)
        else:
            label_verdicts(ax, shares)
        note(ax, f"{100 * ALPHA:g}{SPACE}%", (1, 100 * ALPHA), (-2, 2), "axes data", ha="right")
        return figure

    ends = []
    for effect in in_order(shares.index, (0, 1, shares.index.max())) or [shares.index[0]]:
        row = 100 * shares.loc[effect]
        verdicts = listed(f"{decimal(row[v], 1)} percent {v}" for v in VERDICTS)
        ends.append(f"at {effect:g} times the smallest effect that matters, {verdicts}")
    return Drawing(
        "calibration",
        f"Verdicts of simulated studies: {'; '.join(ends)}.",
        f"How often each verdict comes out in {int(studies.min()):,} simulated studies of "
        f"{options['n']} seeds for each true effect, whose differences between seeds have a "
        f"standard deviation of {options['deviation']:g} times the smallest effect that matters. "
        "The dotted line marks the level of the test; at no true effect, the share of *supported* "
        "must stay below it.",
        data,
        draw,
    )


def label_verdicts(ax: Axes, shares: pd.DataFrame) -> None:
    """Write the verdicts beside their lines, where the lines are usually apart."""
    end = shares.index[-1]
    for verdict, share, side in (
        ("supported", 60, "left"),
        ("not supported", 60, "right"),
        ("inconclusive", 25, "right"),
    ):
        line = 100 * shares[verdict]
        x = crossing(line, share)
        y = share if x is not None else line[end]
        sideways = side if x is not None else "left"
        offset = (9 if sideways == "left" else -9, 0)
        place = (end if x is None else x, y)
        note(ax, verdict, place, offset, ha=sideways, va="center", fontsize=8)
    note(ax, "refuted", (end, 100 * shares["refuted"][end]), (9, 0), va="center", fontsize=8)


def crossing(line: pd.Series, share: float) -> float | None:
    """Where a line first crosses a share, None where it does not."""
    above = line.to_numpy() >= share
    steps = np.flatnonzero(above[1:] != above[:-1])
    if len(steps) == 0:
        return None
    (x0, x1), (y0, y1) = (np.asarray(v)[steps[0] : steps[0] + 2] for v in (line.index, line))
    return float(x0 + (x1 - x0) * (share - y0) / (y1 - y0))


FIGURES: dict[str, list[Callable[[pd.DataFrame, dict], Drawing | None]]] = {
    "identities": [identity_errors, identity_sweeps],
    "mechanisms": [mechanism_arms, mechanism_drift],
    "small_batches": [small_batches],
    "inference_statistics": [staleness, last_batch, shifted_images],
    "regularization": [overfitting_path, noise_doses, dropout],
    "timing": [step_times],
    "controls": [controls],
    "calibration": [verdict_shares],
}
