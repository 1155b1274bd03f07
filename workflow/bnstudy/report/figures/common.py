"""What the figures of a comparison share: levels and cells as columns, and sentences about them."""

import pandas as pd

from bnstudy import settings
from bnstudy.report.look import Look, looks_of
from bnstudy.report.measures import counted, listed
from bnstudy.report.results import Results


def tidy(results: Results, frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The rows on a dataset with the level and the cell, a title, in columns of these names."""
    frame = results.select(frame, dataset=dataset)
    values = zip(*(frame[axis] for axis in results.cell_axes), strict=True)
    cells = [results.cell_title(dict(zip(results.cell_axes, v, strict=True))) for v in values]
    return frame.assign(level=frame[results.axis], cell=cells or "")


def by_arm(results: Results) -> dict[str, object]:
    """Options of a figure whose lines are the levels, in their order and looks."""
    return {"hue": "level", "looks": looks(results)}


def by_cell(results: Results) -> dict[str, object]:
    """And a panel for each cell, in the order of the config."""
    cells = [results.cell_title(cell) for cell in results.cells]
    return by_arm(results) | {"col": "cell", "cols": cells}


def looks(results: Results) -> dict[object, Look]:
    return looks_of(results.levels, results.baseline, results.level_name)


def keys(results: Results) -> list[str]:
    """The columns by which data behind a figure are grouped."""
    return [results.axis, *results.cell_axes]


def each_panel(results: Results) -> str:
    """`, a panel per batch size`; nothing where there is one panel."""
    axes = listed(settings.label(axis) for axis in results.cell_axes)
    return f", a panel per {axes}" if axes else ""


def diverged_phrase(results: Results, dataset: str) -> str:
    """A warning where runs dropped out of a mean."""
    count = sum(results.diverged(dataset, level) for level in results.levels)
    if not count:
        return ""
    verb = "diverged and counts" if count == 1 else "diverged and count"
    return f" {counted(count, 'run')} {verb} only up to the last finite measurement."
