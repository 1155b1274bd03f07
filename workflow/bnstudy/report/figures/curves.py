"""Figures over the course of training: losses and accuracies by epoch and by step."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from bnstudy.report.figures.common import (
    by_level,
    by_level_and_cell,
    cell_titles,
    diverged_phrase,
    each_panel,
    finite,
    keys,
    lines_and_bands,
    looks,
    tidy,
)
from bnstudy.report.look import (
    DASHED,
    DOTTED,
    MUTED,
    RULE,
    Drawing,
    Layout,
    Look,
    series,
    summary,
    thinned,
)
from bnstudy.report.marks import note
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import Results, as_level, counted, decimal, listed, percent, short_name

LABELS = {"loss": "loss (nats)", "accuracy": "accuracy (%)"}
SCALES = {"loss": "log", "accuracy": "percent"}
KEYS = ["level", "cell"]
SPLITS = {
    "train": Look("training, as trained", MUTED, DOTTED, "X"),
    "train_subset": Look("training, evaluation mode", MUTED, DASHED, "v"),
    "validation": Look("validation", MUTED, "", "o"),
}


def learning_curves(results: Results, dataset: str) -> Drawing:
    """Validation loss and accuracy after each epoch, a column per cell."""
    frame = finite(tidy(results, results.select(results.metrics, split="validation"), dataset))
    arms = looks(results)

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, "metric", "cell", layout, rows=list(LABELS), cols=cell_titles(results),
            x="epoch", y=LABELS, xscale="count", yscale=SCALES, sharey="row",
        )  # fmt: skip
        for ax, part in panels:
            sns.lineplot(part, x="epoch", y="value", ax=ax, **series(arms, "level"))
        return panels.finish(arms)

    last = frame[(frame["metric"] == "loss") & (frame["epoch"] == frame["epoch"].max())]
    ends = last.groupby(["level", "cell"], sort=False)["value"].mean()
    return Drawing(
        results.label("curves", dataset),
        f"Lines over epochs 1 to {results.epochs}{each_panel(results)}. Mean validation loss after "
        f"the last epoch: {by_level_and_cell(results, ends, four)}.",
        f"Validation loss (cross-entropy in nats, logarithmic scale) and validation accuracy on "
        f"{results.title(dataset)} at the end of each epoch, measured in evaluation mode. "
        f"{lines_and_bands(results)}{diverged_phrase(results, dataset)}",
        summary(frame, ["metric", *keys(results), "epoch"]),
        draw,
    )


def four(loss: float) -> str:
    return decimal(loss, 4)


def train_against_validation(results: Results, dataset: str) -> Drawing:
    """Training and validation loss per epoch, a row per level and a column per cell."""
    frame = finite(tidy(results, results.select(results.metrics, metric="loss"), dataset))
    frame = frame[frame["split"].isin(list(SPLITS))]
    arms = looks(results)

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, "level", "cell", layout, rows=results.levels, cols=cell_titles(results),
            x="epoch", y="loss (nats)", xscale="count", yscale="log", row_name=results.level_name,
        )  # fmt: skip
        for ax, part in panels:
            color = arms[part["level"].iat[0]].color
            style = series(SPLITS, "split") | {"palette": dict.fromkeys(SPLITS, color)}
            sns.lineplot(part, x="epoch", y="value", ax=ax, markersize=4.5, lw=1.3, **style)
        return panels.finish(SPLITS)

    last = frame[frame["epoch"] == results.epochs]
    means = last.groupby(["level", "split", "cell"])["value"].mean().groupby(level=[0, 1]).mean()

    def ends(level: object) -> str:
        if (level, "validation") not in means.index or (level, "train_subset") not in means.index:
            return ""
        return (
            f"{four(means[level, 'train_subset'])} on training and "
            f"{four(means[level, 'validation'])} on validation images"
        )

    over = f" over {len(results.cells)} panels" if len(results.cells) > 1 else ""
    return Drawing(
        results.label("gap", dataset),
        f"Training and validation loss over epochs, a row per level. Mean loss after the last epoch"
        f"{over}: {by_level(results, ends)}.",
        f"Training against validation loss on {results.title(dataset)} (cross-entropy in nats, "
        "logarithmic scale). *As trained* is the mean over an epoch in which the weights keep "
        "changing, in training mode; the other two are measured at the epoch's end, in evaluation "
        f"mode, so only these two compare like with like. {lines_and_bands(results)}"
        f"{diverged_phrase(results, dataset)}",
        summary(frame, [*keys(results), "split", "epoch"]),
        draw,
    )


def probes(results: Results, dataset: str) -> pd.DataFrame:
    """Accuracy on the validation probe after every few steps of training."""
    frame = results.select(results.metrics, split="probe", metric="accuracy")
    return tidy(results, finite(frame[frame["step"] > 0]), dataset)


def floor_of(means: pd.DataFrame) -> float:
    """Where the axis of an accuracy starts: at 80 %, or where the curves do."""
    return max(0.0, min(0.8, float(means["mean"].min()))) if len(means) else 0.0


def probe_curves(results: Results, dataset: str) -> Drawing:
    """Accuracy on the validation probe over optimizer steps, on a logarithmic step axis."""
    frame, arms = probes(results, dataset), looks(results)
    table, shown = summary(frame, [*keys(results), "step"]), thinned(frame, "step", KEYS)

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            shown, None, "cell", layout, cols=cell_titles(results), x="step", y="accuracy (%)",
            xscale="log", yscale="percent", height=1.9,
        )  # fmt: skip
        for ax, part in panels:
            sns.lineplot(part, x="step", y="value", ax=ax, **series(arms, "level", markers=False))
            ax.set_ylim(floor_of(table), 1)
            for target in results.values("target"):
                ax.axhline(target, **RULE)
                note(ax, percent(target), (0, target), (3, 2), "axes data")
        return panels.finish(arms)

    def reached(level: object) -> str:
        runs = results.at(results.runs, dataset, level)
        return f"in {runs['steps_to_target'].notna().sum()} of {counted(len(runs), 'run')}"

    return Drawing(
        results.label("probe", dataset),
        f"Accuracy rising over optimizer steps{each_panel(results)}, with a line at "
        f"{results.target} that was reached, {by_level(results, reached)}.",
        f"Accuracy on a fixed set of validation images of {results.title(dataset)} against the "
        f"number of optimizer steps (logarithmic scale), measured {spacing(results)} in evaluation "
        f"mode. {lines_and_bands(results)}"
        f"{size_note(results)}",
        table,
        draw,
    )


def spacing(results: Results) -> str:
    """How far apart the probes are."""
    every = results.values("probe_every")
    if every == [as_level(None)]:
        return "every few steps at first, then in proportion to the step,"
    return f"every {listed(short_name('probe_every', one) for one in every)} steps"


def size_note(results: Results) -> str:
    several = "batch_size" in (*results.cell_axes, results.axis)
    return " A step at a larger batch size sees more images." if several else ""
