"""The tables of a study read back, with the values of the axes as the config has them."""

import math
from pathlib import Path

import pandas as pd

from bnstudy import settings
from bnstudy.errors import UserError

Level = str | float  # of an axis: a word or a number


def as_level(value: object) -> Level:
    """A value of a setting as the tables hold it: a list of widths is a word, no limit is infinite."""
    if value is None:
        return math.inf
    return settings.text(value) if isinstance(value, list | tuple) else value


def read_table(path: Path, config: dict) -> pd.DataFrame:
    """A table of the study; the norm `none` is a word, an empty cell is missing.

    An axis holds what `as_level` makes of the values of the config.
    """
    levels = {axis: [*map(as_level, values)] for axis, values in config["grid"].items()}
    levels["level"] = levels["baseline"] = levels[config["compare"]["axis"]]
    words = {
        axis: str for axis, values in levels.items() if any(isinstance(v, str) for v in values)
    }
    try:
        frame = pd.read_csv(
            path,
            keep_default_na=False,
            na_values=[""],
            dtype=words,
        )
    except FileNotFoundError:
        raise UserError(f"there is no table {path}; `snakemake tables` writes it") from None
    for axis, values in levels.items():
        if math.inf in values and axis in frame:  # an empty cell, but not in a row over all cells
            pooled = "scope" in frame and axis not in ("level", "baseline")
            over_cells = frame["scope"] == "all" if pooled else False
            frame[axis] = frame[axis].where(frame[axis].notna() | over_cells, math.inf)
    return frame
