"""What the figures of a comparison share: levels and cells as columns, and sentences about them."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from bnstudy import settings
from bnstudy.report.look import Look, looks_of
from bnstudy.report.results import Results, counted, listed
from bnstudy.report.words import bands_of

SAID_ONE_BY_ONE = 4  # of more cells a sentence names the extremes


def tidy(results: Results, frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The rows on a dataset with the level and the cell, a title, in columns of these names."""
    frame = results.select(frame, dataset=dataset)
    values = zip(*(frame[axis] for axis in results.cell_axes), strict=True)
    cells = [results.cell_title(dict(zip(results.cell_axes, v, strict=True))) for v in values]
    return frame.assign(level=frame[results.axis], cell=cells or "")


def cell_titles(results: Results) -> list[str]:
    """The cells in the order of the config: the panels of most figures."""
    return [results.cell_title(cell) for cell in results.cells]


def looks(results: Results) -> dict[object, Look]:
    return looks_of(results.levels, results.baseline, results.level_name)


def keys(results: Results) -> list[str]:
    """The columns by which data behind a figure are grouped."""
    return [results.axis, *results.cell_axes]


def by_level(results: Results, write: Callable[[object], str]) -> str:
    """`without normalization 0.1; with batch normalization 0.2`, of the levels with something."""
    said = ((results.arm(level), write(level)) for level in results.levels)
    return "; ".join(f"{arm} {text}" for arm, text in said if text) or "none was measured"


def by_cell(values: pd.Series, write: Callable[[float], str]) -> str:
    """`0.1 at batch size 32 and 0.2 at batch size 64`, of numbers by the titles of their cells."""
    values = values.dropna()
    if len(values) > SAID_ONE_BY_ONE:
        low, high = values.idxmin(), values.idxmax()
        return f"from {write(values[low])} at {low} to {write(values[high])} at {high}"
    return listed(f"{write(v)} at {cell}" if cell else write(v) for cell, v in values.items())


def each_panel(results: Results) -> str:
    """`, a panel per batch size`; nothing where there is one panel."""
    axes = listed(settings.label(axis) for axis in results.cell_axes)
    return f", a panel per {axes}" if axes else ""


def finite(frame: pd.DataFrame) -> pd.DataFrame:
    """Without what a diverging run leaves behind."""
    return frame[np.isfinite(frame["value"].astype(float))]


def of_level(values: pd.Series, level: object, write: Callable[[float], str]) -> str:
    """Numbers by level and cell, those of one level in words; nothing where there are none."""
    there = level in values.index.get_level_values(0)
    return by_cell(values[level], write) if there else ""


def lines_and_bands(results: Results) -> str:
    return bands_of(results.runs, " over {}")


def diverged_phrase(results: Results, dataset: str) -> str:
    """A warning where runs dropped out of a mean."""
    count = sum(results.diverged(dataset, level) for level in results.levels)
    if not count:
        return ""
    verb = "diverged and counts" if count == 1 else "diverged and count"
    return f" {counted(count, 'run')} {verb} only up to the last finite measurement."
