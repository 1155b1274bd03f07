"""The figures of the report, each drawn for a page and again for a phone.

A figure is a `Drawing`: the picture as a function of the layout, the caption that says what is
shown, the finding in words for whoever cannot see it, and the data behind it. Nothing here
touches pyplot or any other global state, and equal data give equal bytes.
"""

import io
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter
from scipy import stats

from bnstudy.claims.endpoints.core import add_seconds_per_step
from bnstudy.report.results import (
    METRICS,
    NORM_NAMES,
    SPACE,
    Comparison,
    Results,
    arm,
    counted,
    decimal,
    listed,
)
from bnstudy.report.svg import compact

INK, MUTED, GRID, PAPER = "#1b1f24", "#57606a", "#d8dee4", "#ffffff"
RC = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so glyphs are the same everywhere
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "bnstudy",
    "path.simplify": False,  # it takes the dots of single seeds, lines of no length, for nothing
}
TARGET = 0.95  # accuracy
CURVE_POINTS = 120  # per line; more cannot be told apart at this size


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


@dataclass(frozen=True)
class Layout:
    """Where a figure is shown: its width in inches, and whether panels must stack."""

    width: float
    narrow: bool


WIDE, NARROW = Layout(7.6, False), Layout(3.6, True)


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn at any width.

    Attributes
    ----------
    label : str
        Its name in cross-references (`fig-<label>`) and file names.
    finding : str
        Alternative text: what the picture shows.
    caption : str
        Markdown: what, n, units, uncertainty.
    data : pandas.DataFrame
        The numbers drawn.
    draw : callable
        Draws it for a layout.
    """

    label: str
    finding: str
    caption: str
    data: pd.DataFrame
    draw: Callable[[Layout], Figure]

    def svg(self, layout: Layout) -> str:
        """The picture as SVG, without time, tool or document type."""
        with mpl.rc_context(RC), warnings.catch_warnings():
            # A single run has a single value, around which matplotlib widens the axis by itself.
            warnings.filterwarnings("ignore", "Attempting to set identical low and high")
            figure = self.draw(layout)
            buffer = io.StringIO()
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(buffer, format="svg", metadata=nothing)
        return compact(buffer.getvalue())


def style(norm: str) -> ArmStyle:
    return ARM_STYLES.get(norm, ArmStyle("#cc78bc", "dotted", "^"))


def arm_name(norm: str) -> str:
    return NORM_NAMES.get(norm, norm)


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


def wrap(n: int, layout: Layout) -> tuple[int, int]:
    """Rows and columns that hold n small multiples."""
    columns = min(n, 2 if layout.narrow else 4)
    return math.ceil(n / columns), columns


def hide_unused(axes: np.ndarray, used: int) -> None:
    for ax in axes.flat[used:]:
        ax.set_visible(False)


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


def seeds_phrase(results: Results) -> str:
    """How many seeds a mean stands for, and what the band is."""
    if len(results.seeds) == 1:
        return "One seed, so there are no bands."
    return f"Lines are means over {results.n_seeds}, bands their pointwise 95{SPACE}% t-intervals."


def log_ticks(ax: Axes, which: str) -> None:
    """Write the ticks of a logarithmic axis as plain numbers, no more of them than it takes."""
    low, high = getattr(ax, f"get_{which}lim")()
    if high < 1.001 * low:  # a single value, such as the last step of runs that never arrived
        low, high = low / 1.5, high * 1.5
    getattr(ax, f"set_{which}lim")(low, high)
    decades = [10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)))]
    for digits in (
        (1,),
        (1, 3),
        (1, 2, 5),
        (1, 1.5, 2, 3, 5, 7),
        (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    ):
        ticks = [d * digit for d in [*decades, 10 * decades[-1]] for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= (2 if which == "x" else 3):
            break
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(FixedLocator(ticks) if ticks else MaxNLocator(3))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 10 else f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def percent_ticks(ax: Axes) -> None:
    """Write fractions as percentages."""
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{round(100 * y, 6):g}"))


def end_at_one(ax: Axes) -> None:
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, 0.0), min(high, 1.0))


def finish(axes: np.ndarray, accuracies: Iterable[Axes] = ()) -> None:
    """Set what depends on the limits of the axes, once everything is drawn.

    Logarithmic axes get their ticks, and axes of `accuracies` end where accuracy does.
    """
    for ax in accuracies:
        end_at_one(ax)
    for ax in axes.flat:
        for which in ("x", "y"):
            if getattr(ax, f"get_{which}scale")() == "log":
                log_ticks(ax, which)


def plot_band(ax: Axes, table: pd.DataFrame, x: str, norm: str, **line: object) -> None:
    look = style(norm)
    ax.plot(table[x], table["mean"], **{"color": look.color, "ls": look.dash} | line)
    if table["ci_low"].notna().any():
        ax.fill_between(
            table[x], table["ci_low"], table["ci_high"], color=look.color, alpha=0.18, lw=0
        )


def last_values(table: pd.DataFrame, norm: str, x: str) -> str:
    """`0.0812 at batch size 32` for the end of each curve of an arm."""
    rows = table[table["norm"] == norm]
    ends = rows.loc[rows.groupby("batch_size")[x].idxmax()]
    return listed(
        f"{decimal(row['mean'], 4)} at batch size {row['batch_size']}" for _, row in ends.iterrows()
    )


def learning_curves(results: Results, dataset: str) -> Drawing:
    """Validation loss and accuracy after each epoch, a column per batch size."""
    frame = results.select(results.metrics, dataset=dataset, split="validation")
    table = band(frame, ["metric", "norm", "batch_size", "epoch"])
    sizes, norms = results.batch_sizes, results.norms

    def draw(layout: Layout) -> Figure:
        grid = [(metric, size) for metric in ("loss", "accuracy") for size in sizes]
        rows, columns = (len(sizes), 2) if layout.narrow else (2, len(sizes))
        figure, axes = panels(
            rows,
            columns,
            layout,
            height=1.45 if layout.narrow else 1.65,
            sharex=True,
            sharey="col" if layout.narrow else "row",
        )
        for i, (metric, size) in enumerate(grid):
            row, column = divmod(i, len(sizes))
            ax = axes[column, row] if layout.narrow else axes[row, column]
            for norm in norms:
                curve = results.select(table, metric=metric, norm=norm, batch_size=size)
                plot_band(ax, curve, "epoch", norm, marker=style(norm).marker)
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            if metric == "loss":
                ax.set_yscale("log")
            else:
                percent_ticks(ax)
            if row == 0 or layout.narrow:
                ax.set_title(f"batch size {size}")
            if layout.narrow or column == 0:
                ax.set_ylabel("loss (nats)" if metric == "loss" else "accuracy (%)")
        for ax in axes[-1]:
            ax.set_xlabel("epoch")
        finish(axes, axes[:, 1] if layout.narrow else axes[1])
        arm_legend(figure, norms, layout)
        return figure

    loss = results.select(table, metric="loss")
    ends = "; ".join(f"{arm(norm)} {last_values(loss, norm, 'epoch')}" for norm in norms)
    return Drawing(
        results.label("curves", dataset),
        f"Lines over epochs 1 to {results.epochs} in a panel per batch size. Mean validation loss "
        f"after the last epoch: {ends}.",
        f"Validation loss (cross-entropy in nats, logarithmic scale) and validation accuracy on "
        f"{results.title(dataset)} at the end of each epoch, measured in evaluation mode. "
        f"{seeds_phrase(results)}{diverged_phrase(results, dataset)}",
        table,
        draw,
    )


def diverged_phrase(results: Results, dataset: str) -> str:
    """A warning where runs dropped out of a mean."""
    count = sum(results.diverged(dataset, norm) for norm in results.norms)
    if not count:
        return ""
    verb = "run diverged and counts" if count == 1 else "runs diverged and count"
    return f" {count} {verb} only up to the last finite measurement."


TRAIN_LOOKS = {
    "train": ("training, as trained", {"ls": (0, (1, 1.4)), "lw": 1.3, "marker": "x"}),
    "train_subset": ("training, evaluation mode", {"ls": (0, (4, 1.6)), "lw": 1.3, "marker": "v"}),
    "validation": ("validation", {"ls": "solid", "lw": 1.7, "marker": "o"}),
}


def train_against_validation(results: Results, dataset: str) -> Drawing:
    """Training and validation loss per epoch, a row per arm and a column per batch size."""
    frame = results.select(results.metrics, dataset=dataset, metric="loss")
    frame = frame[frame["split"].isin(TRAIN_LOOKS)]
    table = band(frame, ["norm", "batch_size", "split", "epoch"])
    sizes, norms = results.batch_sizes, results.norms

    def draw(layout: Layout) -> Figure:
        shape = (len(sizes), len(norms)) if layout.narrow else (len(norms), len(sizes))
        figure, axes = panels(
            *shape, layout, height=1.45 if layout.narrow else 1.65, sharex=True, sharey=True
        )
        for i, norm in enumerate(norms):
            for j, size in enumerate(sizes):
                ax = axes[j, i] if layout.narrow else axes[i, j]
                for split, (_, look) in TRAIN_LOOKS.items():
                    curve = results.select(table, norm=norm, batch_size=size, split=split)
                    plot_band(ax, curve, "epoch", norm, ms=3.2, **look)
                ax.set_yscale("log")
                ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
                top = j == 0 if layout.narrow else i == 0
                left = i == 0 if layout.narrow else j == 0
                name, batch = arm_name(norm), f"batch size {size}"
                if layout.narrow:
                    ax.set_title(f"{name}\n{batch}" if top else batch)
                elif top:
                    ax.set_title(batch)
                if left:
                    ax.set_ylabel("loss (nats)" if layout.narrow else f"{name}\nloss (nats)")
        for ax in axes[-1]:
            ax.set_xlabel("epoch")
        finish(axes)
        handles = [
            Line2D([], [], color=MUTED, label=label, ms=3.5, **look)
            for label, look in TRAIN_LOOKS.values()
        ]
        arm_legend(figure, (), layout, handles)
        return figure

    last = table[table["epoch"] == results.epochs]
    means = last.groupby(["norm", "split"])["mean"].mean()
    parts = [
        f"{decimal(means[norm, 'train_subset'], 4)} on training and "
        f"{decimal(means[norm, 'validation'], 4)} on validation images {arm(norm)}"
        for norm in norms
        if (norm, "validation") in means.index and (norm, "train_subset") in means.index
    ]
    ends = listed(parts) if parts else "no run reached the last epoch"
    return Drawing(
        results.label("gap", dataset),
        f"Training and validation loss over epochs, a row per arm. Mean loss after the last epoch "
        f"over the batch sizes: {ends}.",
        f"Training against validation loss on {results.title(dataset)} (cross-entropy in nats, "
        "logarithmic scale). *As trained* is the mean over an epoch in which the weights keep "
        "changing, in training mode; the other two are measured at the epoch's end, in evaluation "
        f"mode, so only these two compare like with like. {seeds_phrase(results)}"
        f"{diverged_phrase(results, dataset)}",
        table,
        draw,
    )


def probe_curves(results: Results, dataset: str) -> Drawing:
    """Accuracy on the validation probe over optimizer steps, on a logarithmic step axis."""
    frame = results.select(results.metrics, dataset=dataset, split="probe", metric="accuracy")
    table = band(frame[frame["step"] > 0], ["norm", "batch_size", "step"])
    sizes, norms = results.batch_sizes, results.norms
    floor = max(0.0, min(0.8, float(table["mean"].min()) if len(table) else 0.0))

    def draw(layout: Layout) -> Figure:
        rows, columns = wrap(len(sizes), layout)
        figure, axes = panels(rows, columns, layout, height=1.9, sharex=True, sharey=True)
        for ax, size in zip(axes.flat, sizes, strict=False):
            ax.axhline(TARGET, color=INK, lw=0.8, zorder=1)
            for norm in norms:
                curve = results.select(table, norm=norm, batch_size=size)
                plot_band(ax, thinned(curve, CURVE_POINTS), "step", norm)
            ax.set_xscale("log")
            ax.set_title(f"batch size {size}")
            ax.set_ylim(floor, 1.0)
            percent_ticks(ax)
        axes.flat[0].annotate(
            f"95{SPACE}%",
            (0, TARGET),
            (3, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=7.5,
        )
        for ax in axes[:, 0]:
            ax.set_ylabel("accuracy (%)")
        for ax in axes[-1]:
            ax.set_xlabel("step")
        finish(axes)
        hide_unused(axes, len(sizes))
        arm_legend(figure, norms, layout)
        return figure

    counts = listed(
        f"{reached_count(results, dataset, norm)} of "
        f"{counted(len(results.select(results.runs, dataset=dataset, norm=norm)), 'run')} "
        f"{arm(norm)}"
        for norm in norms
    )
    return Drawing(
        results.label("probe", dataset),
        f"Accuracy rising over optimizer steps, a panel per batch size, with a line at 95 percent "
        f"that was reached by {counts}.",
        f"Accuracy on a fixed set of validation images of {results.title(dataset)} against the "
        f"number of optimizer steps (logarithmic scale), measured every "
        f"{results.config['training']['probe_every']} steps in evaluation mode. "
        f"{seeds_phrase(results)} A step at a larger batch size sees more images.",
        table,
        draw,
    )


def reached_count(results: Results, dataset: str, norm: str) -> int:
    """Runs that reached the target accuracy."""
    runs = results.select(results.runs, dataset=dataset, norm=norm)
    return int(runs["steps_to_95"].notna().sum())


def thinned(table: pd.DataFrame, points: int) -> pd.DataFrame:
    """At most about `points` rows, evenly spread over the logarithm of the row number."""
    if len(table) <= points:
        return table
    rows = np.unique(np.geomspace(1, len(table), points).round().astype(int)) - 1
    return table.iloc[rows]


def accuracy_by_time(results: Results, dataset: str) -> Drawing:
    """Accuracy against seconds of training by batch size, and the best of all batch sizes.

    A step takes each run's own seconds, as in the endpoint `seconds_to_95` of the core grid; the
    means over seeds stand at the median of their seeds' times.
    """
    runs, metrics, timings = (
        results.select(frame, dataset=dataset)
        for frame in (results.runs, results.metrics, results.timings)
    )
    pace = add_seconds_per_step(runs, metrics, timings).groupby(["norm", "batch_size"])
    seconds = pace["seconds_per_step"].median().rename("seconds_per_step")
    probes = results.select(metrics, split="probe", metric="accuracy")
    table = band(probes[probes["step"] > 0], ["norm", "batch_size", "step"])
    table = table.merge(seconds, on=["norm", "batch_size"])
    table.insert(3, "seconds", table.pop("seconds_per_step") * table["step"])
    sizes, norms = results.batch_sizes, results.norms
    frontiers = {norm: frontier(results.select(table, norm=norm)) for norm in norms}
    parts = [*sizes] + (["best of all"] if len(sizes) > 1 else [])
    floor = max(0.0, min(0.8, float(table["mean"].min()) if len(table) else 0.0))

    def draw(layout: Layout) -> Figure:
        columns = min(len(parts), 2 if layout.narrow else 3)
        shape = math.ceil(len(parts) / columns), columns
        figure, axes = panels(*shape, layout, height=1.7, sharex=True, sharey=True)
        for ax, part in zip(axes.flat, parts, strict=False):
            ax.axhline(TARGET, color=INK, lw=0.8, zorder=1)
            for norm in norms:
                if part == "best of all":
                    look, best = style(norm), thinned(frontiers[norm], CURVE_POINTS)
                    line = {"color": look.color, "ls": look.dash, "drawstyle": "steps-post"}
                    ax.plot(best["seconds"], best["mean"], **line)
                else:
                    curve = results.select(table, norm=norm, batch_size=part)
                    plot_band(ax, thinned(curve, CURVE_POINTS), "seconds", norm)
            ax.set_xscale("log")
            ax.set_title(part if part == "best of all" else f"batch size {part}")
            ax.set_ylim(floor, 1.0)
            percent_ticks(ax)
        for ax in axes[:, 0]:
            ax.set_ylabel("accuracy (%)")
        for ax in axes.flat[max(0, len(parts) - columns) : len(parts)]:
            ax.set_xlabel("seconds of training")
            ax.tick_params(labelbottom=True)  # also where nothing stands below
        finish(axes)
        hide_unused(axes, len(parts))
        arm_legend(figure, norms, layout)
        return figure

    across = " with the best batch size for that" if len(sizes) > 1 else ""
    best = (
        " *Best of all* is the highest mean accuracy that any batch size has reached by then."
        if len(sizes) > 1
        else ""
    )
    return Drawing(
        results.label("accuracy-by-time", dataset),
        f"Accuracy rising over seconds of training. The first mean accuracy of 95 percent is "
        f"reached{across} {listed(arrival(frontiers[norm], norm) for norm in norms)}.",
        f"Accuracy on a fixed set of validation images of {results.title(dataset)} against the time "
        f"spent in training (logarithmic scale), without that spent measuring. {seeds_phrase(results)} "
        f"They stand at the median of the seeds' times. The line is at 95{SPACE}%.{best} Runs may "
        "have shared the machine with others.",
        table,
        draw,
    )


def frontier(curves: pd.DataFrame) -> pd.DataFrame:
    """The highest mean accuracy of any curve by each time, at the times at which it rises."""
    best = curves.sort_values("seconds")[["seconds", "mean"]]
    highest = best["mean"].cummax()
    return best[highest > highest.shift(fill_value=-math.inf)]


def arrival(best: pd.DataFrame, norm: str) -> str:
    """When a frontier reaches the target."""
    there = best[best["mean"] >= TARGET]
    if there.empty:
        return f"never {arm(norm)}"
    return f"after {there['seconds'].iloc[0]:.2g} s {arm(norm)}"


def steps_to_target(results: Results, dataset: str) -> Drawing:
    """Steps to 95 % of each seed, the arms side by side, a panel per batch size."""
    runs = results.select(results.scored("steps_to_95"), dataset=dataset)
    sizes, norms = results.batch_sizes, results.norms
    runs = runs.assign(reached=runs["steps_to_95"].notna())
    table = runs[["batch_size", "seed", "norm", "value", "reached"]].rename(
        columns={"value": "steps"}
    )

    def draw(layout: Layout) -> Figure:
        rows, columns = wrap(len(sizes), layout)
        figure, axes = panels(rows, columns, layout, height=1.9, sharex=True, sharey=True)
        for ax, size in zip(axes.flat, sizes, strict=False):
            ax.set_yscale("log")
            cell = results.select(runs, batch_size=size)
            wide = cell.pivot(index="seed", columns="norm", values="value").reindex(columns=norms)
            for _, seed in wide.iterrows():
                ax.plot(range(len(norms)), seed, color=MUTED, lw=0.6, alpha=0.7, zorder=1)
            for x, norm in enumerate(norms):
                one = results.select(cell, norm=norm)
                for reached, marker in ((True, style(norm).marker), (False, "^")):
                    some = one[one["reached"] == reached]["value"]
                    ax.plot(
                        [x] * len(some),
                        some,
                        ls="none",
                        marker=marker,
                        color=style(norm).color,
                        mfc=style(norm).color if reached else "none",
                        ms=3.8 if reached else 5,
                        zorder=3,
                    )
            means = np.exp(np.log(wide.astype(float)).mean())
            ax.plot(range(len(norms)), means, color=INK, lw=1.8, zorder=2)
            ax.set_title(f"batch size {size}")
            ax.set_xlim(-0.45, len(norms) - 0.55)
            ax.grid(axis="x", visible=False)
            ax.set_xticks(range(len(norms)), [short_arm(norm) for norm in norms])
        for ax in axes[:, 0]:
            ax.set_ylabel(f"steps to 95{SPACE}%")
        finish(axes)
        hide_unused(axes, len(sizes))
        extra = [Line2D([], [], color=INK, lw=1.8, label="geometric mean")]
        if not runs["reached"].all():
            extra.append(
                Line2D([], [], color=MUTED, ls="none", marker="^", mfc="none", label="not reached")
            )
        arm_legend(figure, (), layout, extra)
        return figure

    log_means = (
        np.log(runs["value"].astype(float)).groupby([runs["norm"], runs["batch_size"]]).mean()
    )
    parts = "; ".join(
        f"{arm(norm)} "
        + listed(
            f"{math.exp(log_means[norm, size]):,.0f} at batch size {size}"
            for size in sizes
            if (norm, size) in log_means.index
        )
        for norm in norms
    )
    return Drawing(
        results.label("steps", dataset),
        f"A thin line per seed joins its runs. Geometric mean of the steps to 95 percent: {parts}.",
        f"Optimizer steps until the accuracy on the validation probe of {results.title(dataset)} "
        f"first held 95{SPACE}% (median of three successive measurements; logarithmic scale). A "
        f"thin line is one seed, {results.n_seeds} per panel. Open triangles "
        "never reached it and are drawn at their last step.",
        table,
        draw,
    )


def short_arm(norm: str) -> str:
    return {"none": "none", "batch": "batch", "layer": "layer"}.get(norm, norm)


PAIRED_METRICS = ("test_accuracy", "test_loss", "ln_steps_to_95")
PAIRED_TITLES = {
    "test_accuracy": "test accuracy (percentage points)",
    "test_loss": "test loss (nats)",
    "ln_steps_to_95": f"steps to 95{SPACE}% (ratio)",
}


def paired_differences(results: Results, dataset: str, norm: str) -> Drawing:
    """The difference of every seed, with mean and interval, by batch size and over all."""
    levels: list[int | str] = [*results.batch_sizes]
    if len(levels) > 1:
        levels.append("all")
    rows = []
    for metric in PAIRED_METRICS:
        scored = results.select(results.scored(metric), dataset=dataset)
        wide = scored.pivot(index="seed", columns=["norm", "batch_size"], values="value")
        wide = wide.reindex(columns=list(product((norm, "none"), results.batch_sizes)))
        differences = wide[norm] - wide["none"]
        differences["all"] = differences.mean(axis=1, skipna=False)
        for level in levels:
            complete = differences[level].dropna()
            rows += [(metric, str(level), seed, d) for seed, d in complete.items()]
    table = pd.DataFrame(rows, columns=["metric", "batch_size", "seed", "difference"])
    shown = {
        (metric, str(level)): results.compare(dataset, norm, metric, level)
        for metric in PAIRED_METRICS
        for level in levels
    }

    def draw(layout: Layout) -> Figure:
        shape = (3, 1) if layout.narrow else (1, 3)
        height = 0.75 + 0.31 * len(levels)
        figure, axes = panels(*shape, layout, height=height, sharex=False, sharey=True)
        for ax, metric in zip(axes.flat, PAIRED_METRICS, strict=True):
            forest(ax, results.select(table, metric=metric), shown, metric, levels, norm)
        for ax in axes[:, 0]:
            ax.set_ylabel("batch size")
        look = style(norm)
        extra = [
            Line2D(
                [], [], ls="none", marker="o", mfc="none", color=MUTED, ms=3.5, label="one seed"
            ),
            Line2D(
                [], [], color=look.color, marker=look.marker, label=f"mean and 95{SPACE}% interval"
            ),
        ]
        arm_legend(figure, (), layout, extra)
        return figure

    overall = [shown[metric, str(levels[-1])] for metric in PAIRED_METRICS]
    numbers = "; ".join(
        f"{c.of.title} {c.of.difference(c.difference)} {c.of.unit}, better in {c.seeds_in_favour} "
        f"of {counted(c.n, 'seed')}"
        for c in overall
        if c
    )
    label = "paired" if norm == results.treatments[0] else f"paired-{norm}"
    return Drawing(
        results.label(label, dataset),
        f"Dots for single seeds around their means, a row per batch size. Overall: {numbers}.",
        f"Differences between {arm_name(norm)} and {arm_name('none')} on {results.title(dataset)}, "
        f"paired by seed ({results.n_seeds}): each open circle is one pair of "
        f"runs, each bar the mean with its 95{SPACE}% t-interval. The vertical line marks no "
        "difference; steps are a ratio on a logarithmic scale, and below 1 means fewer steps.",
        table,
        draw,
    )


def forest(
    ax: Axes,
    table: pd.DataFrame,
    shown: dict[tuple[str, str], Comparison | None],
    metric: str,
    levels: Sequence[int | str],
    norm: str,
) -> None:
    """One metric's differences: a row per level, seeds as circles, mean and interval as a bar."""
    of, look = METRICS[metric], style(norm)
    ratio = of.kind == "ratio"
    scale: Callable = np.exp if ratio else (lambda x: 100 * x if of.kind == "accuracy" else x)
    ax.axvline(1 if ratio else 0, color=INK, lw=0.8, zorder=1)
    for y, level in enumerate(levels):
        values = scale(results_values(table, level))
        spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(len(values))
        ax.plot(values, y + spread, ls="none", marker="o", mfc="none", color=MUTED, ms=3, mew=0.7)
        c = shown[metric, str(level)]
        if c is None or math.isnan(c.difference):
            continue
        if not math.isnan(c.ci_low):
            ax.plot(scale(np.array([c.ci_low, c.ci_high])), [y, y], color=look.color, lw=2.4)
        ax.plot(
            scale(c.difference), y, marker=look.marker, color=look.color, ms=6, mec=PAPER, zorder=4
        )
    if "all" in levels:
        ax.axhline(len(levels) - 1.5, color=MUTED, lw=0.6)
    ax.set_yticks(range(len(levels)), [str(level) for level in levels])
    ax.set_ylim(len(levels) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set_title(of.title)
    ax.set_xlabel(PAIRED_TITLES[metric].split(" (")[1].rstrip(")"))
    if ratio:
        ax.set_xscale("log")
        log_ticks(ax, "x")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}".replace("-", "\u2212")))


