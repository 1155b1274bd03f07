"""What the tables of studies have in common: names of levels, arms and their looks."""

from collections.abc import Callable, Hashable, Mapping

import numpy as np
import pandas as pd

from bnstudy.report.look import Look, looks_of
from bnstudy.report.words import per_level
from bnstudy.scoring import failed
from bnstudy.settings import level_name

BASELINE = "none"
NAMES = {
    "sgd": "SGD",
    "adam": "Adam",
    "relu": "ReLU",
    "default": "default init",
    "he": "He init",
    "all": "all layers scaled",
    "hidden": "hidden layers scaled",
    "symmetric": "symmetric",
    "standardize": "standardized",
    "relu2": "2 layers, ReLU",
    "relu5": "5 layers, ReLU",
    "sigmoid3": "3 layers, sigmoid",
}


def name(value: object) -> str:
    """A value of a grid as figures write it."""
    return NAMES.get(str(value), str(value))


def norm_name(norm: str) -> str:
    return level_name("norm", norm)


NONE, BATCH, LAYER = looks_of(("none", "batch", "layer"), name=norm_name).values()


def arms(table: pd.DataFrame) -> dict[str, Look]:
    """The norms of a table with their looks, the baseline first."""
    norms = sorted(table["norm"].unique(), key=lambda norm: norm != BASELINE)
    return looks_of(norms, name=norm_name)


def val_losses(table: pd.DataFrame) -> pd.Series:
    """Validation loss of each run, that of guessing, ln C, where it failed."""
    return table["val_loss"].astype(float).mask(failed(table), np.log(table["n_classes"]))


def per_look(
    table: pd.DataFrame,
    column: str,
    looks: Mapping[Hashable, Look],
    write: Callable[[pd.DataFrame], str],
) -> str:
    """`0.12 (no normalization) and 0.10 (batch normalization)`: the levels that have rows."""
    names = {level: f"({look.name})" for level, look in looks.items()}
    return per_level(table, column, names, write, names)
