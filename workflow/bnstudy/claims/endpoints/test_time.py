"""Endpoints of statistics taken from the test images themselves (S25)."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, mean_over_cells
from bnstudy.scoring import chance

ACCURACY = "accuracy_"
CLEAN = "clean"


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Differences of test accuracy, percentage points; cells are the shifts."""
    few, blended = f"{min(options['groups'])}", f"{min(options['groups'])}+{options['prior']}"
    adapted = accuracies(table, "batch", f"{options['claim_group']}")
    none, running = (accuracies(table, norm, "running") for norm in ("none", "batch"))
    differences = {
        "adapted": adapted - running,
        "prior": accuracies(table, "batch", blended) - accuracies(table, "batch", few),
        "against_none": adapted - none,
        "shift": none.rsub(none[CLEAN], axis=0),
    }
    price = Endpoint(running[CLEAN] - adapted[CLEAN], "percentage points")
    return {"price": price} | {
        name: mean_over_cells(one.drop(columns=CLEAN), "percentage points")
        for name, one in differences.items()
    }


def accuracies(table: pd.DataFrame, norm: str, statistics: str) -> pd.DataFrame:
    """Accuracy in percent, guessing where a run diverged: a row per seed, a column per shift."""
    rows = table[(table["norm"] == norm) & (table["statistics"].astype(str) == statistics)]
    shifts = [column for column in table if column.startswith(ACCURACY)]
    found = rows.set_index("seed")[shifts].rename(columns=lambda name: name.removeprefix(ACCURACY))
    return 100 * found.fillna(chance(table["n_classes"].max()))
