"""What the figures of a comparison share: levels and cells as columns, and sentences about them."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from bnstudy import settings
from bnstudy.report.look import Look, looks_of
from bnstudy.report.results import Results, counted, listed
from bnstudy.report.words import bands_of

ONE_BY_ONE = 4  # of more levels or cells a sentence names the extremes
NOTHING = "nothing was measured"


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
    """`without normalization: 0.1; with batch normalization: 0.2`, of the levels with something."""
    written = [(results.arm(level), write(level)) for level in results.levels]
    said = [f"{arm}: {text}" for arm, text in written if text]
    more = len(said) - ONE_BY_ONE
    return "; ".join(said[:ONE_BY_ONE]) + (f"; and {more} more" if more > 0 else "") or NOTHING


def by_level_and_cell(results: Results, values: pd.Series, write: Callable[[float], str]) -> str:
    """Numbers indexed by level and cell in words: one by one, or where there are many the extremes."""
    values = values.dropna()
    means = values.groupby(level=0, sort=False).mean()
    if len(means) > ONE_BY_ONE:
        levels = sorted((k for k in results.levels if k in means), key=means.get)
        ends = (f"{write(means[k])} {results.arm(k)}" for k in (levels[0], levels[-1]))
        return f"from {' to '.join(ends)}, means over all panels"
    return by_level(results, lambda level: by_cell(values[level], write) if level in means else "")


def by_cell(values: pd.Series, write: Callable[[float], str]) -> str:
    """`0.1 at batch size 32 and 0.2 at batch size 64`, of numbers by the titles of their cells."""
    if len(values) > ONE_BY_ONE:
        ends = (f"{write(values[k])} at {k}" for k in (values.idxmin(), values.idxmax()))
        return f"from {' to '.join(ends)}"
    return listed(f"{write(v)} at {cell}" if cell else write(v) for cell, v in values.items())


def each_panel(results: Results) -> str:
    """`, a panel per batch size`; nothing where there is one panel."""
    axes = listed(settings.label(axis) for axis in results.cell_axes)
    return f", a panel per {axes}" if axes else ""


def finite(frame: pd.DataFrame) -> pd.DataFrame:
    """Without what a diverging run leaves behind."""
    return frame[np.isfinite(frame["value"].astype(float))]


def lines_and_bands(results: Results) -> str:
    return bands_of(results.runs, " over {}")


def diverged_phrase(results: Results, dataset: str) -> str:
    """A warning where runs dropped out of a mean."""
    count = sum(results.diverged(dataset, level) for level in results.levels)
    if not count:
        return ""
    verb = "diverged and counts" if count == 1 else "diverged and count"
    return f" {counted(count, 'run')} {verb} only up to the last finite measurement."
