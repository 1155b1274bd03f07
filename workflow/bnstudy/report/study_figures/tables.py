"""What the tables of studies have in common: names of levels, arms and their looks."""

from collections.abc import Callable, Hashable, Mapping

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.scoring import accuracy, steps
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


def targets(table: pd.DataFrame, column: str = "steps_to_target") -> pd.DataFrame:
    """Runs with the steps to a target as `value`, `censored` where it was not reached."""
    missing = table[column].isna() | failed(table)
    return table.assign(value=steps(table, column).clip(lower=1).astype(float), censored=missing)


def steps_and_accuracy(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Steps to the target and test accuracy of every run, in rows of a measure."""
    tested = table.assign(value=accuracy(table, "test_accuracy"), censored=False)
    measures = {"steps": targets(table), "accuracy": tested}
    frame = pd.concat(runs.assign(measure=measure) for measure, runs in measures.items())
    return frame[["measure", axis, "norm", "seed", "value", "censored"]].reset_index(drop=True)


def swept_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Runs with their final validation accuracy in percent as `value`, and whether they `failed`."""
    return table.assign(value=accuracy(table), failed=failed(table))


def differences(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`value` with batch normalization minus without, a row per seed and cell with both."""
    wide = frame.pivot(index=[*by, "seed"], columns="norm", values="value")
    wide = wide.reindex(columns=[BASELINE, "batch"]).astype(float)
    return (wide["batch"] - wide[BASELINE]).dropna().rename("value").reset_index()
