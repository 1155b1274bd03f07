"""The figures of the comparison and of the studies, declared in report/figures.yaml.

In those of the comparison, training over time and what runs ended with, series are the levels of the treatment, panels
the combinations of the other axes, whatever they are. The same curves follow as compact numbers, which the page's
script draws as the reader likes: it names nothing itself, and `report/templates/report/explorer.js` documents how it
reads them.

A figure of a study is a tidy frame that steps of `frames` make of the study's table, a kind of `report.plots`, and what
`overlays` draws into its panels. Nothing is drawn for an arm, a depth or a rate that the table does not have, and runs
are scored as the claims score them.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.special import stdtrit

from bnstudy import grid, scoring, settings
from bnstudy.report import frames, look, overlays
from bnstudy.report.look import DECLARED, MUTED, RULE, Drawing, Look, summary
from bnstudy.report.marks import Plot, note
from bnstudy.report.measures import MAIN, listed, percent, short_name
from bnstudy.report.plots import declared
from bnstudy.report.results import Level, Results, as_level
from bnstudy.report.words import Words, bands_of, failures, say, seeds_in

KEYS = ["level", "cell"]
BEST, TIME = "best of all", "training_seconds"
ALL = "all"
EFFECTS = ("test_accuracy", "test_loss", "steps_to_target")
EXPLORER = DECLARED["explorer"]
POINTS = 60_000  # of all its curves together; more would make the page slow and large
LONG = 30  # ratio of the largest to the smallest value from which its axis is logarithmic


def tidy(results: Results, frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The rows on a dataset with the level and the cell, a title, in columns of these names."""
    frame = results.select(frame, dataset=dataset)
    values = zip(*(frame[axis] for axis in results.cell_axes), strict=True)
    cells = [results.cell_title(dict(zip(results.cell_axes, v, strict=True))) for v in values]
    return frame.assign(level=frame[results.axis], cell=cells or "")


def looks(results: Results) -> dict[object, Look]:
    return look.looks_of(results.levels, results.baseline, results.level_name)


def measured(name: str, results: Results, dataset: str) -> pd.DataFrame:
    """The rows of metrics.csv that a figure shows."""
    return tidy(results, results.metrics.query(DECLARED["comparison"][name]["where"]), dataset)


def drawing(
    name: str, results: Results, dataset: str, frame: pd.DataFrame | None = None,
    level: object = None, **found: object,
) -> Drawing:  # fmt: skip
    """A figure as declared; its lines are the levels and its panels the cells, in their order.

    Without a frame it shows what was `measured`. `found` are words of its texts and options of the drawing. The data
    behind curves are means, by the axes of the study and what else makes panels and lines.
    """
    frame = measured(name, results, dataset) if frame is None else frame
    broken = sum(results.diverged(dataset, one) for one in results.levels)
    axes = listed(settings.label(axis) for axis in results.cell_axes)
    words = {"results": results, "dataset": results.title(dataset)}
    words["panels"] = f", a panel per {axes}" if axes else ""
    words["diverged"] = say("figures", "diverged", n=broken) if broken else ""
    figure = {key: said for key, said in DECLARED["comparison"][name].items() if key != "where"}
    if figure["kind"] == "curves" and "data" not in found:
        row, col, hue, x = (figure.get(key) for key in ("row", "col", "hue", "x"))
        by = dict.fromkeys((row, col, results.axis, *results.cell_axes, hue, x))
        found["data"] = summary(frame, [column for column in by if column not in (None, *KEYS)])
    if "hue" not in figure:
        found = {"hue": "level", "looks": looks(results)} | found
    if figure["col"] == "cell":
        found = {"cols": [results.cell_title(cell) for cell in results.cells]} | found
    return declared(results.label(name, dataset, level), figure, frame, words, found)


def learning_curves(results: Results, dataset: str) -> Drawing:
    """Validation loss and accuracy after each epoch, a column per cell."""
    return drawing("curves", results, dataset)


def train_against_validation(results: Results, dataset: str) -> Drawing:
    """Training and validation loss per epoch, a row per level and a column per cell."""
    names = {level: results.level_name(level) for level in results.levels}
    return drawing("gap", results, dataset, row_name=names)


