"""Figures over the course of training: losses and accuracies by epoch, by step and by second."""

import math

import pandas as pd
from matplotlib.axes import Axes

from bnstudy import grid
from bnstudy.report.figures.common import by_cell, diverged_phrase, each_panel, keys, tidy
from bnstudy.report.look import DASHED, DOTTED, INK, MUTED, PINK, RULE, Drawing, Look, summary
from bnstudy.report.marks import note
from bnstudy.report.measures import listed, percent, short_name
from bnstudy.report.plots import curves
from bnstudy.report.results import Results, as_level

LABELS = {"loss": "loss (nats)", "accuracy": "accuracy (%)"}
SPLITS = {
    "train": Look("training, as trained", MUTED, DOTTED, "X"),
    "train_subset": Look("training, evaluation mode", INK, DASHED, "v"),
    "validation": Look("validation", PINK, "", "o"),
}
KEYS = ["level", "cell"]
BEST, TIME = "best of all", "training_seconds"


def learning_curves(results: Results, dataset: str) -> Drawing:
    """Validation loss and accuracy after each epoch, a column per cell."""
    frame = tidy(results, results.select(results.metrics, split="validation"), dataset)
    frame = frame[frame["metric"].isin(LABELS)]
    return curves(
        results.label("curves", dataset),
        frame,
        f"Validation loss (cross-entropy in nats, logarithmic scale) and validation accuracy on "
        f"{results.title(dataset)} at the end of each epoch, measured in evaluation mode."
        f"{diverged_phrase(results, dataset)}",
        x="epoch", row="metric", rows=list(LABELS), row_name=None, value=LABELS, seeds="",
        scale={"loss": "log", "accuracy": "percent"}, xscale="count", sharey="row",
        what="validation loss and accuracy", data=summary(frame, ["metric", *keys(results), "epoch"]),
        **by_cell(results),
    )  # fmt: skip


def train_against_validation(results: Results, dataset: str) -> Drawing:
    """Training and validation loss per epoch, a row per level and a column per cell."""
    frame = tidy(results, results.select(results.metrics, metric="loss"), dataset)
    frame = frame[frame["split"].isin(list(SPLITS))]
    return curves(
        results.label("gap", dataset),
        frame,
        f"Training against validation loss on {results.title(dataset)} (cross-entropy in nats, "
        "logarithmic scale). *As trained* is the mean over an epoch in which the weights keep "
        "changing, in training mode; the other two are measured at the epoch's end, in evaluation "
        f"mode, so only these two compare like with like.{diverged_phrase(results, dataset)}",
        x="epoch", row="level", rows=results.levels, row_name=results.level_name, xscale="count",
        value="loss (nats)", scale="log", seeds="",
        data=summary(frame, [*keys(results), "split", "epoch"]),
        **by_cell(results) | {"hue": "split", "looks": SPLITS},
    )  # fmt: skip


def probes(results: Results, dataset: str) -> pd.DataFrame:
    """Accuracy on the validation probe after every few steps of training."""
    frame = results.select(results.metrics, split="probe", metric="accuracy")
    return tidy(results, frame[frame["step"] > 0], dataset)


def probe_curves(results: Results, dataset: str) -> Drawing:
    """Accuracy on the validation probe over optimizer steps, on a logarithmic step axis."""
    several = "batch_size" in (*results.cell_axes, results.axis)
    note = " A step at a larger batch size sees more images." if several else ""
    return rising(
        results,
        probes(results, dataset),
        results.label("probe", dataset),
        f"Accuracy on a fixed set of validation images of {results.title(dataset)} against the "
        f"number of optimizer steps (logarithmic scale){each_panel(results)}, measured "
        f"{spacing(results)} in evaluation mode.{note}",
        "step",
        **by_cell(results),
    )


def spacing(results: Results) -> str:
    """How far apart the probes are."""
    every = results.values("probe_every")
    if every == [as_level(None)]:
        return "every few steps at first, then in proportion to the step,"
    return f"every {listed(short_name('probe_every', one) for one in every)} steps"


def rising(
    results: Results, frame: pd.DataFrame, label: str, caption: str, x: str,
    more: pd.DataFrame | None = None, **options: object,
) -> Drawing:  # fmt: skip
    """An accuracy over a logarithmic axis from 80 %, or where the curves start, with the targets.

    `more` are rows that are drawn but not among the data.
    """
    table = summary(frame, [*keys(results), *dict.fromkeys((x, "step"))])
    floor = max(0.0, min(0.8, float(table["mean"].min()))) if len(table) else 0.0

    def targets(ax: Axes, part: pd.DataFrame) -> None:
        ax.set_ylim(floor, 1)
        for target in results.values("target"):
            ax.axhline(target, **RULE)
            note(ax, percent(target), (0, target), (3, 2), "axes data")

    options = {"seeds": "", "markers": False, "height": 1.8, "data": table} | options
    return curves(
        label, pd.concat([frame, more]), caption, x=x, xscale="log", value="accuracy (%)", scale="percent",
        then=targets, **options,
    )  # fmt: skip


def accuracy_by_time(results: Results, dataset: str) -> Drawing:
    """Accuracy against seconds of training by cell, and the best of all cells.

    A step takes each run's own seconds; the means over seeds stand at the median of their seeds'
    times.
    """
    frame = probes(results, dataset).merge(seconds_per_step(results, dataset), on=KEYS)
    frame["seconds"] = frame.pop("seconds_per_step") * frame["step"]
    table = summary(frame, [*KEYS, "step", "seconds"])
    best = [
        frontier(table[table["level"] == level]).assign(level=level, cell=BEST, seed=None)
        for level in results.levels
    ]
    options, several = by_cell(results), len(results.cells) > 1
    if several:
        options["cols"] = [*options["cols"], BEST]
        options["more"] = pd.concat(best).rename(columns={"mean": "value"})
    note = " *Best of all* is the highest mean accuracy that any of the panels has reached by then."
    return rising(
        results,
        frame,
        results.label("accuracy-by-time", dataset),
        f"Accuracy on a fixed set of validation images of {results.title(dataset)} against the time "
        "spent in training (logarithmic scale), without that spent measuring; means stand at the median "
        f"of the seeds' times.{note if several else ''} Runs may have shared the machine with others.",
        "seconds", wrap=(3, 2), **options,
    )  # fmt: skip


def seconds_per_step(results: Results, dataset: str) -> pd.DataFrame:
    """The median over seeds of the seconds that a step took, by level and cell.

    A diverged run broke off within an epoch whose seconds were not counted, so it does not count;
    where a whole level diverged it has the pace of the others in its cell.
    """
    axes = grid.axes(results.config)
    done = results.metrics.groupby(axes)["step"].max().rename("done").reset_index()
    runs = results.runs.merge(done, on=axes).merge(results.timings[[*axes, TIME]], on=axes)
    runs = tidy(results, runs, dataset)
    own = (runs[TIME] / runs["done"]).where((runs["status"] == "ok") & (runs["done"] > 0))
    own = own.fillna(own.groupby([runs[key] for key in KEYS]).transform("median"))
    own = own.fillna(own.groupby(runs["cell"]).transform("median"))
    pace = own.groupby([runs[key] for key in KEYS]).median()
    return pace.rename("seconds_per_step").reset_index()


def frontier(curves: pd.DataFrame) -> pd.DataFrame:
    """The highest mean accuracy of any curve by each time, at the times at which it rises."""
    best = curves.sort_values("seconds")[["seconds", "mean"]]
    highest = best["mean"].cummax()
    return best[highest > highest.shift(fill_value=-math.inf)]
