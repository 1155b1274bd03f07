"""Figures of the studies of training with and without batch normalization, and of its gradients.

Input scaling (S1b), learning rates (S2), initial gains (S3), depth (S4), gradients in training (S4b)
and at initialization (S5), the loss landscape (S6), Ioffe and Szegedy's set-up (S12), Fashion-MNIST
(S13) and stability (S14). `FIGURES` has, for every study, functions of the study's table and options. Nothing is drawn
for an arm, a depth or a rate that the table does not have.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from bnstudy.datasets import DATASETS
from bnstudy.endpoints.init_gradients import TOLERANCE, growth_by_network
from bnstudy.endpoints.learning_rates import BAND_POINTS, cell_names, largest_rate
from bnstudy.endpoints.scoring import FAILED_BELOW, accuracy, diverged, steps
from bnstudy.figures import (
    GRID,
    INK,
    MUTED,
    PAPER,
    Drawing,
    Layout,
    arm_legend,
    arm_name,
    band,
    log_ticks,
    panels,
    style,
)
from bnstudy.results import BASELINE, SPACE, arm, counted, decimal, listed

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


def geometric_mean(values: pd.Series) -> float:
    return math.exp(np.log(values.astype(float)).mean()) if len(values) else math.nan


def differences(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`value` with batch normalization minus without, a row per seed and cell with both."""
    wide = frame.pivot(index=[*by, "seed"], columns="norm", values="value")
    wide = wide.reindex(columns=[BASELINE, "batch"]).astype(float)
    return (wide["batch"] - wide[BASELINE]).dropna().rename("value").reset_index()


# Input scaling (S1b)


