"""Endpoints of the study of initial scales (B13)."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.scoring import accuracy, level_minus_baseline, mean_over_cells
from bnstudy.scoring import failed

UNIT = "percentage points"


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Range of the final accuracy over gains, `none` minus `batch`.

    - `accuracy_range` (B13): all layers scaled, mean over optimizers.
    - `accuracy_range_hidden`: the layers that have a normalization behind them alone.
    """
    ranges = accuracy_range(table, "gain", ["norm", "optimizer", "scaled", "seed"])
    counts_failed = failed(table).groupby(table["norm"]).agg(["sum", "size"])
    note = (
        f"{counts_failed.loc['none', 'sum']} of {counts_failed.loc['none', 'size']} runs without and "
        f"{counts_failed.loc['batch', 'sum']} of {counts_failed.loc['batch', 'size']} with batch normalization "
        "diverged."
    )
    found = {}
    for name, scaled in (("accuracy_range", "all"), ("accuracy_range_hidden", "hidden")):
        chosen = ranges.loc[ranges["scaled"] == scaled]
        if len(chosen):
            d = -level_minus_baseline(chosen, chosen["range"], ("optimizer",))
            found[name] = mean_over_cells(d, UNIT, note=note)
    return found


def accuracy_range(table: pd.DataFrame, factor: str, keys: list[str]) -> pd.DataFrame:
    """Largest minus smallest accuracy in percent over the values of `factor`, a row per `keys`."""
    values = table.assign(accuracy=accuracy(table)).groupby(keys, sort=False)["accuracy"]
    return (values.max() - values.min()).rename("range").reset_index()
