"""Endpoints of the input-scaling control: how much of B3 and B18 standardized input explains."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.metrics import metric_endpoint

ARMS = {"axis": "norm", "level": "batch", "baseline": "none", "scale": "difference"}


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """The effect with the assignment's scaling (`symmetric`) minus the effect on standardized input.

    Above zero where batch normalization gained by centring the input: `steps_explained`, ln ratios of
    steps to the target, `test_accuracy_explained`, percentage points.
    """
    found = {}
    for name, metric, direction, unit in (
        ("steps", "ln_steps_to_target", "lower", "ln ratio"),
        ("test_accuracy", "test_accuracy", "higher", "percentage points"),
    ):
        claim = ARMS | {"metric": metric, "direction": direction, "unit": unit}
        symmetric, standardized = (
            metric_endpoint(claim | {"where": {"scaling": scaling}}, table, []).effect
            for scaling in ("symmetric", "standardize")
        )
        found[f"{name}_explained"] = Endpoint(symmetric - standardized, {}, unit)
    return found
