"""Endpoints of the study of initial scales (B13)."""

import pandas as pd

from bnstudy.claims.endpoints.base import (
    Endpoint,
    accuracy,
    failures,
    level_minus_baseline,
    mean_over_cells,
)


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Range of the final accuracy over gains; cells are the optimizers."""
    ranges = accuracy_range(table, "gain", ["norm", "optimizer", "scaled", "seed"])
    failed = failures(table)
    note = f"{failed['none']} runs without and {failed['batch']} with batch normalization diverged."
    found = {}
    for scaled, rows in ranges.groupby("scaled"):
        d = -level_minus_baseline(rows, rows["range"], ("optimizer",))
        suffix = "" if scaled == "all" else f"_{scaled}"
        found[f"accuracy_range{suffix}"] = mean_over_cells(d, "percentage points", note=note)
    return found


def accuracy_range(table: pd.DataFrame, factor: str, keys: list[str]) -> pd.DataFrame:
    """Largest minus smallest accuracy in percent over the values of `factor`, a row per `keys`."""
    values = table.assign(accuracy=accuracy(table)).groupby(keys, sort=False)["accuracy"]
    return (values.max() - values.min()).rename("range").reset_index()
