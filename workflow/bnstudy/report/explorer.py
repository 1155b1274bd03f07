"""The curves of a study as compact numbers, which the page's script draws as the reader likes.

Nothing is named in the script: measures, axes, levels and seeds come from here, whatever was
compared. `report/templates/report/explorer.js` documents how it reads them.
"""

import math

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bnstudy import settings
from bnstudy.report import look
from bnstudy.report.figures.runs import looks, seconds_per_step, tidy
from bnstudy.report.look import ENOUGH, thinned
from bnstudy.report.measures import percent, short_name
from bnstudy.report.results import Level, Results
from bnstudy.report.words import bands_of

POINTS = 60_000  # of all curves together; more would make the page slow and large
DECLARED = look.DECLARED["explorer"]
LONG = 30  # ratio of the largest to the smallest value from which an axis is logarithmic


def explorer(results: Results, dataset: str) -> dict[str, object]:
    """The curves on a dataset, of every measure, level, cell and seed, as what JSON can hold.

    `series[measure][level][cell]` is the index of its steps in `grids` and a list per seed: both lists
    hold the first number and then the gaps to the next ones, values in units of ten to minus the
    `decimals` of their measure, null where there is none.
    """
    frame = tidy(results, results.metrics, dataset)
    several = frame.groupby(["split", "metric"])["step"].transform("nunique") > 1
    frame = frame[several & (frame["split"] != "test")]
    curves = max(1, len(frame.groupby(["split", "metric", "level", "cell", "seed"])))
    frame = thinned(frame, "step", ["split", "metric", "level", "cell"], max(9, POINTS // curves))
    first, keys = [*DECLARED["titles"]], frame.groupby(["split", "metric"]).groups
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
    axes = {axis: [short_name(axis, v) for v in results.values(axis)] for axis in results.cell_axes}
    per_step, styles = {"steps": None} | paces(results, dataset), looks(results).values()
    return {
        "kind": "explorer",
        "caption": DECLARED["caption"].format(dataset=results.title(dataset), bands=bands),
        "measures": measures,
        "axes": [{"name": a, "label": settings.label(a), "values": v} for a, v in axes.items()],
        "levels": [{"name": s.name, "color": s.color, "dash": [*s.dash]} for s in styles],
        "seeds": results.seeds,
        "quantiles": [round(stdtrit(n - 1, 0.975), 6) if n >= ENOUGH else None for n in counts],
        "against": [
            {"name": name, "unit": name.split()[0].rstrip("s"), "factor": factor}
            for name, factor in per_step.items()
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
        "title": DECLARED["titles"].get(split, f"{split} {{}}").format(metric).replace("_", " "),
        "decimals": 4 - math.floor(math.log10(max(abs(low), abs(high), 1e-12))),
        "scale": "log" if logarithmic else "linear",
        "targets": [[target, percent(target)] for target in targets],
    }
    usual = {"unit": "", "times": 1, "digits": None, "better": 0}
    return found | usual | DECLARED["metrics"].get(metric, {})


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