def probe_curves(results: Results, dataset: str) -> Drawing:
    """Accuracy on the validation probe over optimizer steps, on a logarithmic step axis."""
    several = "batch_size" in (*results.cell_axes, results.axis)
    every = results.values("probe_every")
    spacing = f"every {listed(short_name('probe_every', one) for one in every)} steps"
    if every == [as_level(None)]:
        spacing = "every few steps at first, then in proportion to the step,"
    note = " A step at a larger batch size sees more images." if several else ""
    return drawing("probe", results, dataset, then=rising, spacing=spacing, note=note)


def rising(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """The axis of an accuracy from 80 %, or where the curves start, and the targets on it."""
    ax.set_ylim(max(0.0, min(0.8, float(plot.data["mean"].min()))), 1)
    for target in plot.words["results"].values("target"):
        ax.axhline(target, **RULE)
        note(ax, percent(target), (0, target), (3, 2), "axes data")


def accuracy_by_time(results: Results, dataset: str) -> Drawing:
    """Accuracy against seconds of training by cell, and the best of all cells.

    A step takes each run's own seconds; the means over seeds stand at the median of their seeds' times.
    """
    frame = measured("accuracy-by-time", results, dataset)
    frame = frame.merge(seconds_per_step(results, dataset), on=KEYS)
    frame["seconds"] = frame.pop("seconds_per_step") * frame["step"]
    axes, by = [results.axis, *results.cell_axes], ["seconds", "step"]
    found = {"note": "", "data": summary(frame, [*axes, *by])}
    if len(results.cells) > 1:
        table = summary(frame, [*KEYS, *by]).rename(columns={"mean": "value"})
        best = (
            frontier(table[table["level"] == level]).assign(level=level, cell=BEST, seed=None)
            for level in results.levels
        )
        frame = pd.concat([frame, *best])
        found["note"] = say("figures", "best")
        found["cols"] = [*(results.cell_title(cell) for cell in results.cells), BEST]
    return drawing("accuracy-by-time", results, dataset, frame, then=rising, **found)


def seconds_per_step(results: Results, dataset: str) -> pd.DataFrame:
    """The median over seeds of the seconds that a step took, by level and cell.

    A diverged run broke off within an epoch whose seconds were not counted, so it does not count; where a whole level
    diverged it has the pace of the others in its cell.
    """
    axes = grid.axes(results.config)
    runs = tidy(results, results.runs.merge(results.timings[[*axes, TIME]], on=axes), dataset)
    own = (runs[TIME] / runs["n_steps"]).where(runs["status"] == "ok")
    own = own.fillna(own.groupby([runs[key] for key in KEYS]).transform("median"))
    own = own.fillna(own.groupby(runs["cell"]).transform("median"))
    pace = own.groupby([runs[key] for key in KEYS]).median()
    return pace.rename("seconds_per_step").reset_index()


def frontier(curves: pd.DataFrame) -> pd.DataFrame:
    """The highest `value` of any curve by each time, at the times at which it rises."""
    best = curves.sort_values("seconds")[["seconds", "value"]]
    highest = best["value"].cummax()
    return best[highest > highest.shift(fill_value=-math.inf)]


def steps_to_target(results: Results, dataset: str) -> Drawing:
    """Steps to the target of each seed, the levels side by side, a panel per cell."""
    runs = frames.scored(tidy(results, results.runs, dataset), {}, "steps_to_target")
    data = runs[[results.axis, *results.cell_axes, "seed", "value", frames.MISSED]]
    data = data.rename(columns={"value": "steps"})
    return drawing("steps", results, dataset, runs, data=data)


def paired_differences(results: Results, dataset: str, level: object) -> Drawing:
    """Level minus baseline of every seed with both runs, by cell and as the mean over all cells.

    Accuracies in percentage points, losses in nats, steps as ratios.
    """
    of, found = {metric: results.metric(metric) for metric in MAIN}, {}
    cells, arms = [results.cell_title(cell) for cell in results.cells], [level, results.baseline]
    for metric in MAIN:
        runs = tidy(results, results.scored(metric), dataset)
        wide = runs.pivot(index=["cell", "seed"], columns="level", values="value")
        after, before = (wide.reindex(columns=arms).astype(float)[arm] for arm in arms)
        gain = (after - before).unstack("seed").reindex(cells).rename({"": "all runs"})
        if len(cells) > 1:
            gain.loc[ALL] = gain.mean(skipna=False)
        found[metric] = {"accuracy": 100 * gain, "ratio": np.exp(gain)}.get(of[metric].kind, gain)
    frame = pd.concat(found, names=["metric", "cell"]).stack().rename("value").dropna()
    names, own = list(gain.index), looks(results)[level]

    def set_off(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
        if ALL in names:
            ax.axhline(len(names) - 1.5, color=MUTED, lw=0.6)

    return drawing(
        "paired", results, dataset, frame.reset_index(), level, then=set_off,
        after=results.level_name(level), before=results.level_name(results.baseline),
        looks={name: Look(name, own.color, "", own.marker) for name in names},
        col_name={m: of[m].title for m in MAIN}, value={m: of[m].unit or "ratio" for m in MAIN},
    )  # fmt: skip


def batch_size_effect(results: Results, dataset: str) -> Drawing:
    """How test accuracy, test loss and speed of each level change with the batch size."""
    frame = pd.concat(tidy(results, results.scored(m), dataset).assign(metric=m) for m in EFFECTS)
    titles = {metric: results.metric(metric).title for metric in EFFECTS}
    return drawing("batch-size", results, dataset, frame, col_name=titles)


# The curves to explore.


def explorer(results: Results, dataset: str) -> dict[str, object]:
    """The curves on a dataset, of every measure, level, cell and seed, as what JSON can hold.

    `series[measure][level][cell]` is the index of its steps in `grids` and a list per seed: both lists hold the first
    number and then the gaps to the next ones, values in units of ten to minus the `decimals` of their measure, null
    where there is none.
    """
    frame = tidy(results, results.metrics, dataset)
    several = frame.groupby(["split", "metric"])["step"].transform("nunique") > 1
    frame = frame[several & (frame["split"] != "test")]
    by = ["split", "metric", "level", "cell"]
    curves = max(1, len(frame.groupby([*by, "seed"])))
    frame = look.thinned(frame, "step", by, max(9, POINTS // curves))
    first, keys = [*EXPLORER["titles"]], frame.groupby(["split", "metric"]).groups
    titles = [results.cell_title(cell) for cell in results.cells]
    measures, series, grids = [], [], []
    # What the study is about comes first, what was observed last.
    for split, metric in sorted(keys, key=lambda k: ([*first, k[0]].index(k[0]), *k)):
        part = results.select(frame, split=split, metric=metric)
        measures.append(measure(results, split, metric, part["value"].astype(float)))
        arms = [results.select(part, level=level) for level in results.levels]
        cells = [[results.select(arm, cell=title) for title in titles] for arm in arms]
        series.append([[curve(c, results, measures[-1], grids) for c in arm] for arm in cells])
    bands, counts = bands_of(results.runs, " over {}"), range(len(results.seeds) + 1)
    quantiles = [round(stdtrit(n - 1, 0.975), 6) if n >= look.ENOUGH else None for n in counts]
    axes = {axis: [short_name(axis, v) for v in results.values(axis)] for axis in results.cell_axes}
    per_step, styles = {"steps": None} | paces(results, dataset), looks(results).values()
    return {
        "kind": "explorer",
        "caption": EXPLORER["caption"].format(dataset=results.title(dataset), bands=bands),
        "measures": measures,
        "axes": [{"name": a, "label": settings.label(a), "values": v} for a, v in axes.items()],
        "levels": [{"name": s.name, "color": s.color, "dash": [*s.dash]} for s in styles],
        "seeds": results.seeds,
        "quantiles": quantiles,
        "against": [
            {"name": name, "unit": name.split()[0].rstrip("s"), "factor": factor} for name, factor in per_step.items()
        ],
        "grids": grids,
        "series": series,
    }


def measure(results: Results, split: str, metric: str, values: pd.Series) -> dict[str, object]:
    """How a measure is called, read and drawn."""
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    logarithmic = low > 0 and (metric == "loss" or high > LONG * low)
    targets = results.values("target") if (split, metric) == ("probe", "accuracy") else []
    found = {
        "name": f"{split} {metric}",
        "title": EXPLORER["titles"].get(split, f"{split} {{}}").format(metric).replace("_", " "),
        "decimals": 4 - math.floor(math.log10(max(abs(low), abs(high), 1e-12))),
        "scale": "log" if logarithmic else "linear",
        "targets": [[target, percent(target)] for target in targets],
    }
    usual = {"unit": "", "times": 1, "digits": None, "better": 0}
    return found | usual | EXPLORER["metrics"].get(metric, {})


def curve(part: pd.DataFrame, results: Results, of: dict, grids: list[list[int]]) -> list:
    """The index of the steps of a curve and the values of each seed, as gaps."""
    wide = part.pivot_table(index="step", columns="seed", values="value", dropna=False)
    steps = gaps([int(step) for step in wide.index])
    if steps not in grids:
        grids.append(steps)
    unit, wide = 10.0 ** of["decimals"], wide.reindex(columns=results.seeds)
    whole = ([round(v * unit) if np.isfinite(v) else None for v in wide[seed]] for seed in wide)
    return [grids.index(steps), [gaps(values) for values in whole]]


def gaps(values: list[int | None]) -> list[int | None]:
    """The first number and the differences to the next ones, without what is missing at the end."""
    while values and values[-1] is None:
        values = values[:-1]
    found, before = [], 0
    for value in values:
        found.append(None if value is None else value - before)
        before = before if value is None else value
    return found


def paces(results: Results, dataset: str) -> dict[str, list[list[float | None]]]:
    """What a step adds on each axis, by level and cell; None where nothing was run."""
    pace = seconds_per_step(results, dataset).set_index(["level", "cell"])["seconds_per_step"]

    def of_step(level: Level, cell: dict) -> tuple[float, float, float]:
        chosen = {results.axis: level} | cell
        steps = results.at(results.runs, dataset, level, **cell)["n_steps"].max()
        epochs, size = (chosen.get(a, results.values(a)[0]) for a in ("epochs", "batch_size"))
        return epochs / steps, size, pace.get((level, results.cell_title(cell)), math.nan)

    added = [[of_step(level, cell) for cell in results.cells] for level in results.levels]
    names = ("epochs", "images seen", "seconds of training")
    return {n: [[finite(c[i]) for c in arm] for arm in added] for i, n in enumerate(names)}


def finite(x: float) -> float | None:
    return float(f"{x:.8g}") if math.isfinite(x) else None


# The figures of the studies.


def of_study(label: str, said: dict, table: pd.DataFrame, options: dict) -> Drawing | None:
    """A figure as declared, of the table and the options of its study.

    None where a reduced grid has left nothing to draw.
    """
    said, frame, found = dict(said), table, {}
    runs, told = said.pop("runs", None), said.pop("told", {})
    chosen = options | {"looks": [*said.get("looks", ())]}
    for name, given in Words().filled(said.pop("frame"), options).items():
        made = getattr(frames, name)(frame, chosen, *([given] if given else []))
        frame, more = made if isinstance(made, tuple) else (made, {})
        if frame is None or frame.empty:
            return None
        found |= more
    if (looks := found.get("looks", said.get("looks"))) is not None:
        frame = frame[frame[said.get("hue", "norm")].isin(looks)]
        if frame.empty:
            return None
    words = options | {name: table.eval(expression) for name, expression in told.items()}
    if "seed" in table:
        words["seeds"] = seeds_in(frame if "seed" in frame else table)
    if "n_classes" in table:
        words["floor"] = scoring.fails_below(table["n_classes"].max())
    if "dataset" in table:
        names = table["dataset"].unique()
        words["datasets"] = [settings.level_name("dataset", name) for name in names]
    if runs:
        words["guessing"] = failures("guessing", table[scoring.failed(table)], runs)
    said |= {key: getattr(overlays, said[key]) for key in ("mark", "then") if said.get(key)}
    return declared(label, said, frame, words, found)


FIGURES: dict[str, dict[str, Callable[[pd.DataFrame, dict], Drawing | None]]] = {
    study: {label: partial(of_study, label, said) for label, said in figures.items()}
    for study, figures in DECLARED["studies"].items()
}