def results_values(table: pd.DataFrame, level: int | str) -> np.ndarray:
    return table[table["batch_size"] == str(level)]["difference"].to_numpy(float)


EFFECT_METRICS = ("test_accuracy", "test_loss", "steps_to_95")


def batch_size_effect(results: Results, dataset: str) -> Drawing:
    """How each arm's test accuracy, test loss and speed change with the batch size."""
    frames = []
    for metric in EFFECT_METRICS:
        scored = results.select(results.scored(metric), dataset=dataset)
        frames.append(scored[["norm", "batch_size", "seed", "value"]].assign(metric=metric))
    points = pd.concat(frames)
    logs = points["metric"] == "steps_to_95"
    averaged = points.assign(value=points["value"].where(~logs, np.log(points["value"])))
    table = band(averaged, ["metric", "norm", "batch_size"])
    steps = table["metric"] == "steps_to_95"
    columns = ["mean", "ci_low", "ci_high"]
    table.loc[steps, columns] = np.exp(table.loc[steps, columns])
    sizes, norms = results.batch_sizes, results.norms

    def draw(layout: Layout) -> Figure:
        shape = (3, 1) if layout.narrow else (1, 3)
        figure, axes = panels(*shape, layout, height=2.1, sharex=True, sharey=False)
        for ax, metric in zip(axes.flat, EFFECT_METRICS, strict=True):
            ax.set_yscale("log" if metric == "steps_to_95" else "linear")
            for i, norm in enumerate(norms):
                look = style(norm)
                x = 2 ** (0.09 * (i - (len(norms) - 1) / 2))
                seeds = results.select(points, metric=metric, norm=norm)
                mean = results.select(table, metric=metric, norm=norm)
                ax.plot(
                    seeds["batch_size"] * x,
                    seeds["value"],
                    ls="none",
                    marker=look.marker,
                    color=look.color,
                    ms=2.6,
                    alpha=0.35,
                    mew=0,
                )
                bars = mean[["ci_low", "ci_high"]].to_numpy(float).T - mean["mean"].to_numpy(float)
                ax.errorbar(
                    mean["batch_size"] * x,
                    mean["mean"],
                    yerr=np.nan_to_num(np.abs(bars)),
                    color=look.color,
                    ls=look.dash,
                    marker=look.marker,
                    capsize=2,
                    elinewidth=1.2,
                )
            ax.set_xscale("log", base=2)
            ax.set_xticks(sizes, [str(size) for size in sizes])
            ax.set_xlim(min(sizes) / 1.35, max(sizes) * 1.35)
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_title(METRICS[metric].title)
            ax.set_xlabel("batch size")
            if metric == "test_accuracy":
                percent_ticks(ax)
                ax.set_ylabel("%")
            elif metric == "test_loss":
                ax.set_ylabel("nats")
            else:
                log_ticks(ax, "y")
                ax.set_ylabel("steps")
        end_at_one(axes.flat[0])
        arm_legend(figure, norms, layout)
        return figure

    accuracy = results.select(table, metric="test_accuracy").set_index(["norm", "batch_size"])[
        "mean"
    ]
    parts = "; ".join(
        f"{arm(norm)} "
        + listed(
            f"{decimal(100 * accuracy[norm, size], 2)} percent at batch size {size}"
            for size in sizes
            if (norm, size) in accuracy.index
        )
        for norm in norms
    )
    return Drawing(
        results.label("batch-size", dataset),
        f"Test accuracy, test loss and steps against batch size. Mean test accuracy: {parts}.",
        f"What the batch size does to each arm on {results.title(dataset)} after "
        f"{counted(results.epochs, 'epoch')}: small marks are seeds, large marks means with "
        f"95{SPACE}% t-intervals ({results.n_seeds}). Means of steps are "
        f"geometric; a run that never reached 95{SPACE}% counts with all its steps.",
        table,
        draw,
    )


