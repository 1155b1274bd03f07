"""What the tables of studies have in common: names of levels, looks of the norms, scores of runs."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.scoring import accuracy, steps
from bnstudy.report.look import looks_of
from bnstudy.report.measures import SPACE, counted
from bnstudy.report.plots import name_of
from bnstudy.scoring import failed

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
NONE, BATCH, LAYER = looks_of(("none", "batch", "layer"), name=name_of("norm")).values()
MISSED, UNTRAINED = "not reached", "did not train"


def name(value: object) -> str:
    """A value of a grid as figures write it."""
    return NAMES.get(str(value), str(value))


def val_losses(table: pd.DataFrame) -> pd.Series:
    """Validation loss of each run, that of guessing, ln C, where it failed."""
    return table["val_loss"].astype(float).mask(failed(table), np.log(table["n_classes"]))


def targets(table: pd.DataFrame, column: str = "steps_to_target") -> pd.DataFrame:
    """Runs with the steps to a target as `value`, and whether it was not reached."""
    missing = table[column].isna() | failed(table)
    return table.assign(value=steps(table, column).clip(lower=1).astype(float)).assign(
        **{MISSED: missing}
    )


def swept_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Runs with their final validation accuracy in percent as `value`, and whether they failed."""
    return table.assign(value=accuracy(table)).assign(**{UNTRAINED: failed(table)})


def differences(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`value` with batch normalization minus without, a row per seed and cell with both."""
    wide = frame.pivot(index=[*by, "seed"], columns="norm", values="value")
    wide = wide.reindex(columns=[BASELINE, "batch"]).astype(float)
    return (wide["batch"] - wide[BASELINE]).dropna().rename("value").reset_index()


def after(options: dict) -> str:
    return f"after {counted(options['epochs'], 'epoch')}"


def percent(share: float) -> str:
    return f"{round(100 * share, 1):g}{SPACE}%"