def input_scaling(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps and test accuracy of both arms by input scaling, and below them what each pair gains."""
    target = f"{round(100 * options['target'], 1):g}{SPACE}%"
    frames = {
        "steps": targets(table),
        "accuracy": table.assign(value=accuracy(table, "test_accuracy"), censored=False),
    }
    frames = {key: frame.rename(columns={"scaling": "level"}) for key, frame in frames.items()}
    levels, norms = in_order(table["scaling"]), arms(table)
    logs = frames["steps"].assign(value=-np.log(frames["steps"]["value"]))
    gains = {
        "steps": differences(logs, ["level"]),
        "accuracy": differences(frames["accuracy"], ["level"]),
    }
    gains["steps"]["value"] = np.exp(gains["steps"]["value"])
    titles = {"steps": f"steps to {target}", "accuracy": "test accuracy (%)"}
    gain_titles = {"steps": "gain (ratio)", "accuracy": "gain (points)"}
    paired = len(gains["steps"]) > 0

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(2 if paired else 1, 2, layout, height=1.9, sharex=True, sharey=False)
        for column, key in enumerate(frames):
            ax = axes[0, column]
            strip(ax, frames[key], levels, norms, logarithmic=key == "steps")
            ax.set_title(titles[key])
            if paired:
                gain_slopes(axes[1, column], gains[key], levels, ratio=key == "steps")
                axes[1, column].set_title(gain_titles[key])
        for ax in axes[-1]:
            ax.set_xlabel("input scaling")
            ax.tick_params(axis="x", labelsize=7 if layout.narrow else 8)
        scale_axes(axes)
        arm_legend(figure, norms, layout, censored_handle(frames["steps"], "not reached"))
        return figure

    parts = [
        f"with {name(level)} input the geometric mean of the steps is "
        + per_arm(
            select(frames["steps"], level=level),
            lambda rows: f"{geometric_mean(rows['value']):,.0f}",
        )
        + ", the mean test accuracy "
        + per_arm(
            select(frames["accuracy"], level=level),
            lambda rows: f"{decimal(rows['value'].mean(), 2)} percent",
        )
        for level in levels
    ]
    note = (
        " Below, each line is a seed: how many times fewer steps its batch-normalized run took, and "
        "by how many percentage points its test accuracy is higher; the horizontal line is no "
        "difference, black marks are means with their intervals."
    )
    data = pd.concat(
        [
            frame[["level", "norm", "seed", "value", "censored"]].assign(measure=key)
            for key, frame in frames.items()
        ]
    ).rename(columns={"level": "scaling"})
    return Drawing(
        "input-scaling",
        f"Seeds and means of both arms for each input scaling: {'; '.join(parts)}.",
        f"Steps to {target} accuracy on the validation probe (logarithmic scale) and test accuracy "
        f"after {counted(options['epochs'], 'epoch')}, batch size {options['batch_size']}, for "
        "pixels scaled to the range from \N{MINUS SIGN}1 to 1 (symmetric) and to mean 0 and "
        f"standard deviation 1 (standardized). Small marks are single runs ({seeds_of(table)}, thin lines "
        f"join the runs of one), large ones the mean{interval_phrase(table)}."
        f"{note if paired else ''}",
        data,
        draw,
    )


def gain_slopes(ax: Axes, gains: pd.DataFrame, levels: Sequence, *, ratio: bool) -> None:
    """A line per seed across the levels, and the mean of each level with its interval."""
    ax.axhline(1 if ratio else 0, color=INK, lw=0.8, zorder=1)
    if ratio:
        ax.set_yscale("log")
    wide = gains.pivot(index="seed", columns="level", values="value").reindex(columns=levels)
    x = np.broadcast_to(np.arange(len(levels)), wide.shape)
    thin_lines(ax, x, wide.to_numpy(float), lw=0.7, marker="o", ms=2.8, mew=0, alpha=0.6)
    means = averaged(gains, ["level"], logarithmic=ratio)
    places = means["level"].map(levels.index)
    mean_marks(ax, places + np.where(places > 0, 0.2, -0.2), means, INK, "D")
    ax.set_xticks(range(len(levels)), [name(level) for level in levels])
    ax.grid(axis="x", visible=False)
    if not ratio:
        true_minus(ax.yaxis)


# Learning rates (S2) and initial gains (S3)


def sweep(
    ax: Axes, frame: pd.DataFrame, x: str, norms: Sequence[str], *, failed: dict[str, object]
) -> None:
    """Seeds as dots and the median of each arm as a line over a logarithmic axis.

    `frame` has the columns `x`, norm, seed, value and failed; `failed` is how the latter are drawn.
    """
    ax.set_xscale("log")
    values = np.sort(frame[x].unique())
    step = float(np.diff(np.log10(values)).min()) if len(values) > 1 else 1.0
    for i, norm in enumerate(norms):
        one = select(frame, norm=norm)
        shift = 0.36 * step * (i - (len(norms) - 1) / 2)
        offset = one.groupby(x)["value"].transform(lambda v: spread(len(v), 0.12 * step))
        places = one[x] * 10 ** (shift + offset)
        good = ~one["failed"]
        dots(ax, places[good], one[good]["value"], norm, 2.4)
        marks(ax, places[~good], one[~good]["value"], norm, **failed)
        median = one.groupby(x)["value"].median()
        look = style(norm)
        ax.plot(
            median.index * 10**shift, median, color=look.color, ls=look.dash, lw=1.6, zorder=1.8
        )
    ax.set_xlim(values[0] * 10 ** (-0.6 * step), values[-1] * 10 ** (0.6 * step))


def band_bars(ax: Axes, frame: pd.DataFrame, x: str, norms: Sequence[str]) -> None:
    """Below zero, a bar per arm over the settings within a point of each seed's best."""
    for i, norm in enumerate(norms):
        ends = usable(select(frame, norm=norm), x)
        if ends is None:
            continue
        y, pad = -7.0 * (i + 1), 10**0.09
        ax.plot(
            [ends[0] / pad, ends[1] * pad],
            [y, y],
            color=style(norm).color,
            lw=3.2,
            solid_capstyle="butt",
            clip_on=False,
        )
    ax.set_ylim(-7.0 * len(norms) - 5, 104)
    ax.set_yticks(range(0, 101, 25))
    ax.spines["left"].set_bounds(0, 100)


def usable(frame: pd.DataFrame, x: str) -> tuple[float, float] | None:
    """Medians over seeds of the ends of the band within a point of the seed's best accuracy.

    None for an arm of which no run trained.
    """
    trained = frame[~frame["failed"]]
    if trained.empty:
        return None
    best = trained.groupby("seed")["value"].transform("max")
    within = trained[trained["value"] >= best - BAND_POINTS].groupby("seed")[x]
    low, high = (10 ** float(np.log10(end).median()) for end in (within.min(), within.max()))
    return low, high


def sweep_panels(
    rows: Sequence, columns: Sequence, layout: Layout
) -> tuple[Figure, np.ndarray, list[tuple[int, int, Axes]]]:
    """Axes of a sweep and, for each row and column of the design, the one that shows it."""
    count = len(rows) * len(columns)
    shape = (count, 1) if layout.narrow else (len(rows), len(columns))
    height = 1.6 if layout.narrow else 1.85
    sharex = False if layout.narrow else "col"
    figure, axes = panels(*shape, layout, height=height, sharex=sharex, sharey=True)
    if not layout.narrow and len(columns) > 1:
        figure.set_figwidth(layout.width)
    cells = [(i, j) for i in range(len(rows)) for j in range(len(columns))]
    return figure, axes, [(i, j, ax) for (i, j), ax in zip(cells, axes.flat, strict=True)]


def swept_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(value=accuracy(table), failed=diverged(table))


def accuracy_sweep(
    frame: pd.DataFrame, x: str, x_label: str, row_axis: str, title: Callable[[object, object], str]
) -> Callable[[Layout], Figure]:
    """A panel per optimizer and value of `row_axis`: final accuracy over a swept setting."""
    rows, columns, norms = in_order(frame[row_axis]), in_order(frame["optimizer"]), arms(frame)

    def draw(layout: Layout) -> Figure:
        figure, axes, cells = sweep_panels(rows, columns, layout)
        for i, j, ax in cells:
            cell = select(frame, **{row_axis: rows[i], "optimizer": columns[j]})
            if cell.empty:
                ax.set_visible(False)
                continue
            sweep(ax, cell, x, norms, failed=CROSS)
            band_bars(ax, cell, x, norms)
            ax.set_title(title(columns[j], rows[i]))
        outer_labels(axes, x_label, "accuracy (%)")
        scale_axes(axes)
        extra = [Line2D([], [], color=MUTED, lw=3.2, label="usable band")]
        if frame["failed"].any():
            extra.append(Line2D([], [], color=MUTED, ls="none", marker="x", label="diverged"))
        arm_legend(figure, norms, layout, extra)
        return figure

    return draw


def diverged_counts(frame: pd.DataFrame) -> str:
    return per_arm(frame, lambda rows: f"{int(rows['failed'].sum())} of {runs(len(rows))}")


SWEEP_NOTE = (
    "Small marks are single runs, lines join the medians; a cross is a run whose loss was not finite or "
    f"that ended below {100 * FAILED_BELOW:.0f}{SPACE}%, and counts as guessing. Bars at the foot "
    f"are the usable band: the settings within {BAND_POINTS:g} percentage point of a seed's best, "
    "median ends over seeds."
)


def learning_rates(table: pd.DataFrame, options: dict) -> Drawing:
    """Final accuracy over the learning rate, a panel per optimizer and batch size."""
    frame = swept_accuracy(table).sort_values("batch_size", ascending=False, kind="stable")
    scored = frame.assign(accuracy=frame["value"], cell=cell_names(frame))
    highest, _ = largest_rate(scored, 100 * options["trained_at"])
    medians = 10 ** highest.groupby(level=["norm", "cell"]).median()
    parts = [
        f"{cell.replace('sgd', 'SGD').replace('adam', 'Adam')}, "
        + listed(f"{number(medians[norm, cell])} {arm(norm)}" for norm in arms(table))
        for cell in in_order(scored["cell"])
        if all((norm, cell) in medians.index for norm in arms(table))
    ]
    columns = ["optimizer", "batch_size", "norm", "learning_rate", "seed", "value", "failed"]
    return Drawing(
        "learning-rates",
        f"Accuracy against learning rate for both arms. Largest rate that still reaches "
        f"{100 * options['trained_at']:.0f} percent, median over seeds: {'; '.join(parts)}. "
        f"Diverged: {diverged_counts(frame)}.",
        "Validation accuracy at the end of training against the learning rate (logarithmic scale), "
        f"a panel per optimizer and batch size ({seeds_of(table)}, "
        f"{counted(options['epochs'], 'epoch')}). {SWEEP_NOTE}",
        frame[columns].rename(columns={"value": "accuracy (%)", "failed": "diverged"}),
        accuracy_sweep(
            frame,
            "learning_rate",
            "learning rate",
            "batch_size",
            lambda optimizer, size: f"{name(optimizer)}, batch size {size}",
        ),
    )


def learning_rate_speed(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps to a moderate accuracy over the learning rate, a panel per optimizer and batch size."""
    percent = round(100 * options["target_between"])
    frame = targets(table, f"steps_to_{percent}").sort_values(
        "batch_size", ascending=False, kind="stable"
    )
    frame = frame.assign(failed=frame["censored"])
    rows, columns, norms = in_order(frame["batch_size"]), in_order(frame["optimizer"]), arms(frame)

    def draw(layout: Layout) -> Figure:
        figure, axes, cells = sweep_panels(rows, columns, layout)
        for i, j, ax in cells:
            cell = select(frame, batch_size=rows[i], optimizer=columns[j])
            if cell.empty:
                ax.set_visible(False)
                continue
            ax.set_yscale("log")
            sweep(ax, cell, "learning_rate", norms, failed=TRIANGLE)
            ax.set_title(f"{name(columns[j])}, batch size {rows[i]}")
        outer_labels(axes, "learning rate", f"steps to {percent}{SPACE}%")
        scale_axes(axes)
        arm_legend(figure, norms, layout, censored_handle(frame, "not reached"))
        return figure

    def fastest(one: pd.DataFrame) -> str:
        medians = one.groupby("learning_rate")["value"].median()
        return f"{medians.min():,.0f} at rate {medians.idxmin():g}"

    parts = [
        f"{name(optimizer)}, batch size {size}, "
        + per_arm(select(frame, optimizer=optimizer, batch_size=size), fastest)
        for size in rows
        for optimizer in columns
        if len(select(frame, optimizer=optimizer, batch_size=size))
    ]
    keys = ["optimizer", "batch_size", "norm", "learning_rate", "seed", "value", "censored"]
    return Drawing(
        "learning-rate-speed",
        f"Steps to {percent} percent against learning rate for both arms. Fewest, as the median "
        f"over seeds at the best rate: {'; '.join(parts)}.",
        f"Optimizer steps until the accuracy on the validation probe first held {percent}{SPACE}% "
        "(both axes logarithmic), a panel per optimizer and batch size. Small marks are single runs "
        f"({seeds_of(table)}), lines join the medians. Open triangles never reached it and stand "
        "at their last step.",
        frame[keys].rename(columns={"value": "steps", "censored": "not reached"}),
        draw,
    )


def init_gains(table: pd.DataFrame, options: dict) -> Drawing:
    """Final accuracy over the gain of the initial weights, a panel per optimizer and layers."""
    frame = swept_accuracy(table)
    medians = frame.groupby(["scaled", "optimizer", "norm", "gain"], sort=False)["value"].median()
    ranges = medians.groupby(level=[0, 1, 2], sort=False).agg(lambda v: v.max() - v.min())
    parts = [
        f"{name(optimizer)}, {name(scaled)}, "
        + listed(
            f"{decimal(ranges[scaled, optimizer, norm], 1)} {arm(norm)}" for norm in arms(table)
        )
        for scaled in in_order(frame["scaled"])
        for optimizer in in_order(frame["optimizer"])
        if all((scaled, optimizer, norm) in ranges.index for norm in arms(table))
    ]
    columns = ["optimizer", "scaled", "norm", "gain", "seed", "value", "failed"]
    return Drawing(
        "init-gains",
        "Accuracy against the gain of the initial weights for both arms. Range of the median "
        f"accuracy over gains, in percentage points: {'; '.join(parts)}.",
        "Validation accuracy at the end of training against the gain, the factor on He's standard "
        f"deviation of the initial weights (logarithmic scale; {seeds_of(table)}, "
        f"{counted(options['epochs'], 'epoch')} at batch size {options['batch_size']}). "
        f"{SWEEP_NOTE}",
        frame[columns].rename(columns={"value": "accuracy (%)", "failed": "diverged"}),
        accuracy_sweep(
            frame,
            "gain",
            "gain",
            "scaled",
            lambda optimizer, scaled: f"{name(optimizer)}, {name(scaled)}",
        ),
    )


# Depth (S4)


def relu_or_first(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ReLU networks, or of whatever activation was run."""
    activations = in_order(table["activation"])
    return select(table, activation="relu" if "relu" in activations else activations[0])


def depth_map(table: pd.DataFrame, options: dict) -> Drawing:
    """Accuracy by depth and initialization as a heat map per arm, and the paired differences."""
    frame = swept_accuracy(relu_or_first(table))
    keys = ["norm", "initialization", "depth"]
    cells = frame.groupby(keys, sort=False).agg(
        accuracy=("value", "mean"),
        trained=("failed", lambda failed: int((~failed).sum())),
        runs=("failed", "size"),
    )
    gains = differences(frame, ["initialization", "depth"])
    gain = band(gains, ["initialization", "depth"]).set_index(["initialization", "depth"])
    inits, norms = in_order(frame["initialization"]), arms(frame)
    depths = sorted(frame["depth"].unique())
    parts = norms + (["difference"] if len(gain) else [])

    def draw(layout: Layout) -> Figure:
        shape = (len(parts), 1) if layout.narrow else (1, len(parts))
        height = 0.46 * len(inits) + 0.5
        figure, axes = panels(*shape, layout, height=height, sharex=True, sharey=True)
        for ax, part in zip(axes.flat, parts, strict=True):
            grid = np.full((len(inits), len(depths)), np.nan)
            for (i, init), (j, depth) in product_of(inits, depths):
                if part == "difference":
                    write_difference(ax, j, i, gain, (init, depth))
                elif (part, init, depth) in cells.index:
                    cell = cells.loc[(part, init, depth)]
                    grid[i, j] = cell["accuracy"]
                    write_cell(
                        ax,
                        j,
                        i,
                        decimal(cell["accuracy"], 1),
                        f"{cell['trained']:.0f}/{cell['runs']:.0f}",
                        on_heat(cell["accuracy"]),
                    )
            edges = [np.arange(n + 1) - 0.5 for n in (len(depths), len(inits))]
            ax.pcolormesh(
                *edges, np.ma.masked_invalid(grid), cmap="cividis", vmin=0, vmax=100,
                edgecolor=PAPER, linewidth=1.5,
            )  # fmt: skip
            ax.set_xticks(range(len(depths)), [str(depth) for depth in depths])
            ax.set_yticks(range(len(inits)), [name(init).replace(" ", "\n") for init in inits])
            ax.set_ylim(len(inits) - 0.5, -0.5)
            ax.grid(visible=False)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
            ax.set_title("difference (points)" if part == "difference" else arm_name(part))
        outer_labels(axes, "hidden layers", "")
        return figure

    deepest = depths[-1]
    sentences = [
        f"with {name(init).replace('init', 'initialization')} "
        + listed(
            f"{decimal(cells.loc[(norm, init, deepest)]['accuracy'], 1)} percent "
            f"({cells.loc[(norm, init, deepest)]['trained']:.0f} of "
            f"{runs(int(cells.loc[(norm, init, deepest)]['runs']))} trained) {arm(norm)}"
            for norm in norms
            if (norm, init, deepest) in cells.index
        )
        for init in inits
    ]
    activation = name(in_order(frame["activation"])[0])
    differences_note = (
        " Last: the difference between the arms in percentage points, paired by seed, with the half "
        f"width of its {INTERVALS}."
        if len(gain)
        else ""
    )
    return Drawing(
        "depth",
        f"Grids of mean accuracy by depth and initial weights. At {deepest} hidden layers: "
        f"{'; '.join(sentences)}.",
        f"Mean validation accuracy in percent of {activation} networks with hidden layers of "
        f"{options['width']} units after {counted(options['epochs'], 'epoch')}, over "
        f"{seeds_of(frame)}; lighter is higher. Below each mean, the number of runs that trained: "
        f"the others diverged or ended below {100 * FAILED_BELOW:.0f}{SPACE}%, and count as "
        f"guessing.{differences_note}",
        frame[[*keys, "seed", "value", "failed"]].rename(
            columns={"value": "accuracy (%)", "failed": "did not train"}
        ),
        draw,
    )


def product_of(rows: Iterable, columns: Iterable) -> list[tuple[tuple, tuple]]:
    """Pairs of numbered rows and numbered columns."""
    return [(row, column) for row in enumerate(rows) for column in enumerate(columns)]


def on_heat(percent: float) -> str:
    """A colour that can be read on a cell of the heat map."""
    red, green, blue, _ = mpl.colormaps["cividis"](percent / 100)
    return ON_LIGHT if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else ON_DARK


def write_cell(ax: Axes, x: float, y: float, large: str, small: str, color: str) -> None:
    ax.text(x, y - 0.04, large, ha="center", va="bottom", fontsize=8.5, color=color, weight="bold")
    ax.text(x, y + 0.1, small, ha="center", va="top", fontsize=6.8, color=color)


def write_difference(
    ax: Axes, x: float, y: float, gain: pd.DataFrame, key: tuple[str, int]
) -> None:
    if key not in gain.index:
        return
    row = gain.loc[key]
    half = (row["ci_high"] - row["ci_low"]) / 2
    interval = "" if math.isnan(half) else f"± {decimal(half, 1)}"
    write_cell(ax, x, y, decimal(row["mean"], 1, signed=True), interval, INK)


def activations(table: pd.DataFrame, options: dict) -> Drawing:
    """Accuracy by activation, a panel per initialization and depth that all activations share."""
    kinds = in_order(table["activation"])
    shared = table.groupby("depth")["activation"].nunique()
    depths = sorted(shared.index[shared == len(kinds)]) or sorted(table["depth"].unique())[:2]
    frame = swept_accuracy(table[table["depth"].isin(depths)])
    frame = frame.rename(columns={"activation": "level"})
    inits, norms = in_order(frame["initialization"]), arms(frame)

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(len(depths), len(inits), layout, height=1.7, sharex=True, sharey=True)
        for (i, depth), (j, init) in product_of(depths, inits):
            ax = axes[i, j]
            cell = select(frame, depth=depth, initialization=init)
            strip(ax, cell, kinds, norms, logarithmic=False)
            ax.set_ylim(0, 104)
            ax.set_yticks(range(0, 101, 25))
            layers = counted(depth, "layer")
            ax.set_title(f"{layers}, {name(init)}")
        outer_labels(axes, "activation", "accuracy (%)")
        bare_inside(axes)
        arm_legend(figure, norms, layout)
        return figure

    means = frame.groupby(["norm", "initialization", "depth", "level"])["value"].mean()
    several = len(kinds) > 1
    ranges = means.groupby(level=[0, 1, 2]).agg(
        lambda v: v.max() - v.min() if several else v.mean()
    )
    what = (
        "Range of the mean over activations, in percentage points" if several else "Mean in percent"
    )
    parts = [
        f"{counted(depth, 'layer')}, {name(init).replace('init', 'initialization')}, "
        + listed(
            f"{decimal(ranges[norm, init, depth], 1)} {arm(norm)}"
            for norm in norms
            if (norm, init, depth) in ranges.index
        )
        for depth in depths
        for init in inits
    ]
    return Drawing(
        "activations",
        f"Accuracy for each activation function. {what}: {'; '.join(parts)}.",
        f"Validation accuracy after {counted(options['epochs'], 'epoch')} for each activation "
        "function, a row per number of hidden layers and a column per initialization. Small marks "
        f"are single runs ({seeds_of(frame)}, thin lines join the runs of one), large ones the mean"
        f"{interval_phrase(frame)}. A run that diverged counts as guessing.",
        frame[["initialization", "depth", "level", "norm", "seed", "value", "failed"]].rename(
            columns={"level": "activation", "value": "accuracy (%)", "failed": "diverged"}
        ),
        draw,
    )


DEPTH_MEASURES = {
    "gradient_range_initial": "gradient range at the first step (decades)",
    "gradient_range": "gradient range in training (decades)",
    "soft_rank": "soft rank after training",
}


def depth_gradients(table: pd.DataFrame, options: dict) -> Drawing:
    """Range of the gradients over layers and soft rank of the activations against depth."""
    chosen = relu_or_first(table)
    # The activations of a run that broke off are of no use: its rank counts as zero.
    chosen = chosen.assign(soft_rank=chosen["soft_rank"].fillna(0))
    frame = chosen.melt(
        ["norm", "initialization", "seed", "depth"],
        list(DEPTH_MEASURES),
        var_name="measure",
        value_name="value",
    ).rename(columns={"depth": "level"})
    inits, norms = in_order(frame["initialization"]), arms(frame)
    depths = sorted(frame["level"].unique())

    def draw(layout: Layout) -> Figure:
        shape = (len(DEPTH_MEASURES), len(inits))
        figure, axes = panels(*shape, layout, height=1.6, sharex=True, sharey="row")
        for (i, measure), (j, init) in product_of(DEPTH_MEASURES, inits):
            ax = axes[i, j]
            cell = select(frame, measure=measure, initialization=init)
            strip(ax, cell, depths, norms, logarithmic=False)
            ax.yaxis.set_major_locator(MaxNLocator(4, integer=measure == "soft_rank"))
            label, _, unit = DEPTH_MEASURES[measure].partition(" (")
            if j == 0:
                ax.set_ylabel(unit.rstrip(")") or "singular values")
            ax.set_title(name(init) if layout.narrow else f"{label}, {name(init)}", fontsize=7.6)
            if layout.narrow and j == 0:
                ax.set_title(f"{label}\n{name(init)}", fontsize=7.6)
        for ax in axes[:, 0]:
            ax.set_ylim(bottom=0)  # once all panels of the row are drawn
        for ax in axes[-1]:
            ax.set_xlabel("hidden layers")
        bare_inside(axes)
        arm_legend(figure, norms, layout)
        return figure

    deepest = select(frame, measure="gradient_range", level=depths[-1])
    parts = [
        f"{name(init).replace('init', 'initialization')}, "
        + per_arm(
            select(deepest, initialization=init), lambda rows: decimal(rows["value"].mean(), 2)
        )
        for init in inits
        if len(select(deepest, initialization=init))
    ]
    return Drawing(
        "depth-gradients",
        f"Three measures against depth for both arms. Mean range of the gradient norms over the "
        f"layers in training at {depths[-1]} hidden layers, in decades: {'; '.join(parts)}.",
        "Rows: decades between the largest and the smallest gradient norm of the hidden layers, at "
        "the first step and as the median over training (12 where a layer has none left); and the "
        "soft rank, the number of singular values of the last hidden layer's activations of at "
        f"least 1{SPACE}% of the largest, after training (0 for a run that diverged). Small marks "
        f"are single runs ({seeds_of(frame)}), large ones the mean{interval_phrase(frame)}.",
        frame[["measure", "initialization", "level", "norm", "seed", "value"]].rename(
            columns={"level": "depth"}
        ),
        draw,
    )


SMALLEST_GRADIENT = 1e-12  # what is smaller, or zero, is drawn as this


def gradient_paths(table: pd.DataFrame, options: dict) -> Drawing:
    """The gradient of every layer at every step read, a heat map per arm and initialization."""
    frame = table.dropna(subset=["gradient"])
    frame = frame.assign(value=np.log10(frame["gradient"].clip(lower=SMALLEST_GRADIENT)))
    keys = ["initialization", "norm", "layer", "step"]
    means = frame.groupby(keys)["value"].mean()
    inits, norms = in_order(table["initialization"]), arms(table)
    layers, steps_read = (sorted(table[key].unique()) for key in ("layer", "step"))

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(len(inits), len(norms), layout, height=1.75, sharex=True, sharey=True)
        limits = {"vmin": means.min(), "vmax": means.max()} if len(means) else {}
        for (i, init), (j, norm) in product_of(inits, norms):
            ax = axes[i, j]
            heat = np.full((len(layers), len(steps_read)), np.nan)
            if (init, norm) in means.index:
                wide = means[init, norm].unstack("step").reindex(index=layers, columns=steps_read)
                heat = wide.to_numpy()
            image = ax.imshow(
                heat, cmap="cividis", aspect="auto", interpolation="none", origin="upper", **limits
            )
            shown = [k for k, step in enumerate(steps_read) if k == 0 or step in (10, 100)]
            ax.set_xticks(shown, [f"{steps_read[k]:,}" for k in shown])
            ax.set_yticks([0, len(layers) - 1], [str(layers[0]), str(layers[-1])])
            ax.grid(visible=False)
            ax.tick_params(length=2)
            short = {"none": "none", "batch": "batch norm."}.get(norm, norm)
            ax.set_title(
                f"{short if layout.narrow else arm_name(norm)}, {name(init)}", fontsize=7.6
            )
        outer_labels(axes, "step", "layer")
        bar = figure.colorbar(
            image, ax=axes, location="bottom" if layout.narrow else "right", shrink=0.8, pad=0.02
        )
        bar.set_label("gradient norm")
        bar.outline.set_visible(False)
        axis = bar.ax.xaxis if layout.narrow else bar.ax.yaxis
        axis.set_major_locator(MaxNLocator(5, integer=True))
        axis.set_major_formatter(
            FuncFormatter(lambda x, _: "10" + str(round(x)).translate(SUPERSCRIPTS))
        )
        return figure

    parts = [
        f"{arm(norm)} and {name(init).replace('init', 'initialization')} "
        + listed(
            f"{first_over_last(means[init, norm], step)} at step {step:,}"
            for step in sorted({steps_read[0], steps_read[-1]})
            if step in means[init, norm].index.get_level_values("step")
        )
        for init in inits
        for norm in norms
        if (init, norm) in means.index
    ]
    broken = len(table) - len(frame)
    return Drawing(
        "gradient-paths",
        f"Heat maps of the gradient of each layer over training. Gradient of layer {layers[0]} over "
        f"that of layer {layers[-1]}: {'; '.join(parts)}.",
        f"Norm of the gradient of each hidden layer's weights while ReLU networks of "
        f"{counted(len(layers), 'layer')} train for {counted(options['epochs'], 'epoch')}; layer 1 "
        "is next to the input. Geometric means over "
        f"{seeds_of(table)}; lighter is larger. The {counted(len(steps_read), 'step')} read stand "
        "side by side and lie ever further apart, so the axis is nearly logarithmic."
        + (f" Not finite, and left out: {counted(broken, 'reading')}." if broken else ""),
        means.rename("log10 gradient norm, mean").reset_index(),
        draw,
    )


def first_over_last(means: pd.Series, step: int) -> str:
    """Ratio of the gradients of the first and the last layer; `means` are logarithms."""
    curve = means.xs(step, level="step")
    return f"{number(10 ** (curve.iloc[0] - curve.iloc[-1]))} times"


# Gradients at initialization (S5)

# name, arm whose colour it has, filled marker
NETWORKS = {
    "none_default": ("ReLU, default init", "none", True),
    "none_he": ("ReLU, He init", "none", False),
    "batch_relu": ("ReLU, batch normalization", "batch", True),
    "batch_linear": ("linear, batch normalization", "batch", False),
}


def network_look(network: str) -> dict[str, object]:
    """Colour of the arm; networks of one arm differ in marker, its filling, and dashes."""
    _, norm, filled = NETWORKS[network]
    look = style(norm)
    marker = look.marker if filled else {"s": "D", "o": "v"}[look.marker]
    return {"color": look.color, "marker": marker, "mfc": look.color if filled else PAPER}


def gradient_norms(table: pd.DataFrame, options: dict) -> Drawing:
    """Norm of the gradient at every layer of four untrained networks, against theory."""
    depth = options["theory_depth"]
    depth = depth if depth in set(table["depth"]) else int(table["depth"].max())
    size = int(table["batch_size"].max())
    frame = select(table, depth=depth, batch_size=size).assign(value=lambda t: t["gradient"])
    mean = averaged(frame, ["network", "layer"], logarithmic=True)
    networks = [n for n in NETWORKS if n in set(frame["network"])]
    growth = frame.groupby("network")["theory"].first()
    first, last = (min(layer, depth) for layer in options["middle"])

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(1, 1, layout, height=2.9, sharex=True, sharey=True)
        figure.set_figwidth(min(layout.width, 6.4))
        ax = axes[0, 0]
        ax.set_yscale("log")
        for i, network in enumerate(networks):
            look = network_look(network)
            wide = select(frame, network=network).pivot(
                index="seed", columns="layer", values="value"
            )
            layers = np.broadcast_to(wide.columns.to_numpy(float), wide.shape)
            thin_lines(ax, layers, wide.to_numpy(float), color=look["color"], alpha=0.35)
            curve = select(mean, network=network)
            every = (i, len(networks))  # lines that coincide show their marks in turn
            ax.plot(curve["layer"], curve["mean"], lw=1.3, ms=4.2, markevery=every, **look)
            layers, theory = theory_line(curve, growth[network], first, last)
            ax.plot(layers, theory, color=INK, lw=1.1, ls=(0, (3, 2)), zorder=4)
        ax.set_xlabel("hidden layer, from the input to the output")
        ax.set_ylabel("norm of the gradient")
        ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        scale_axes(axes)
        handles = [
            Line2D([], [], lw=1.3, label=NETWORKS[n][0], **network_look(n)) for n in networks
        ]
        handles.append(Line2D([], [], color=INK, lw=1.1, ls=(0, (3, 2)), label="slope in theory"))
        figure.legend(
            handles=handles,
            loc="outside upper left",
            ncols=1 if layout.narrow else 2,
            borderpad=0,
            columnspacing=1.6,
        )
        return figure

    ends = mean.pivot(index="network", columns="layer", values="mean")
    parts = [
        f"{NETWORKS[n][0]}, a factor of {number(ends.loc[n].iloc[0] / ends.loc[n].iloc[-1])}"
        for n in networks
    ]
    return Drawing(
        "gradient-norms",
        f"Gradient norm from layer 1 to {depth} of untrained networks, on a logarithmic scale. Norm "
        f"at the first layer over that at the last: {'; '.join(parts)}.",
        "Norm of the gradient of the loss by the output of each hidden layer's linear map, before "
        f"training (logarithmic scale; {depth} hidden layers of {options['width']} units, batch "
        f"size {size}). Thin lines are networks ({seeds_of(frame)}), thick ones their geometric "
        "mean. Dashed: the slope in theory, laid through the middle layers. The gradient flows from "
        "right to left.",
        mean,
        draw,
    )


def theory_line(
    curve: pd.DataFrame, growth: float, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Norms that grow by `growth` (of their squares) a layer towards the input.

    The line spans the layers `first` to `last` and has the geometric mean of the measured ones.
    """
    middle = curve[curve["layer"].between(first, last)]
    layers = middle["layer"].to_numpy(float)
    level = np.log(middle["mean"]).mean() if len(middle) else 0.0
    center = layers.mean() if len(layers) else 0.0
    return layers, np.exp(level - (layers - center) * math.log(growth) / 2)


def gradient_growth(table: pd.DataFrame, options: dict) -> Drawing:
    """Measured growth of the squared gradient per layer against Yang et al.'s theorem 8."""
    first, last = options["middle"]
    depth = options["theory_depth"]
    middle = table[(table["depth"] == depth) & table["layer"].between(first, last)]
    seeds = (
        middle.assign(growth=np.log(middle["growth"]))
        .groupby(["network", "batch_size", "seed"])[["growth", "theory"]]
        .mean()
        .reset_index()
    )
    seeds["growth"] = np.exp(seeds["growth"])
    means = growth_by_network(table, options)
    networks = [n for n in NETWORKS if n in set(seeds["network"])]
    sizes = sorted(seeds["batch_size"].unique())

    def draw(layout: Layout) -> Figure:
        rows, columns = (2, 2) if layout.narrow else (1, 4)
        columns = min(columns, len(networks))
        rows = math.ceil(len(networks) / columns)
        figure, axes = panels(rows, columns, layout, height=1.9, sharex=True, sharey=False)
        for ax, network in zip(axes.flat, networks, strict=False):
            growth_panel(ax, select(seeds, network=network), means.loc[network], network, sizes)
            ax.set_title(NETWORKS[network][0].replace(", ", "\n"), fontsize=8)
        for ax in axes.flat[len(networks) :]:
            ax.set_visible(False)
        outer_labels(axes, "batch size", "growth per layer")
        figure.legend(
            handles=[
                Line2D([], [], color=INK, lw=1.1, ls=(0, (3, 2)), label="theory"),
                Patch(color=GRID, label=f"theory ± {100 * TOLERANCE:.0f}{SPACE}%"),
                Line2D([], [], color=MUTED, ls="none", marker=".", label="one network"),
            ],
            loc="outside upper left",
            ncols=3,
            borderpad=0,
            columnspacing=1.4,
            fontsize=7.5 if layout.narrow else 8.5,
        )
        return figure

    error = (means["measured"] / means["theory"] - 1).abs()
    parts = [
        f"{NETWORKS[n][0]}, "
        + listed(
            f"{row.measured:.3f} against {row.theory:.3f} at batch size {size}"
            for size, row in means.loc[n].iterrows()
        )
        for n in networks
    ]
    return Drawing(
        "gradient-growth",
        "Growth of the squared gradient norm per layer, measured against theory: "
        f"{'; '.join(parts)}. The largest deviation is {decimal(100 * error.max(), 1)} percent.",
        "How much the squared norm of the gradient grows per layer on its way to the input, before "
        f"training: geometric means over layers {first} to {last} of {depth}. Dots are networks "
        f"({seeds_of(seeds)}), large marks their geometric means. Dashed: theory, Yang et al. "
        f"(2019), theorem 8, for batch normalization, and 1/6 and 1 without; shaded, "
        f"{100 * TOLERANCE:.0f}{SPACE}% around it. Each panel spans the same ratios.",
        seeds.rename(columns={"growth": "measured"}),
        draw,
    )


def growth_panel(
    ax: Axes, seeds: pd.DataFrame, means: pd.DataFrame, network: str, sizes: Sequence[int]
) -> None:
    look = network_look(network)
    ax.set_xscale("log", base=2)
    x, theory = theory_curve(network, sizes)
    ax.fill_between(x, theory * (1 - TOLERANCE), theory * (1 + TOLERANCE), color=GRID, lw=0)
    ax.plot(x, theory, color=INK, lw=1.1, ls=(0, (3, 2)), zorder=2)
    for size, cell in seeds.groupby("batch_size"):
        places = size * 2 ** spread(len(cell), 0.3)
        dots(ax, places, cell["growth"], NETWORKS[network][1], 2.4)
    ax.plot(means.index, means["measured"], ls="none", ms=4.5, zorder=3, **look)
    center = float(theory.mean())
    values = np.concatenate([seeds["growth"] / center, theory / center])
    reach = max(2.2 * TOLERANCE, 1.1 * np.abs(values - 1).max())
    ax.set_ylim(center * (1 - reach), center * (1 + reach))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(x[0], x[-1])
    ax.grid(visible=False)


def theory_curve(network: str, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Batch sizes around the measured ones and the growth that theory has for them."""
    from bnstudy.studies.init_gradients import growth_in_theory  # imports torch

    x = np.geomspace(max(4, min(sizes) / 1.5), max(sizes) * 1.5, 40)
    return x, np.array([growth_in_theory(network, size) for size in x])


# The loss landscape (S6)


def at_rate(table: pd.DataFrame, options: dict) -> tuple[pd.DataFrame, float]:
    """The rows of the claims' learning rate, or of the one nearest to it that was run."""
    rates = table["learning_rate"].unique()
    rate = min(rates, key=lambda r: abs(math.log(r / options["learning_rate"])))
    return select(table, learning_rate=rate), float(rate)


def curves(table: pd.DataFrame, metric: str, *, logarithmic: bool) -> pd.DataFrame:
    """Mean over seeds of a metric, first averaged over layers, by network, arm and step."""
    rows = table[(table["metric"] == metric) & table["value"].notna()]
    keys = ["network", "norm", "step"]
    seeds = rows.groupby([*keys, "seed"])["value"].mean().reset_index()
    return averaged(seeds, keys, logarithmic=logarithmic).assign(metric=metric)


def plot_seeds(ax: Axes, rows: pd.DataFrame, norm: str) -> None:
    """A thin line per seed."""
    wide = rows.pivot_table(index="seed", columns="step", values="value")
    steps_shown = np.broadcast_to(wide.columns.to_numpy(float), wide.shape)
    thin_lines(ax, steps_shown, wide.to_numpy(float), color=style(norm).color, lw=0.45, alpha=0.35)


def plot_mean(ax: Axes, mean: pd.DataFrame, norm: str) -> None:
    look = style(norm)
    ax.plot(mean["step"], mean["mean"], color=look.color, ls=look.dash, lw=1.7, zorder=3)
    shade(ax, mean["step"], mean["ci_low"], mean["ci_high"], look.color)


def trajectories(
    label: str,
    table: pd.DataFrame,
    metrics: dict[str, tuple[str, bool]],
    *,
    finding: str,
    caption: str,
) -> Drawing:
    """Metrics over the steps of training: a row per metric, a column per network.

    `metrics` has, by metric, what the axis says and whether it is logarithmic; a metric that ends
    in `*` is a band from its `_min` to its `_max`.
    """
    networks, norms = in_order(table["network"]), arms(table)
    wanted = [
        m.replace("*", end) for m in metrics for end in (("_min", "_max") if "*" in m else ("",))
    ]
    tables = {
        metric: curves(table, metric, logarithmic=next(
            log for m, (_, log) in metrics.items() if metric.startswith(m.rstrip("*"))
        ))
        for metric in wanted
    }  # fmt: skip

    def draw(layout: Layout) -> Figure:
        height = 1.25 if layout.narrow else 1.5
        figure, axes = panels(
            len(metrics), len(networks), layout, height=height, sharex=True, sharey="row"
        )
        for (i, metric), (j, network) in product_of(metrics, networks):
            ax = axes[i, j]
            text, logarithmic = metrics[metric]
            if logarithmic:
                ax.set_yscale("log")
            for norm in norms:
                if "*" in metric:
                    low, high = (
                        select(tables[metric.replace("*", end)], network=network, norm=norm)
                        for end in ("_min", "_max")
                    )
                    plot_between(ax, low, high, norm)
                    continue
                plot_seeds(ax, select(table, metric=metric, network=network, norm=norm), norm)
                plot_mean(ax, select(tables[metric], network=network, norm=norm), norm)
            if i == 0:
                title = name(network).replace(", ", "\n") if layout.narrow else name(network)
                ax.set_title(title)
            if j == 0:
                ax.set_ylabel(text, fontsize=7.5 if layout.narrow else 8)
            step_ticks(ax, layout)
        for ax in axes[-1]:
            ax.set_xlabel("step")
        scale_axes(axes)
        bare_inside(axes)
        figure.align_ylabels()
        arm_legend(figure, norms, layout)
        return figure

    return Drawing(label, finding, caption, pd.concat(tables.values()), draw)


def plot_between(ax: Axes, low: pd.DataFrame, high: pd.DataFrame, norm: str) -> None:
    """A band between two curves, its edges drawn."""
    look = style(norm)
    for edge in (low, high):
        ax.plot(edge["step"], edge["mean"], color=look.color, ls=look.dash, lw=1.1, zorder=3)
    both = low.merge(high, on="step")
    shade(ax, both["step"], both["mean_x"], both["mean_y"], look.color)


def arm_ratio(table: pd.DataFrame, metric: str, network: str) -> float:
    """Geometric mean over steps, layers and seeds, without over with batch normalization."""
    rows = select(table, metric=metric, network=network)
    logs = np.log(rows["value"].where(rows["value"] > 0)).groupby(rows["norm"]).mean()
    if {BASELINE, "batch"} - set(logs.index):
        return math.nan
    return math.exp(logs[BASELINE] - logs["batch"])


def arm_means(table: pd.DataFrame, metric: str, network: str) -> str:
    rows = select(table, metric=metric, network=network)
    return per_arm(rows, lambda one: decimal(one["value"].mean(), 3))


def ratios(table: pd.DataFrame, metric: str) -> str:
    """`12.1 for 2 layers, ReLU; 3.4 for 5 layers, ReLU`."""
    return "; ".join(
        f"{number(arm_ratio(table, metric, network))} for {name(network)}"
        for network in in_order(table["network"])
    )


def along(table: pd.DataFrame, rate: float) -> str:
    """What the lines of a figure of trajectories are."""
    interval = interval_phrase(table, ", shaded its pointwise ")
    return (
        f"Plain SGD at learning rate {rate:g}. Thin lines are single runs ({seeds_of(table)}), bold "
        f"their mean (geometric on logarithmic scales){interval}."
    )


def landscape(table: pd.DataFrame, options: dict) -> Drawing:
    """Santurkar et al.'s three measures along the gradient, a column per network."""
    rows, rate = at_rate(table, options)
    return trajectories(
        "landscape",
        rows,
        {
            "loss_range": ("range of the loss", True),
            "gradient_change*": ("change of gradient", True),
            "beta": ("effective β", True),
        },
        finding="Three measures of the loss along the gradient over training, for both arms. "
        "Effective smoothness beta without over with batch normalization, geometric mean: "
        f"{ratios(rows, 'beta')}. Range of the loss, likewise: {ratios(rows, 'loss_range')}.",
        caption="The loss along the direction of its gradient, in steps of half to four times the "
        "learning rate, by the definitions of Santurkar et al. (2018; logarithmic scales): the "
        "range of the loss (nats); how far the gradient moves away from the one at the start, a "
        "band from the smallest to the largest change (geometric means over seeds); and effective "
        f"β, the largest change per distance. Lower is smoother. {along(rows, rate)}",
    )


def landscape_scale_free(table: pd.DataFrame, options: dict) -> Drawing:
    """The same without the scale of weights and gradients."""
    rows, rate = at_rate(table, options)
    cosines = "; ".join(
        f"{name(network)}, {arm_means(rows, 'cosine', network)}"
        for network in in_order(rows["network"])
    )
    return trajectories(
        "landscape-scale-free",
        rows,
        {
            "relative_change": ("relative change", True),
            "cosine": ("cosine", False),
        },
        finding="Two measures of how well a gradient predicts the next ones, free of scale, over "
        f"training for both arms. Mean cosine: {cosines}.",
        caption="What the figure before shows, free of the scale of weights and gradients: the "
        "largest change of the gradient over its length (logarithmic scale; lower is smoother), "
        "and the cosine between the gradients before and after the step, mean over step sizes (1 "
        f"is perfect prediction). {along(rows, rate)}",
    )


RATIO_SEEDS = {"ls": "none", "marker": "o", "mfc": "none", "color": MUTED, "ms": 3, "mew": 0.7}


def smoothness_by_rate(table: pd.DataFrame, options: dict) -> Drawing:
    """Ratio of effective beta between the arms at every learning rate, a panel per network."""
    rows = table[(table["metric"] == "beta") & (table["value"] > 0)]
    keys = ["network", "learning_rate", "seed", "norm"]
    logs = np.log(rows["value"].astype(float)).groupby([rows[k] for k in keys]).mean()
    wide = logs.unstack("norm").reindex(columns=[BASELINE, "batch"])
    frame = np.exp(wide[BASELINE] - wide["batch"]).dropna().rename("value").reset_index()
    mean = averaged(frame, ["network", "learning_rate"], logarithmic=True)
    networks = in_order(table["network"])
    rates = sorted(table["learning_rate"].unique())

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(1, len(networks), layout, height=1.8, sharex=True, sharey=True)
        for ax, network in zip(axes.flat, networks, strict=True):
            ax.set_yscale("log")
            ax.axhline(1, color=INK, lw=0.8, zorder=1)
            for x, rate in enumerate(rates):
                cell = select(frame, network=network, learning_rate=rate)
                places = x + spread(len(cell), 0.18)
                ax.plot(places, cell["value"], **RATIO_SEEDS)
            one, look = select(mean, network=network), style("batch")
            mean_marks(ax, one["learning_rate"].map(rates.index), one, look.color, look.marker)
            ax.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
            ax.set_xlim(-0.5, len(rates) - 0.5)
            ax.grid(axis="x", visible=False)
            title = name(network).replace(", ", "\n") if layout.narrow else name(network)
            ax.set_title(title)
            ax.set_xlabel("learning rate")
        axes[0, 0].set_ylabel("β without / with BN")
        scale_axes(axes)
        return figure

    parts = "; ".join(
        f"{name(network)}, "
        + listed(
            f"{number(row.mean)} at rate {row.learning_rate:g}"
            for row in select(mean, network=network).itertuples()
        )
        for network in networks
        if len(select(mean, network=network))
    )
    return Drawing(
        "smoothness-by-rate",
        "Effective beta without over with batch normalization against the learning rate: "
        f"{parts or 'no pair of runs could be compared'}.",
        "Effective β without over with batch normalization, geometric mean over training "
        "(logarithmic scale): above 1 the loss is smoother with batch normalization. Open circles "
        f"are single seeds ({seeds_of(table)}), filled ones the geometric mean{interval_phrase(table)}.",
        frame.rename(columns={"value": "ratio"}),
        draw,
    )


def covariate_shift(table: pd.DataFrame, options: dict) -> Drawing:
    """Internal covariate shift as Santurkar et al. define it: over steps, and layer by layer."""
    rows, rate = at_rate(table, options)
    rows = rows[(rows["metric"] == "ics_cosine") & rows["value"].notna()]
    networks, norms = in_order(rows["network"]), arms(rows)
    over_steps = curves(rows, "ics_cosine", logarithmic=False)
    by_layer = rows.assign(level=rows["layer"].astype(int))
    by_layer = by_layer.groupby(["network", "norm", "seed", "level"])["value"].mean().reset_index()

    def draw(layout: Layout) -> Figure:
        height = 1.5 if layout.narrow else 1.7
        figure, axes = panels(2, len(networks), layout, height=height, sharex=False, sharey="row")
        for j, network in enumerate(networks):
            for norm in norms:
                plot_seeds(axes[0, j], select(rows, network=network, norm=norm), norm)
                plot_mean(axes[0, j], select(over_steps, network=network, norm=norm), norm)
            cell = select(by_layer, network=network)
            strip(axes[1, j], cell, sorted(cell["level"].unique()), norms, logarithmic=False)
            title = name(network).replace(", ", "\n") if layout.narrow else name(network)
            axes[0, j].set_title(title)
            axes[0, j].set_xlabel("step")
            step_ticks(axes[0, j], layout)
            axes[1, j].set_xlabel("layer")
        for ax in axes.flat:
            ax.axhline(1, color=INK, lw=0.8, zorder=1)
            true_minus(ax.yaxis)
        axes[0, 0].set_ylabel("cosine")
        axes[1, 0].set_ylabel("cosine")
        arm_legend(figure, norms, layout)
        return figure

    parts = "; ".join(f"{name(n)}, {arm_means(rows, 'ics_cosine', n)}" for n in networks)
    return Drawing(
        "covariate-shift",
        "Cosine between the gradients of a layer before and after the layers below it made their "
        f"step, over training and by layer. Mean: {parts}.",
        "Internal covariate shift by definition 2.1 of Santurkar et al. (2018): the cosine between "
        "a layer's gradient before and after all layers below it have made their step; at 1, the "
        "horizontal line, there is no shift. Above, over the steps of training, mean over layers; "
        f"below, by layer, mean over steps. {along(rows, rate)} Below, small marks are single runs "
        f"and large ones the mean{interval_phrase(rows)}.",
        pd.concat([over_steps, by_layer.rename(columns={"level": "layer"})]).drop(columns="metric"),
        draw,
    )


def landscape_drift(table: pd.DataFrame, options: dict) -> Drawing:
    """How far the inputs of the last nonlinearity move in a few steps, a column per network."""
    rows, rate = at_rate(table, options)
    return trajectories(
        "landscape-drift",
        rows,
        {
            "drift_raw": ("before BN", True),
            "drift": ("training mode", True),
            "drift_eval": ("evaluation mode", True),
        },
        finding="Drift of the inputs of the last nonlinearity over training for both arms. Drift "
        "without over with batch normalization, geometric mean, in training mode: "
        f"{ratios(rows, 'drift')}; in evaluation mode: {ratios(rows, 'drift_eval')}.",
        caption="How far the inputs of the last hidden nonlinearity move in "
        f"{counted(options['drift_steps'], 'step')}: mean over units of the distance between the "
        "means before and after, in standard deviations of the unit . Rows: the "
        "output of the linear map; what the nonlinearity gets, with the statistics of the batch "
        "(training mode) and with running ones (evaluation mode); the three are equal without "
        "normalization. With batch statistics the means can hardly move, by construction. "
        f"{along(rows, rate)}",
    )


# Ioffe and Szegedy (S12)


SMALLEST_ERROR = 0.05  # percent: one of the 2,000 probe images


def sigmoid_training(table: pd.DataFrame, options: dict) -> Drawing:
    """Error rate and drift over the steps of training, a column per learning rate."""
    measures = {"error": "error (%)", "drift": "drift"}
    error = (100 - 100 * table["accuracy"].astype(float)).clip(lower=SMALLEST_ERROR)
    frames = {
        "error": table.assign(value=error),
        "drift": table[table["drift"].notna()].assign(value=lambda t: t["drift"].astype(float)),
    }
    keys = ["learning_rate", "norm", "step"]
    means = {key: averaged(frame, keys, logarithmic=True) for key, frame in frames.items()}
    rates, norms = in_order(table["learning_rate"]), arms(table)

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(2, len(rates), layout, height=1.6, sharex=True, sharey="row")
        for (i, key), (j, rate) in product_of(measures, rates):
            ax = axes[i, j]
            ax.set_yscale("log")
            for norm in norms:
                plot_seeds(ax, select(frames[key], learning_rate=rate, norm=norm), norm)
                plot_mean(ax, select(means[key], learning_rate=rate, norm=norm), norm)
            if i == 0:
                ax.set_title(f"learning rate {rate:g}")
            if j == 0:
                ax.set_ylabel(measures[key])
            step_ticks(ax, layout)
        for ax in axes[-1]:
            ax.set_xlabel("step")
        scale_axes(axes)
        bare_inside(axes)
        figure.align_ylabels()
        arm_legend(figure, norms, layout)
        return figure

    final = select(table, step=table["step"].max())
    parts = "; ".join(
        f"learning rate {rate:g}, "
        + per_arm(
            select(final, learning_rate=rate),
            lambda one: f"{decimal(100 * one['accuracy'].mean(), 1)} percent",
        )
        for rate in rates
        if len(select(final, learning_rate=rate))
    )
    layers = f"{len(options['hidden'])} layers of {options['hidden'][0]}"
    bands = interval_phrase(table, ", shaded its pointwise ")
    return Drawing(
        "sigmoid-mnist",
        "Error and drift over training with sigmoids, for both arms. Mean accuracy at the last "
        f"checkpoint: {parts or 'no run reached it'}.",
        f"Ioffe and Szegedy's (2015) first experiment, {layers} sigmoid units, batches of "
        f"{options['batch_size']}, plain SGD. Above, the error rate on the validation probe; "
        "below, how far the inputs of the last sigmoids moved since the checkpoint before, in "
        "standard deviations of a unit (logarithmic scales, evaluation mode). Thin lines are single runs "
        f"({seeds_of(table)}), bold their geometric mean{bands}.",
        pd.concat([frame.assign(measure=key) for key, frame in means.items()]),
        draw,
    )


def sigmoid_percentiles(table: pd.DataFrame, options: dict) -> Drawing:
    """15th, 50th and 85th percentile of one sigmoid's input over training, for one seed."""
    frame = select(table, seed=table["seed"].min())
    rates, norms = in_order(frame["learning_rate"]), arms(frame)

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(len(rates), len(norms), layout, height=1.6, sharex=True, sharey=True)
        for (i, rate), (j, norm) in product_of(rates, norms):
            ax, look = axes[i, j], style(norm)
            one = select(frame, learning_rate=rate, norm=norm)
            low, mid, high = (one[f"percentile_{p}"].astype(float) for p in (15, 50, 85))
            ax.fill_between(one["step"], low, high, color=look.color, alpha=0.2, lw=0)
            for edge in (low, high):
                ax.plot(one["step"], edge, color=look.color, lw=0.9)
            ax.plot(one["step"], mid, color=look.color, ls=look.dash, lw=1.8)
            rate_text = f"learning rate {rate:g}"
            ax.set_title(f"{arm_name(norm)}\n{rate_text}" if i == 0 else rate_text)
            step_ticks(ax, layout)
            true_minus(ax.yaxis)
        outer_labels(axes, "step", "input of the sigmoid")
        return figure

    def moved(one: pd.DataFrame) -> str:
        median = one.sort_values("step")["percentile_50"].astype(float)
        return f"{decimal(median.iloc[0], 2)} to {decimal(median.iloc[-1], 2)}"

    parts = "; ".join(
        f"learning rate {rate:g}, {per_arm(select(frame, learning_rate=rate), moved)}"
        for rate in rates
    )
    columns = ["learning_rate", "norm", "seed", "step"]
    columns += [f"percentile_{p}" for p in (15, 50, 85)]
    return Drawing(
        "sigmoid-percentiles",
        "Bands of the input of one sigmoid over training. Its median moves from the first "
        f"checkpoint to the last from {parts}.",
        "The input of one sigmoid of the last hidden layer over the steps of training: median "
        "(bold), 15th and 85th percentile over the images of the validation probe, in evaluation "
        f"mode. One unit of one network per arm (seed {frame['seed'].min()}), as in the paper's "
        "figure 1; the other seeds are in the table of the study.",
        frame[columns],
        draw,
    )


# Fashion-MNIST (S13)


def fashion(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps and test accuracy of both arms by batch size."""
    target = f"{round(100 * options['target'], 1):g}{SPACE}%"
    frames = {
        "steps": targets(table),
        "accuracy": table.assign(value=accuracy(table, "test_accuracy"), censored=False),
    }
    frames = {key: f.rename(columns={"batch_size": "level"}) for key, f in frames.items()}
    sizes, norms = sorted(table["batch_size"].unique()), arms(table)
    titles = [DATASETS[d].title if d in DATASETS else str(d) for d in in_order(table["dataset"])]

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(1, 2, layout, height=2.1, sharex=True, sharey=False)
        for ax, (key, frame) in zip(axes.flat, frames.items(), strict=True):
            strip(ax, frame, sizes, norms, logarithmic=key == "steps")
            ax.set_title(f"steps to {target}" if key == "steps" else "test accuracy (%)")
            ax.set_xlabel("batch size")
        scale_axes(axes)
        arm_legend(figure, norms, layout, censored_handle(frames["steps"], "not reached"))
        return figure

    parts = "; ".join(
        f"batch size {size}, steps "
        + per_arm(
            select(frames["steps"], level=size),
            lambda rows: f"{geometric_mean(rows['value']):,.0f}",
        )
        + ", test accuracy "
        + per_arm(
            select(frames["accuracy"], level=size),
            lambda rows: f"{decimal(rows['value'].mean(), 2)} percent",
        )
        for size in sizes
    )
    data = pd.concat(
        [
            frame[["level", "norm", "seed", "value", "censored"]].assign(measure=key)
            for key, frame in frames.items()
        ]
    ).rename(columns={"level": "batch_size", "censored": "not reached"})
    return Drawing(
        "fashion",
        f"Steps to {target} and test accuracy of both arms. Means, geometric for steps: {parts}.",
        f"Steps to {target} accuracy on the validation probe (logarithmic scale) and test accuracy "
        f"after {counted(options['epochs'], 'epoch')} on {listed(titles)}. Small marks are single runs "
        f"({seeds_of(table)}, thin lines join the runs of one), large ones the mean"
        f"{interval_phrase(table)}; the mean of steps is geometric.",
        data,
        draw,
    )


# Stability (S14)

STABILITY = {
    "fluctuation": ("fluctuation", "relative"),
    "spikes": ("spikes at that level", "% of steps"),
    "spikes_all": ("spikes, all steps", "% of steps"),
    "deviation": ("final loss, centered", "nats"),
}


def stability(table: pd.DataFrame, options: dict) -> Drawing:
    """Fluctuation of the loss, spikes, and spread between seeds, by batch size."""
    guessing = table["val_loss"].astype(float).where(~diverged(table), math.log(10))
    deviation = guessing - guessing.groupby([table["norm"], table["batch_size"]]).transform("mean")
    values = table.assign(
        spikes=100 * table["spikes"].astype(float),
        spikes_all=100 * table["spikes_all"].astype(float),
        deviation=deviation,
    )
    frame = values.melt(
        ["norm", "batch_size", "seed"], list(STABILITY), var_name="measure", value_name="value"
    ).rename(columns={"batch_size": "level"})
    sizes, norms = sorted(table["batch_size"].unique()), arms(table)
    undefined = int(table["fluctuation"].isna().sum())

    def draw(layout: Layout) -> Figure:
        shape = (2, 2)
        figure, axes = panels(*shape, layout, height=1.75, sharex=True, sharey=False)
        for ax, (measure, (title, unit)) in zip(axes.flat, STABILITY.items(), strict=True):
            cell = select(frame, measure=measure).dropna(subset="value")
            centered = measure == "deviation"
            strip(ax, cell, sizes, norms, logarithmic=False, means=not centered)
            ax.set_title(title, fontsize=7.8 if layout.narrow else 8.5)
            ax.set_ylabel(unit)
            ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            true_minus(ax.yaxis)
            if not centered:
                ax.set_ylim(bottom=0)
        for ax in axes[-1]:
            ax.set_xlabel("batch size")
        arm_legend(figure, norms, layout)
        return figure

    def means_of(measure: str, digits: int) -> str:
        cells = select(frame, measure=measure)
        return "; ".join(
            f"batch size {size}, "
            + per_arm(select(cells, level=size), lambda rows: decimal(rows["value"].mean(), digits))
            for size in sizes
        )

    verbs = ("was", "is") if undefined == 1 else ("were", "are")
    missing = (
        f" {runs(undefined)} {verbs[0]} too short at that level and {verbs[1]} missing from the "
        "first two panels."
        if undefined
        else ""
    )
    return Drawing(
        "stability",
        "Four measures of how steady training is, for both arms. Mean fluctuation of the loss at "
        f"an equal level: {means_of('fluctuation', 3)}. Mean percentage of spikes over all steps: "
        f"{means_of('spikes_all', 1)}.",
        "Fluctuation is the root mean square deviation of the training loss of a step from its "
        f"running median, relative to it, while the median lies between 0.15 and 0.25{SPACE}nats; a "
        "spike is a step with more than twice the running median, counted at that level and over "
        "all steps; last, the final validation loss less the mean of its arm over seeds. Small "
        f"marks are single runs ({seeds_of(table)}, thin lines join the runs of one), large ones the mean"
        f"{interval_phrase(table)}.{missing}",
        frame.rename(columns={"level": "batch_size"}),
        draw,
    )


FIGURES: dict[str, list[Callable[[pd.DataFrame, dict], Drawing]]] = {
    "input_scaling": [input_scaling],
    "learning_rates": [learning_rates, learning_rate_speed],
    "init_gains": [init_gains],
    "depth": [depth_map, activations, depth_gradients],
    "gradient_paths": [gradient_paths],
    "init_gradients": [gradient_norms, gradient_growth],
    "landscape": [
        landscape,
        landscape_scale_free,
        smoothness_by_rate,
        covariate_shift,
        landscape_drift,
    ],
    "sigmoid_mnist": [sigmoid_training, sigmoid_percentiles],
    "fashion": [fashion],
    "stability": [stability],
}
