"""Endpoints of statistics taken from the test images themselves (S25)."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.scoring import mean_over_cells
from bnstudy.scoring import chance

ACCURACY = "accuracy_"
CLEAN = "clean"


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Differences of test accuracy, percentage points; cells are the shifts.

    With n the `claim_group` of the options and the smallest of `groups`, and N `prior`:

    - `adapted`: by statistics of n shifted images minus by running averages, `batch`.
    - `prior`: statistics of the smallest groups blended with running averages minus unblended, `batch`.
    - `price`: by running averages minus by statistics of n images, images as they are, `batch`.
    - `against_none`: `batch` by statistics of n shifted images minus `none`.
    - `shift`: images as they are minus shifted, `none`.
    """
    n, few, prior = options["claim_group"], min(options["groups"]), options["prior"]
    batch = {
        name: accuracies(table, "batch", name) for name in (f"{n}", f"{few}", f"{few}+{prior}")
    }
    running = {norm: accuracies(table, norm, "running") for norm in ("none", "batch")}
    shifts = [shift for shift in running["none"] if shift != CLEAN]
    differences = {
        "adapted": batch[f"{n}"] - running["batch"],
        "prior": batch[f"{few}+{prior}"] - batch[f"{few}"],
        "against_none": batch[f"{n}"] - running["none"],
        "shift": running["none"].rsub(running["none"][CLEAN], axis=0),
    }
    found = {
        name: mean_over_cells(one[shifts], "percentage points") for name, one in differences.items()
    }
    price = running["batch"][CLEAN] - batch[f"{n}"][CLEAN]
    return found | {"price": Endpoint(price, {}, "percentage points")}


def accuracies(table: pd.DataFrame, norm: str, statistics: str) -> pd.DataFrame:
    """Accuracy in percent, guessing where a run diverged: a row per seed, a column per shift."""
    rows = table[(table["norm"] == norm) & (table["statistics"].astype(str) == statistics)]
    shifts = [column for column in table if column.startswith(ACCURACY)]
    found = rows.set_index("seed")[shifts].rename(columns=lambda name: name.removeprefix(ACCURACY))
    return 100 * found.fillna(chance(table["n_classes"].max()))
