"""Figures of what runs ended with: their levels side by side, their differences, their trends."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnstudy import scoring, settings
from bnstudy.report.figures.common import (
    by_level_and_cell,
    cell_titles,
    each_panel,
    keys,
    looks,
    tidy,
)
from bnstudy.report.look import (
    MUTED,
    RULE,
    Drawing,
    Layout,
    series,
    summary,
)
from bnstudy.report.marks import dots, doubling_axis, rows, seeds_apart, strip
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import Results, counted, decimal
from bnstudy.report.words import INTERVALS, interval_phrase

NOT_REACHED = Line2D([], [], color=MUTED, ls="none", marker="^", mfc="none", label="not reached")
ONE_SEED = Line2D([], [], ls="none", marker="o", mfc="none", color=MUTED, ms=3.5, label="one seed")
PAIRED = ("test_accuracy", "test_loss", "ln_steps_to_target")
SCALES = {"test_accuracy": "linear", "test_loss": "linear", "ln_steps_to_target": "geometric"}
ALL = "all"


def steps_to_target(results: Results, dataset: str) -> Drawing:
    """Steps to the target of each seed, the levels side by side, a panel per cell."""
    runs = tidy(results, results.scored("steps_to_target"), dataset)
    runs["missed"] = runs["steps_to_target"].isna() | scoring.failed(runs)
    runs["value"] = runs["value"].clip(lower=1)
    arms = looks(results)

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            runs, None, "cell", layout, cols=cell_titles(results), xscale=None, height=1.9,
            y=f"steps to {results.target}", yscale="geometric",
        )  # fmt: skip
        for ax, part in panels:
            strip(ax, part, "level", "value", arms, "level", order=list(arms),
                  names=[""] * len(arms), censored="missed")  # fmt: skip
        return panels.finish([*arms.values(), *[NOT_REACHED] * bool(runs["missed"].any())])

    means = np.exp(np.log(runs["value"]).groupby([runs["level"], runs["cell"]], sort=False).mean())
    return Drawing(
        results.label("steps", dataset),
        f"A thin line per seed joins its runs. Geometric mean of the steps to {results.target}: "
        f"{by_level_and_cell(results, means, lambda steps: f'{steps:,.0f}')}.",
        f"Optimizer steps until the accuracy on the validation probe of {results.title(dataset)} "
        f"first held {results.target} (median of three successive measurements; logarithmic "
        f"scale){each_panel(results)}. Small marks are runs, a thin line joins those of one seed "
        f"({results.n_seeds}), large marks are geometric means{interval_phrase(runs)}. Open "
        "triangles never reached it and are drawn at their last step.",
        runs[[*keys(results), "seed", "value", "missed"]].rename(
            columns={"value": "steps", "missed": "not reached"}
        ),
        draw,
    )


def paired_differences(results: Results, dataset: str, level: object) -> Drawing:
    """The difference of every seed, with mean and interval, by cell and over all."""
    frame = differences(results, dataset, level)
    of = {metric: results.metric(metric) for metric in PAIRED}
    names, look = row_names(results), looks(results)[level]
    look = replace(look, name=f"mean and {INTERVALS[:-1]}", dash="")

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, None, "metric", layout, cols=list(PAIRED), sharex=False, wrap=(3, 1),
            x={m: of[m].unit or "ratio" for m in PAIRED}, xscale=SCALES, yscale=None,
            col_name={m: of[m].title for m in PAIRED}, height=0.5 + 0.29 * len(names),
        )  # fmt: skip
        for (_, metric), ax in panels.axes.items():
            ax.axvline(1 if of[metric].kind == "ratio" else 0, **RULE)
            rows(ax, panels.parts[_, metric], "difference", "cell", look, order=names, width=0.17)
            if ALL in names:
                ax.axhline(len(names) - 1.5, color=MUTED, lw=0.6)
        return panels.finish([ONE_SEED, look])

    overall = [results.compare(dataset, level, metric) for metric in PAIRED]
    numbers = "; ".join(
        f"{c.of.title} {c.of.difference(c.difference)} {c.of.unit}".rstrip()
        + f", better in {c.seeds_in_favour} of {counted(c.n, 'seed')}"
        for c in overall
        if c and not math.isnan(c.difference)
    )
    return Drawing(
        results.label("paired", dataset, level),
        f"Dots for single seeds around their means, a row per {row_axis(results)}. Overall: "
        f"{numbers or 'no seed has both runs'}.",
        f"Differences between {results.level_name(level)} and {results.level_name(results.baseline)}"
        f" on {results.title(dataset)}, paired by seed ({results.n_seeds}): each open circle is one "
        f"pair of runs, large marks are means{interval_phrase(frame)}. The "
        "vertical line marks no difference; steps are a ratio on a logarithmic scale, and below 1 "
        "means fewer steps.",
        frame,
        draw,
    )


def row_axis(results: Results) -> str:
    return " and ".join(settings.label(axis) for axis in results.cell_axes) or "measure"


def row_names(results: Results) -> list[str]:
    """The cells, and the mean over them where there are several."""
    names = [title or "all runs" for title in cell_titles(results)]
    return [*names, ALL] if len(names) > 1 else names


def differences(results: Results, dataset: str, level: object) -> pd.DataFrame:
    """Level minus baseline of every seed with both runs, by cell and as the mean over all cells.

    Accuracies in percentage points, losses in nats, steps as ratios.
    """
    parts, cells, names = [], cell_titles(results), row_names(results)
    for metric in PAIRED:
        runs = tidy(results, results.scored(metric), dataset)
        wide = runs.pivot(index="cell", columns=["level", "seed"], values="value").reindex(cells)
        arms = [wide[k] if k in wide else wide.iloc[:, :0] for k in (level, results.baseline)]
        gain = (arms[0] - arms[1]).set_axis(names[: len(cells)])
        if ALL in names:
            gain.loc[ALL] = gain.mean(skipna=False)
        long = gain.rename_axis("cell").stack().rename("difference").reset_index()
        parts.append(long.assign(metric=metric, difference=in_unit(results, metric, long)))
    return pd.concat(parts)[["metric", "cell", "seed", "difference"]].dropna()


def in_unit(results: Results, metric: str, frame: pd.DataFrame) -> pd.Series:
    d, kind = frame["difference"].astype(float), results.metric(metric).kind
    return 100 * d if kind == "accuracy" else np.exp(d) if kind == "ratio" else d


EFFECTS = {"test_accuracy": "percent", "test_loss": "linear", "steps_to_target": "geometric"}
UNITS = {"test_accuracy": "%", "test_loss": "nats", "steps_to_target": "steps"}


def batch_size_effect(results: Results, dataset: str) -> Drawing:
    """How test accuracy, test loss and speed of each level change with the batch size."""
    frame = pd.concat(
        tidy(results, results.scored(metric), dataset).assign(metric=metric) for metric in EFFECTS
    )
    steps = frame["metric"] == "steps_to_target"
    frame["value"] = frame["value"].where(~steps, frame["value"].clip(lower=1))
    arms, sizes = looks(results), results.values("batch_size")
    rank = frame["level"].map({level: i for i, level in enumerate(arms)}).astype(float)
    frame["place"] = frame["batch_size"] * 2 ** (
        min(0.09, 0.6 / len(arms)) * (rank - (len(arms) - 1) / 2)
    )
    of = {metric: results.metric(metric).title for metric in EFFECTS}

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, None, "metric", layout, cols=list(EFFECTS), wrap=(3, 1), height=2.1,
            x="batch size", y=UNITS, xscale=None, yscale=EFFECTS, sharey=False, col_name=of,
        )  # fmt: skip
        bars = {"err_style": "bars", "err_kws": {"capsize": 2, "elinewidth": 1.2}}
        for ax, part in panels:
            sns.lineplot(part, x="place", y="value", ax=ax, **series(arms, "level") | bars)
            for level, look in arms.items():
                seeds = part[part["level"] == level]
                dots(ax, seeds["place"], seeds["value"], look, alpha=0.35)
                seeds_apart(ax, seeds, seeds["place"], seeds["value"])
            doubling_axis(ax, sizes)
        return panels.finish(arms)

    accuracy = tidy(results, results.scored("test_accuracy"), dataset)
    at_size = accuracy.assign(cell=[f"batch size {size}" for size in accuracy["batch_size"]])
    means = at_size.groupby(["level", "cell"], sort=False)["value"].mean()

    return Drawing(
        results.label("batch-size", dataset),
        f"Test accuracy, test loss and steps against batch size. Mean test accuracy: "
        f"{by_level_and_cell(results, means, lambda v: f'{decimal(100 * v, 2)} percent')}.",
        f"What the batch size does to each level on {results.title(dataset)} after "
        f"{counted(results.epochs, 'epoch')}: small marks are seeds, large marks means"
        f"{interval_phrase(frame)} ({results.n_seeds}). Means of steps are geometric; a run that "
        f"never reached {results.target} counts with all its steps.",
        summary(frame, ["metric", *keys(results)]),
        draw,
    )
