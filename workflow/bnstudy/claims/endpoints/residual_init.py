"""Endpoints of residual networks at initialization (S21)."""

import math

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, Exact, wide

# Relative; the law of De and Smith without the reflection is off by 1 at the first block.
TOLERANCE = 0.15


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """What grows from the first to the last block of the first stage; the theory is `skip_in_theory`."""
    table = table.assign(ratio=table["skip"] / table["branch"])
    ratio, skip = growth(table, "ratio"), growth(table, "skip")
    means = table[table["norm"] == "batch"].groupby("block")["ratio"].mean()
    theory = pd.Series({block: skip_in_theory(block) for block in means.index})
    off = (means / theory - 1).abs()
    worst = off.idxmax()
    return {
        "identity": Endpoint(ratio["batch"] - ratio["none"], "doublings"),
        "explosion": Endpoint(skip["none"] - skip["batch"], "doublings"),
        "random_walk": Exact(
            bool(off[worst] <= TOLERANCE),
            float(off[worst]),
            TOLERANCE,
            f"The worst is block {worst}: {means[worst]:.2f} against {theory[worst]:.2f}.",
        ),
    }


def growth(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """log2 of the last block's value over the first one's: a row per seed, a column per norm."""
    values = wide(table, column, "block", "norm")
    return np.log2(values[table["block"].max()] / values[table["block"].min()])


def skip_in_theory(block: int) -> float:
    """Mean square of the skip path of a wide network before block l, branches having variance 1.

    The first block gets max(0, z) with z normal, and every block makes max(0, x + z) of x: a random
    walk reflected at zero, distributed as the largest of 0 and its first l sums. By Spitzer's identity
    (1956, theorem 3.1) its second moment is

        l / 2 + sum over i + j <= l of 1 / (2 pi sqrt(i j)),

    which tends to l. Our own derivation; De and Smith (2020) have l for networks that
    have no nonlinearity on the skip path.
    """
    pairs = ((i, j) for i in range(1, block) for j in range(1, block - i + 1))
    return block / 2 + sum(1 / math.sqrt(i * j) for i, j in pairs) / (2 * math.pi)