def sample_images(data: object, label: str = "samples", per_class: int = 6) -> Drawing:
    """The first training images of every class, as they are stored.

    `data` is a `bnstudy.data.prepared.PreparedData`.
    """
    labels = data.train_labels.numpy()
    picks = [np.flatnonzero(labels == c)[:per_class] for c in range(len(data.classes))]
    images = data.train_images.numpy()
    table = pd.DataFrame(
        [
            (name, int(index), round(float(images[index].mean()) / data.pixel_max, 4))
            for name, indices in zip(data.classes, picks, strict=True)
            for index in indices
        ],
        columns=["class", "index in the training set", "mean brightness (0 to 1)"],
    )

    def draw(layout: Layout) -> Figure:
        count = 4 if layout.narrow else per_class
        grid = [[image_cell(images[i], data.pixel_max) for i in pick[:count]] for pick in picks]
        mosaic = tiled(grid if layout.narrow else list(map(list, zip_longest(*grid))))
        aspect = mosaic.shape[0] / mosaic.shape[1]
        width = 0.62 * layout.width if layout.narrow else layout.width
        figure = Figure(figsize=(width, 0.94 * width * aspect + (0.05 if layout.narrow else 0.3)))
        ax = figure.subplots()
        ax.imshow(mosaic, interpolation="none")
        axis = ax.yaxis if layout.narrow else ax.xaxis
        side = mosaic.shape[0 if layout.narrow else 1] / len(grid)
        crowded = not layout.narrow and max(map(len, data.classes)) > 7
        axis.set_ticks((np.arange(len(grid)) + 0.5) * side - 0.5, data.classes)
        (ax.xaxis if layout.narrow else ax.yaxis).set_ticks([])
        ax.tick_params(length=0, labelrotation=35 if crowded else 0)
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        return figure

    height, width = images.shape[-2:]
    return Drawing(
        label,
        f"Training images of the {len(data.classes)} classes of {data.title}, "
        f"{listed(data.classes)}: examples of one class differ visibly in shape and brightness.",
        f"The first training images of each class of {data.title}, {height} by {width} pixels, in "
        "the order of the file and as stored (black is 0).",
        table,
        draw,
    )


