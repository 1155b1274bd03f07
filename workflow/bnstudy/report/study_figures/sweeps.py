"""Figures of the sweeps over learning rates (S2) and initial gains (S3)."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnstudy.claims.endpoints.learning_rates import BAND_POINTS, cell_names, largest_rate
from bnstudy.report.look import MUTED, Drawing, Layout, Look, series
from bnstudy.report.marks import dots, mark_of, spread
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import SPACE, counted, decimal
from bnstudy.report.study_figures.tables import arms, name, swept_accuracy, targets
from bnstudy.report.words import number, per_level
from bnstudy.scoring import fails_below

BAR = {"lw": 3.2, "solid_capstyle": "butt"}


def sweep(
    frame: pd.DataFrame, x: str, row: str, title: Callable[[object], str], *, label: str,
    yscale: str | None, failed: str, legend: list[Line2D], foot: bool = False,
) -> Callable[[Layout], Figure]:  # fmt: skip
    """Seeds and medians of each arm over a setting, a panel per optimizer and value of `row`.

    `frame` has the columns `x`, `row`, optimizer, norm, seed, value and failed; `failed` is the mark
    of the latter. Where there is a `foot` it has the usable bands.
    """
    looks = arms(frame)
    frame = side_by_side(frame, x, [*looks])

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, row, "optimizer", layout, x=x.replace("_", " "), y=label, xscale="log",
            yscale=yscale, sharex="col", row_name=title, col_name=name, height=(1.75, 1.5),
            width=layout.width,
        )  # fmt: skip
        for ax, part in panels:
            style = series(looks, "norm", markers=False) | {"errorbar": None, "ax": ax}
            sns.lineplot(part, x="center", y="value", estimator="median", zorder=1.8, **style)
            for norm, runs in part.groupby("norm"):
                good, bad = runs[~runs["failed"]], runs[runs["failed"]]
                dots(ax, good["place"], good["value"], looks[norm], size=2.4, alpha=0.5)
                mark = looks[norm].point(3.6) | {"marker": failed, "mfc": "none", "mew": 0.8}
                ax.plot(bad["place"], bad["value"], **mark | {"mec": looks[norm].color})
            if foot:
                bands(ax, part, x, looks)
        return panels.finish([*looks.values(), *legend])

    return draw


def side_by_side(frame: pd.DataFrame, x: str, norms: list) -> pd.DataFrame:
    """The runs with the `center` of their arm on a logarithmic axis, and the `place` of each."""
    values = np.sort(np.log10(frame[x].unique()))
    step = np.diff(values).min() if len(values) > 1 else 1.0
    shift = 0.36 * step * (frame["norm"].map(norms.index) - (len(norms) - 1) / 2)
    cells = frame.groupby([c for c in frame if c not in {"seed", "value", "failed"}], sort=False)
    aside = cells["value"].transform(lambda seeds: spread(len(seeds), 0.12 * step))
    center = frame[x] * 10**shift
    return frame.assign(center=center, place=center * 10**aside)


def bands(ax: Axes, part: pd.DataFrame, x: str, looks: Mapping[str, Look]) -> None:
    """Below zero, a bar per arm over the settings within a point of each seed's best."""
    for i, (norm, look) in enumerate(looks.items()):
        ends = usable(part[part["norm"] == norm], x)
        if ends is not None:
            bar = [ends[0] / 10**0.09, ends[1] * 10**0.09]
            ax.plot(bar, [-7.0 * (i + 1)] * 2, color=look.color, clip_on=False, **BAR)
    ax.set_ylim(-7.0 * len(looks) - 5, 104)
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


def accuracy_sweep(frame: pd.DataFrame, x: str, row: str, title: Callable) -> Callable:
    """The final accuracy over a swept setting, with the usable bands."""
    bar = Line2D([], [], color=MUTED, label="usable band", **BAR)
    return sweep(
        frame[[row, "optimizer", "norm", x, "seed", "value", "failed"]], x, row, title,
        label="accuracy (%)", yscale=None, failed="x", foot=True,
        legend=[bar, *mark_of(frame["failed"], "did not train", "x")],
    )  # fmt: skip


def cells(frame: pd.DataFrame, row: str, say: Callable, write: Callable) -> str:
    """What is to be said of each optimizer and row: `SGD, batch size 16, 0.3 without ...; ...`."""
    parts = frame.groupby([row, "optimizer"], sort=False)
    return "; ".join(
        f"{name(optimizer)}, {say(value)}, {per_level(part, 'norm', arms(part), write)}"
        for (value, optimizer), part in parts
    )


def size_name(size: int) -> str:
    return f"batch size {size}"


