"""Figures of the sweeps over learning rates (S2) and initial gains (S3)."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnstudy.claims.endpoints.learning_rates import BAND_POINTS, cell_names, largest_rate
from bnstudy.report.results import SPACE, counted, decimal, listed
from bnstudy.report.study_figures.runs import (
    CROSS,
    TRIANGLE,
    arms,
    censored_handle,
    dots,
    in_order,
    marks,
    name,
    number,
    outer_labels,
    per_arm,
    runs,
    scale_axes,
    seeds_of,
    select,
    spread,
    swept_accuracy,
    targets,
)
from bnstudy.report.study_figures.toolkit import (
    MUTED,
    Drawing,
    Layout,
    arm,
    arm_legend,
    panels,
    style,
)
from bnstudy.scoring import fails_below


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
    f"that ended below {100 * fails_below(10):.0f}{SPACE}%, and counts as guessing. Bars at the foot "
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
