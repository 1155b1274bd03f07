"""Accuracy against the time that training takes."""

import math

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from bnstudy import grid
from bnstudy.report.figures.common import by_level, cell_titles, keys, lines_and_bands, looks, tidy
from bnstudy.report.figures.curves import KEYS, floor_of, probes
from bnstudy.report.look import RULE, Drawing, Layout, series, summary, thinned
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import Results, percent

BEST, TIME = "best of all", "training_seconds"


def accuracy_by_time(results: Results, dataset: str) -> Drawing:
    """Accuracy against seconds of training by cell, and the best of all cells.

    A step takes each run's own seconds; the means over seeds stand at the median of their seeds'
    times.
    """
    frame = probes(results, dataset).merge(seconds_per_step(results, dataset), on=KEYS)
    frame["seconds"] = frame.pop("seconds_per_step") * frame["step"]
    arms, cells = looks(results), cell_titles(results)
    table = summary(frame, [*keys(results), "step", "seconds"])
    frontiers = {level: frontier(table[table[results.axis] == level]) for level in results.levels}
    several, target = len(cells) > 1, results.values("target")[0]

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            thinned(frame, "seconds", KEYS), None, "cell", layout,
            cols=[*cells, BEST] if several else cells, x="seconds of training", y="accuracy (%)",
            xscale="log", yscale="percent", wrap=(3, 2), height=1.7,
        )  # fmt: skip
        line = series(arms, "level", markers=False)
        for ax, part in panels:
            sns.lineplot(part, x="seconds", y="value", ax=ax, **line)
        for ax in panels.axes.values():
            ax.axhline(target, **RULE)
            ax.set_ylim(floor_of(table), 1)
        for level, best in frontiers.items() if several else ():
            some, look = thinned(best, "seconds"), arms[level]
            steps = look.line(drawstyle="steps-post")
            panels.axes[None, BEST].plot(some["seconds"], some["mean"], **steps)
        return panels.finish(arms)

    across = ", with the best panel for that," if several else ""
    best_note = (
        " *Best of all* is the highest mean accuracy that any of the panels has reached by then."
        if several
        else ""
    )
    arrivals = by_level(results, lambda level: arrival(frontiers[level], target))
    return Drawing(
        results.label("accuracy-by-time", dataset),
        f"Accuracy rising over seconds of training. The first mean accuracy of {percent(target)} is "
        f"reached{across} {arrivals}.",
        f"Accuracy on a fixed set of validation images of {results.title(dataset)} against the time "
        f"spent in training (logarithmic scale), without that spent measuring. "
        f"{lines_and_bands(results)} They stand at the median of the seeds' times. The line is at "
        f"{percent(target)}.{best_note} Runs may have shared the machine with others.",
        table,
        draw,
    )


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


def arrival(best: pd.DataFrame, target: float) -> str:
    """When a frontier reaches the target."""
    there = best[best["mean"] >= target]
    return "never" if there.empty else f"after {there['seconds'].iloc[0]:.2g} s"