def largest_first(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values("batch_size", ascending=False, kind="stable")


def sweep_note(table: pd.DataFrame) -> str:
    return (
        "Small marks are single runs, lines join the medians; a cross is a run whose loss was not "
        f"finite or that ended below {100 * fails_below(table['n_classes'].max()):.0f}{SPACE}%, and "
        "counts as guessing. Bars at the foot are the usable band: the settings within "
        f"{BAND_POINTS:g} percentage point of a seed's best, median ends over seeds."
    )


def seeds(table: pd.DataFrame) -> str:
    return counted(table["seed"].nunique(), "seed")


def learning_rates(table: pd.DataFrame, options: dict) -> Drawing:
    """Final accuracy over the learning rate, a panel per optimizer and batch size."""
    frame = largest_first(swept_accuracy(table))
    scored = frame.assign(accuracy=frame["value"], cell=cell_names(frame))
    highest, _ = largest_rate(scored, 100 * options["trained_at"])
    medians = 10 ** highest.groupby(level=["norm", "cell"]).median()
    largest = cells(
        scored, "batch_size", size_name,
        lambda one: number(medians[one["norm"].iat[0], one["cell"].iat[0]]),
    )  # fmt: skip
    failed = per_level(
        frame, "norm", arms(frame),
        lambda one: f"{one['failed'].sum()} of {counted(len(one), 'run')}",
    )  # fmt: skip
    columns = ["optimizer", "batch_size", "norm", "learning_rate", "seed", "value", "failed"]
    return Drawing(
        "learning-rates",
        f"Accuracy against learning rate for both arms. Largest rate that still reaches "
        f"{100 * options['trained_at']:.0f} percent, median over seeds: {largest}. "
        f"Did not train: {failed}.",
        "Validation accuracy at the end of training against the learning rate (logarithmic scale), "
        f"a panel per optimizer and batch size ({seeds(table)}, "
        f"{counted(options['epochs'], 'epoch')}). {sweep_note(table)}",
        frame[columns].rename(columns={"value": "accuracy (%)", "failed": "did not train"}),
        accuracy_sweep(frame, "learning_rate", "batch_size", size_name),
    )


def learning_rate_speed(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps to a moderate accuracy over the learning rate, a panel per optimizer and batch size."""
    percent = round(100 * options["target_between"])
    frame = largest_first(targets(table, f"steps_to_{percent}"))
    columns = ["optimizer", "batch_size", "norm", "learning_rate", "seed", "value", "censored"]
    frame = frame[columns].rename(columns={"censored": "failed"})

    def fastest(one: pd.DataFrame) -> str:
        medians = one.groupby("learning_rate")["value"].median()
        return f"{medians.min():,.0f} at rate {medians.idxmin():g}"

    return Drawing(
        "learning-rate-speed",
        f"Steps to {percent} percent against learning rate for both arms. Fewest, as the median "
        f"over seeds at the best rate: {cells(frame, 'batch_size', size_name, fastest)}.",
        f"Optimizer steps until the accuracy on the validation probe first held {percent}{SPACE}% "
        "(both axes logarithmic), a panel per optimizer and batch size. Small marks are single runs "
        f"({seeds(table)}), lines join the medians. Open triangles never reached it and stand "
        "at their last step.",
        frame.rename(columns={"value": "steps", "failed": "not reached"}),
        sweep(
            frame, "learning_rate", "batch_size", size_name, label=f"steps to {percent}{SPACE}%",
            yscale="log", failed="^", legend=mark_of(frame["failed"], "not reached"),
        ),
    )  # fmt: skip


def init_gains(table: pd.DataFrame, options: dict) -> Drawing:
    """Final accuracy over the gain of the initial weights, a panel per optimizer and layers."""
    frame = swept_accuracy(table)

    def spans(one: pd.DataFrame) -> str:
        medians = one.groupby("gain")["value"].median()
        return decimal(medians.max() - medians.min(), 1)

    columns = ["optimizer", "scaled", "norm", "gain", "seed", "value", "failed"]
    return Drawing(
        "init-gains",
        "Accuracy against the gain of the initial weights for both arms. Range of the median "
        f"accuracy over gains, in percentage points: {cells(frame, 'scaled', name, spans)}.",
        "Validation accuracy at the end of training against the gain, the factor on He's standard "
        f"deviation of the initial weights (logarithmic scale; {seeds(table)}, "
        f"{counted(options['epochs'], 'epoch')} at batch size {options['batch_size']}). "
        f"{sweep_note(table)}",
        frame[columns].rename(columns={"value": "accuracy (%)", "failed": "did not train"}),
        accuracy_sweep(frame, "gain", "scaled", name),
    )
