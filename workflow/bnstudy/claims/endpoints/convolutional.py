"""What small batches cost batch normalization and not group normalization (S27)."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.metrics import metric_endpoint


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """`small_batches`: test accuracy of batch minus group normalization, largest minus smallest batch.

    In percentage points; whatever a small batch does to both, such as more steps an epoch, cancels.
    """
    group = next(norm for norm in table["norm"] if norm.startswith("group:"))
    claim = {"metric": "test_accuracy", "axis": "norm", "level": "batch", "baseline": group}
    claim |= {"direction": "higher", "scale": "difference", "unit": "percentage points"}
    table = table[table["train_images"] == table["train_images"].max()]
    sizes = [int(table["batch_size"].max()), int(table["batch_size"].min())]
    large, small = (
        metric_endpoint(claim | {"where": {"batch_size": size}}, table, []).effect for size in sizes
    )
    return {"small_batches": Endpoint(large - small, {}, claim["unit"])}
