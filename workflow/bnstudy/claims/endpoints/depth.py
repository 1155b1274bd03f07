"""Endpoints of the depth study: B7 in training, B14, B15."""

import pandas as pd

from bnstudy.claims.endpoints.base import (
    Endpoint,
    accuracy,
    failures,
    level_minus_baseline,
    mean_over_cells,
)
from bnstudy.claims.endpoints.init_gains import accuracy_range

BEYOND = "he2"  # twice He's weights
SHALLOW = 5  # hidden layers up to which activations are compared
SUFFIXES = {"default": "", "he": "_he", BEYOND: "_beyond"}  # of the endpoints' names
DEEP = 5  # hidden layers from which gradients are


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """For every initialization, its name behind that of the endpoint; ReLU unless activations are compared.

    The assignment uses PyTorch's default, which has none. Cells are the depths.
    """
    found: dict[str, Endpoint] = {}
    for initialization, suffix in SUFFIXES.items():
        chosen = table[table["initialization"] == initialization]
        if chosen.empty:
            continue
        relu = chosen[chosen["activation"] == "relu"]
        deep = relu[relu["depth"] >= min(DEEP, relu["depth"].max())]
        size = by_depth(deep, deep["gradient_size"]) * (-1 if initialization == BEYOND else 1)
        found["gradient_size" + suffix] = mean_over_cells(size, "decades")
        if initialization == BEYOND:
            continue
        ranges = -by_depth(deep, deep["gradient_range"])
        found["gradient_range" + suffix] = mean_over_cells(ranges, "decades")
        deepest = relu["depth"].max()
        untrained = failures(relu[relu["depth"] == deepest])
        found["deepest_accuracy" + suffix] = at_depth(
            deepest,
            by_depth(relu, accuracy(relu)),
            "percentage points",
            note=f"With {deepest} hidden layers {untrained['none']} runs without and "
            f"{untrained['batch']} with batch normalization did not train.",
        )
        # A run that broke off has rank 0, its activations being no use.
        ranks = by_depth(relu, relu["soft_rank"].fillna(0))
        found["soft_rank" + suffix] = at_depth(deepest, ranks, "singular values")
        shallow = chosen[chosen["depth"] <= max(SHALLOW, chosen["depth"].min())]
        ranges = accuracy_range(shallow, "activation", ["norm", "depth", "seed"])
        found["activation_range" + suffix] = mean_over_cells(
            -by_depth(ranges, ranges["range"]), "percentage points"
        )
    return found


def by_depth(table: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """`batch` minus `none`, a column per depth."""
    return level_minus_baseline(table, values, ["depth"], name=lambda _, n: f"{n} layers")


def at_depth(depth: int, differences: pd.DataFrame, unit: str, note: str = "") -> Endpoint:
    """The effect at a depth; all depths are its cells."""
    return Endpoint(differences[f"{depth} layers"], unit, dict(differences), note=note)
