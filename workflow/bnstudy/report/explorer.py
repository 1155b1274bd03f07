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
from bnstudy.report.results import Results
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
    titles = [results.cell_title(cell) for cell in results.cells]
    per_step, styles = paces(results, dataset), looks(results)
    grids: list[list[int]] = []
    measures, series = [], []
    # What the study is about comes first, what was observed last.
    keys = sorted(frame.groupby(["split", "metric"]).groups, key=lambda k: (place(k[0]), *k))
    for split, metric in keys:
        part = frame[(frame["split"] == split) & (frame["metric"] == metric)]
        of = measure(results, split, metric, part["value"].astype(float))
        arms = [
            [
                curve(part[(part["level"] == level) & (part["cell"] == title)], results, of, grids)
                for title in titles
            ]
            for level in results.levels
        ]
        measures.append(of)
        series.append(arms)
    return {
        "kind": "explorer",
        "caption": DECLARED["caption"].format(
            dataset=results.title(dataset), bands=bands_of(results.runs, " over {}")
        ),
        "measures": measures,
        "axes": [
            {
                "name": axis,
                "label": settings.label(axis),
                "values": [short_name(axis, value) for value in results.values(axis)],
            }
            for axis in results.cell_axes
        ],
        "levels": [
            {"name": one.name, "color": one.color, "dash": list(one.dash)}
            for one in styles.values()
        ],
        "seeds": results.seeds,
        "quantiles": [
            round(stdtrit(n - 1, 0.975), 6) if n >= ENOUGH else None
            for n in range(len(results.seeds) + 1)
        ],
        "against": [
            {"name": "steps", "unit": "step", "factor": None},
            *(
                {"name": name, "unit": name.split()[0].rstrip("s"), "factor": factor}
                for name, factor in per_step.items()
            ),
        ],
        "grids": grids,
        "series": series,
    }


def place(split: str) -> int:
    return [*DECLARED["titles"], split].index(split)


def measure(results: Results, split: str, metric: str, values: pd.Series) -> dict[str, object]:
    """How a measure is called, read and drawn."""
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    logarithmic = low > 0 and (metric == "loss" or high > LONG * low)
    found = {
        "name": f"{split} {metric}",
        "title": DECLARED["titles"].get(split, f"{split} {{}}").format(metric).replace("_", " "),
        "decimals": 4 - math.floor(math.log10(max(abs(low), abs(high), 1e-12))),
        "scale": "log" if logarithmic else "linear",
        "targets": [],
    }
    found |= {"unit": "", "times": 1, "digits": None, "better": 0}
    found |= DECLARED["metrics"].get(metric, {})
    if (split, metric) == ("probe", "accuracy"):
        found["targets"] = [[t, percent(t)] for t in results.values("target")]
    return found


def curve(part: pd.DataFrame, results: Results, of: dict, grids: list[list[int]]) -> list:
    """The index of the steps of a curve and the values of each seed, as gaps."""
    wide = part.pivot_table(index="step", columns="seed", values="value", dropna=False)
    steps = gaps([int(step) for step in wide.index])
    if steps not in grids:
        grids.append(steps)
    rows = []
    for seed in results.seeds:
        values = wide.get(seed, [])
        scaled = [v * 10.0 ** of["decimals"] if np.isfinite(v) else None for v in values]
        rows.append(gaps([None if v is None else round(v) for v in scaled]))
    return [grids.index(steps), rows]


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
    found = {"epochs": [], "images seen": [], "seconds of training": []}
    for level in results.levels:
        for column in found.values():
            column.append([])
        for cell in results.cells:
            chosen = {results.axis: level} | cell
            steps = results.at(results.runs, dataset, level, **cell)["n_steps"].max()
            epochs = chosen.get("epochs", results.values("epochs")[0])
            size = chosen.get("batch_size", results.values("batch_size")[0])
            seconds = pace.get((level, results.cell_title(cell)), math.nan)
            for column, value in zip(found.values(), (epochs / steps, size, seconds), strict=True):
                column[-1].append(finite(float(value)))
    return found


def finite(x: float) -> float | None:
    return float(f"{x:.8g}") if math.isfinite(x) else None