def image_cell(image: np.ndarray, pixel_max: int) -> np.ndarray:
    """A stored image (C, H, W) as (H, W, 4) in [0, 1], with a transparent margin.

    Small images are enlarged a whole number of times, so that their pixels stay squares.
    """
    factor = max(1, 56 // image.shape[-1])
    channels = image.astype(float).repeat(factor, axis=1).repeat(factor, axis=2) / pixel_max
    colour = np.broadcast_to(channels, (3, *channels.shape[1:])) if len(channels) == 1 else channels
    cell = np.concatenate([colour, np.ones((1, *channels.shape[1:]))]).transpose(1, 2, 0)
    margin = max(1, cell.shape[1] // 28)
    return np.pad(cell, ((margin, margin), (margin, margin), (0, 0)))


def tiled(grid: list[list[np.ndarray | None]]) -> np.ndarray:
    """Images of one shape in rows and columns; a missing one leaves its place empty."""
    empty = np.zeros_like(next(cell for row in grid for cell in row if cell is not None))
    rows = zip_longest(*zip_longest(*grid))  # rows of equal length
    return np.concatenate(
        [np.concatenate([empty if c is None else c for c in row], axis=1) for row in rows], axis=0
    )


def class_balance(data: object, label: str = "balance") -> Drawing:
    """The share of every class in the training and in the test set.

    `data` is a `bnstudy.data.prepared.PreparedData`.
    """
    n_classes = len(data.classes)
    train = np.bincount(data.train_labels.numpy(), minlength=n_classes)
    test = np.bincount(data.test_labels.numpy(), minlength=n_classes)
    table = pd.DataFrame(
        {
            "class": data.classes,
            "training and validation images": train,
            "share of training and validation (%)": (100 * train / train.sum()).round(2),
            "test images": test,
            "share of test (%)": (100 * test / test.sum()).round(2),
        }
    )

    def draw(layout: Layout) -> Figure:
        height = 0.21 * n_classes + 0.9
        figure = Figure(figsize=(min(layout.width, 5.6), height))
        ax = figure.subplots()
        y = np.arange(n_classes)
        ax.axvline(100 / n_classes, color=INK, lw=0.8, zorder=1.5)
        shares = 100 * train / train.sum()
        ax.barh(y, shares, height=0.62, color=GRID, label="training and validation")
        ax.plot(
            100 * test / test.sum(), y, ls="none", marker="D", color=MUTED, mfc=PAPER, label="test"
        )
        ax.set_yticks(y, data.classes)
        ax.set_ylim(n_classes - 0.4, -0.6)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("share of images (%)")
        ax.set_ylabel("class")
        figure.legend(loc="outside upper left", ncols=2, borderpad=0, handletextpad=0.2)
        return figure

    shares = 100 * train / train.sum()
    least, most = int(shares.argmin()), int(shares.argmax())
    return Drawing(
        label,
        f"Class shares of {data.title} lie between {shares[least]:.1f} percent (class "
        f"{data.classes[least]}) and {shares[most]:.1f} percent (class {data.classes[most]}) of "
        "the training and validation images.",
        f"Share of each class in the {train.sum():,} images for training and validation and in the "
        f"{test.sum():,} test images of {data.title}. The vertical line is an equal share, "
        f"{100 / n_classes:.0f}{SPACE}%.",
        table,
        draw,
    )


def four_samples(table: pd.DataFrame) -> Drawing:
    """The steps of batch normalization on a small batch, as points on three number lines.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per sample; the columns are the successive values, their names the lines' labels.
    """
    lines = list(table.columns)

    def draw(layout: Layout) -> Figure:
        figure = Figure(figsize=(min(layout.width, 6.4), 0.72 * len(lines) + 0.5))
        ax = figure.subplots()
        for y, line in enumerate(lines):
            values = table[line].to_numpy(float)
            ax.axhline(y, color=GRID, lw=0.8, zorder=0)
            ax.plot(values.mean(), y, marker="|", color=INK, ms=17, mew=1.2, zorder=1)
            ax.plot(values, [y] * len(values), ls="none", marker="o", color=style("batch").color)
            for rank, value in enumerate(np.sort(values)):
                ax.annotate(
                    decimal(value, 2).removesuffix(".00"),
                    (value, y),
                    (0, 6 if rank % 2 else -13),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7.5,
                )
        for y in range(len(lines) - 1):
            for a, b in zip(table[lines[y]], table[lines[y + 1]], strict=True):
                ax.plot([a, b], [y, y + 1], color=MUTED, lw=0.5, alpha=0.6, zorder=0)
        ax.set_yticks(range(len(lines)), lines)
        ax.set_ylim(len(lines) - 0.6, -0.55)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("value of one feature")
        return figure

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
            color = style("batch").color if mode == 0 else INK
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
