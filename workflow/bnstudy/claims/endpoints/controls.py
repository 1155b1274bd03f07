"""The A/A control of the verdict rule, in percentage points of test accuracy."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, accuracy


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """`same`: the first half of the seeds against the second, at the largest learning rate."""
    usual = table[table["learning_rate"] == table["learning_rate"].max()]
    values = accuracy(usual, "test_accuracy").set_axis(usual["seed"])
    half = len(values) // 2
    first, second = values.iloc[:half], values.iloc[half : 2 * half].set_axis(values.index[:half])
    return {"same": Endpoint(first - second, "percentage points")}
