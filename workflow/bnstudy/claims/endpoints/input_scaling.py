"""Endpoints of the input-scaling control: what is left of B3 and B18 on standardised input."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.scoring import compare_accuracy, compare_steps


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """The core's comparison for either scaling, and how much of it the scaling explains.

    - `steps_<scaling>`: ln(steps without / steps with batch normalization) to the target.
    - `test_accuracy_<scaling>`: percentage points, `batch` minus `none`.
    - `steps_explained`, `test_accuracy_explained`: the effect with the assignment's scaling
      (`symmetric`) minus the effect on standardised input; above zero where batch normalization
      gained by centring the input.
    """
    found: dict[str, Endpoint] = {}
    for scaling, rows in table.groupby("scaling", sort=False):
        found[f"steps_{scaling}"] = compare_steps(rows)
        found[f"test_accuracy_{scaling}"] = compare_accuracy(rows)
    for name, unit in (("steps", "ln ratio"), ("test_accuracy", "percentage points")):
        if {f"{name}_symmetric", f"{name}_standardize"} <= found.keys():
            explained = found[f"{name}_symmetric"].effect - found[f"{name}_standardize"].effect
            found[f"{name}_explained"] = Endpoint(explained, {}, unit)
    return found
