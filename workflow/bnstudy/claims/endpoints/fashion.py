"""Endpoints on Fashion-MNIST: B3 and B18 beyond handwritten digits."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.scoring import compare_accuracy, compare_steps


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """`steps`: ln(steps without / with batch normalization); `test_accuracy`: points."""
    by = ("batch_size",) if "batch_size" in table else ()
    return {"steps": compare_steps(table, by), "test_accuracy": compare_accuracy(table, by)}
