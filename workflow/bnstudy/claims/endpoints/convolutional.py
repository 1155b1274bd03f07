"""What small batches cost batch normalization and not group normalization (S27)."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, accuracy, wide


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """`small_batches`: test accuracy of batch minus group normalization, largest minus smallest batch.

    In percentage points; whatever a small batch does to both, such as more steps an epoch, cancels.
    """
    group = next(norm for norm in table["norm"] if norm.startswith("group:"))
    table = table[table["train_images"] == table["train_images"].max()]
    accuracies = wide(table, accuracy(table, "test_accuracy"), "norm", "batch_size")
    gains = accuracies["batch"] - accuracies[group]
    effect = gains[gains.columns.max()] - gains[gains.columns.min()]
    return {"small_batches": Endpoint(effect, "percentage points")}
