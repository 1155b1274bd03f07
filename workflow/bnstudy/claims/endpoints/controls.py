"""Effects of the A/A control and of the positive control, in percentage points of test accuracy."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint

UNIT = "percentage points"


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """`same`: first half of the seeds against the second; `learning_rate`: largest against smallest."""
    # A diverged run is scored as a classifier that guesses.
    scored = table["test_accuracy"].fillna(1 / table["n_classes"])
    accuracy = 100 * table.assign(scored=scored).pivot(
        index="seed", columns="learning_rate", values="scored"
    )
    usual, tiny = accuracy[accuracy.columns.max()], accuracy[accuracy.columns.min()]
    half = len(usual) // 2
    first, second = usual.iloc[:half], usual.iloc[half : 2 * half].set_axis(usual.index[:half])
    return {
        "same": Endpoint(first - second, {}, UNIT),
        "learning_rate": Endpoint((usual - tiny).iloc[:half], {}, UNIT),
    }
