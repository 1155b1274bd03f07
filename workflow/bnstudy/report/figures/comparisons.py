"""Figures of what runs ended with: their levels side by side, their differences, their trends."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bnstudy import scoring
from bnstudy.report.figures.common import by_arm, by_cell, each_panel, keys, looks, tidy
from bnstudy.report.look import MUTED, Drawing, Look, summary
from bnstudy.report.measures import counted
from bnstudy.report.plots import curves, rows, strips
from bnstudy.report.results import Results

MISSED, ALL = "not reached", "all"
PAIRED = ("test_accuracy", "test_loss", "ln_steps_to_target")
SCALES = {"test_accuracy": "linear", "test_loss": "linear", "ln_steps_to_target": "geometric"}
EFFECTS = {"test_accuracy": "percent", "test_loss": "linear", "steps_to_target": "geometric"}
UNITS = {"test_accuracy": "%", "test_loss": "nats", "steps_to_target": "steps"}


def steps_to_target(results: Results, dataset: str) -> Drawing:
    """Steps to the target of each seed, the levels side by side, a panel per cell."""
    runs = tidy(results, results.scored("steps_to_target"), dataset)
    runs[MISSED] = runs["steps_to_target"].isna() | scoring.failed(runs)
    runs["value"] = runs["value"].clip(lower=1)
    return strips(
        results.label("steps", dataset),
        runs,
        f"Optimizer steps until the accuracy on the validation probe of {results.title(dataset)} "
        f"first held {results.target} (median of three successive measurements; logarithmic "
        f"scale){each_panel(results)}. Open triangles never reached it and are drawn at their last "
        "step. Means are geometric.",
        missed=MISSED, height=1.9,
        value=f"steps to {results.target}", scale="geometric",
        data=runs[[*keys(results), "seed", "value", MISSED]].rename(columns={"value": "steps"}),
        **by_cell(results),
    )  # fmt: skip


def paired_differences(results: Results, dataset: str, level: object) -> Drawing:
    """The difference of every seed, with mean and interval, by cell and over all."""
    frame = differences(results, dataset, level)
    of = {metric: results.metric(metric) for metric in PAIRED}
    names, look = row_names(results), looks(results)[level]

    def set_off(ax: Axes, part: pd.DataFrame) -> None:
        if ALL in names:
            ax.axhline(len(names) - 1.5, color=MUTED, lw=0.6)

    return rows(
        results.label("paired", dataset, level),
        frame,
        f"Differences between {results.level_name(level)} and {results.level_name(results.baseline)}"
        f" on {results.title(dataset)}, paired by seed ({results.n_seeds}). The vertical line marks no "
        "difference; steps are a ratio on a logarithmic scale, and below 1 means fewer steps.",
        hue="cell", looks={name: Look(name, look.color, "", look.marker) for name in names},
        col="metric", cols=list(PAIRED), col_name={m: of[m].title for m in PAIRED}, noun="pair",
        value={m: of[m].unit or "ratio" for m in PAIRED}, scale=SCALES, then=set_off,
        rule={m: 1 if of[m].kind == "ratio" else 0 for m in PAIRED},
        what=f"{results.level_name(level)} minus {results.level_name(results.baseline)}",
    )  # fmt: skip


def row_names(results: Results) -> list[str]:
    """The cells, and the mean over them where there are several."""
    names = [results.cell_title(cell) or "all runs" for cell in results.cells]
    return [*names, ALL] if len(names) > 1 else names


def differences(results: Results, dataset: str, level: object) -> pd.DataFrame:
    """Level minus baseline of every seed with both runs, by cell and as the mean over all cells.

    Accuracies in percentage points, losses in nats, steps as ratios.
    """
    parts, names = [], row_names(results)
    cells = [results.cell_title(cell) for cell in results.cells]
    for metric in PAIRED:
        runs = tidy(results, results.scored(metric), dataset)
        wide = runs.pivot(index="cell", columns=["level", "seed"], values="value").reindex(cells)
        arms = [wide[k] if k in wide else wide.iloc[:, :0] for k in (level, results.baseline)]
        gain = (arms[0] - arms[1]).set_axis(names[: len(cells)])
        if ALL in names:
            gain.loc[ALL] = gain.mean(skipna=False)
        long = gain.rename_axis("cell").stack().rename("value").reset_index()
        kind, value = results.metric(metric).kind, long["value"].astype(float)
        value = 100 * value if kind == "accuracy" else np.exp(value) if kind == "ratio" else value
        parts.append(long.assign(metric=metric, value=value))
    return pd.concat(parts)[["metric", "cell", "seed", "value"]].dropna()


def batch_size_effect(results: Results, dataset: str) -> Drawing:
    """How test accuracy, test loss and speed of each level change with the batch size."""
    frame = pd.concat(
        tidy(results, results.scored(metric), dataset).assign(metric=metric) for metric in EFFECTS
    )
    steps = frame["metric"] == "steps_to_target"
    frame["value"] = frame["value"].where(~steps, frame["value"].clip(lower=1))
    return curves(
        results.label("batch-size", dataset),
        frame,
        f"What the batch size does to each level on {results.title(dataset)} after "
        f"{counted(results.epochs, 'epoch')}. Means of steps are geometric; a run that "
        f"never reached {results.target} counts with all its steps.",
        x="batch_size", col="metric", cols=list(EFFECTS), wrap=(3, 1), height=2.1, sharey=False,
        col_name={metric: results.metric(metric).title for metric in EFFECTS}, value=UNITS,
        scale=EFFECTS, ticks=True, dodge=1.06, what="accuracy (%), loss (nats) and steps",
        data=summary(frame, ["metric", *keys(results)]), **by_arm(results),
    )  # fmt: skip
