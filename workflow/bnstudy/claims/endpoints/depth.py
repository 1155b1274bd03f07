"""Endpoints of the depth study: B7 in training, B14, B15."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.init_gains import accuracy_range
from bnstudy.claims.endpoints.scoring import (
    accuracy,
    cells_of,
    level_minus_baseline,
    mean_over_cells,
)
from bnstudy.scoring import failed

BEYOND = "he2"  # twice He's weights
SHALLOW = 5  # hidden layers up to which activations are compared
SUFFIXES = {"default": "", "he": "_he", BEYOND: "_beyond"}  # of the endpoints' names
DEEP = 5  # hidden layers from which gradients are


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """The endpoints of the claims, by name; ReLU unless activations are compared.

    - `gradient_size` (B7): log10 of the size of the gradient by all hidden weights, median over the
      steps, `batch` minus `none`, mean over depths of 5 and more. `gradient_size_beyond` (B8) is `none`
      minus `batch`, with weights twice He's.
    - `gradient_range`: decades between the largest and the smallest gradient of a layer while
      training, `none` minus `batch`; `gradient_range_initial` at the first step.
    - `deepest_accuracy` (B14): accuracy in percentage points, `batch` minus `none`, at the largest depth;
      the cells are the depths.
    - `activation_range` (B15): range of accuracy over activations, `none` minus `batch`, mean over
      depths up to 5.
    - `soft_rank`: difference of the soft ranks of the last hidden layer's activations at the largest
      depth, after training.

    These are for PyTorch's default initialization, which the assignment uses; `..._he` are for He's.
    """
    found: dict[str, Endpoint] = {}
    for initialization, suffix in SUFFIXES.items():
        chosen = table.loc[table["initialization"] == initialization]
        if not len(chosen):
            continue
        relu = chosen.loc[chosen["activation"] == "relu"]
        for column in ("gradient_range", "gradient_range_initial"):
            found[column + suffix] = over_depths(relu, column, -1)
        found["gradient_size" + suffix] = over_depths(
            relu, "gradient_size", -1 if initialization == BEYOND else 1
        )
        if initialization == BEYOND:
            continue
        found["deepest_accuracy" + suffix] = deepest_accuracy(relu)
        found["soft_rank" + suffix] = deepest_rank(relu)
        found["activation_range" + suffix] = activation_range(chosen)
    return found


def by_depth(table: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """`batch` minus `none`, a column per depth."""
    return level_minus_baseline(table, values, ["depth"], name=lambda _, n: f"{n} layers")


def over_depths(relu: pd.DataFrame, column: str, sign: int) -> Endpoint:
    """`batch` minus `none` times the sign, mean over the depths that are deep."""
    deep = relu.loc[relu["depth"] >= min(DEEP, relu["depth"].max())]
    return mean_over_cells(sign * by_depth(deep, deep[column]), "decades")


def deepest_accuracy(relu: pd.DataFrame) -> Endpoint:
    differences = by_depth(relu, accuracy(relu))
    deepest = relu.loc[relu["depth"] == relu["depth"].max()]
    counts_failed = failed(deepest).groupby(deepest["norm"]).agg(["sum", "size"])
    counts = {norm: f"{row['sum']} of {row['size']}" for norm, row in counts_failed.iterrows()}
    return Endpoint(
        effect=differences[f"{relu['depth'].max()} layers"],
        cells=cells_of(differences),
        unit="percentage points",
        note=f"With {relu['depth'].max()} hidden layers {counts['none']} runs without and "
        f"{counts['batch']} with batch normalization did not train.",
    )


def deepest_rank(relu: pd.DataFrame) -> Endpoint:
    """Difference of soft ranks; a run that broke off has rank 0, its activations being no use."""
    differences = by_depth(relu, relu["soft_rank"].fillna(0))
    effect = differences[f"{relu['depth'].max()} layers"]
    return Endpoint(effect, cells_of(differences), "singular values")


def activation_range(table: pd.DataFrame) -> Endpoint:
    shallow = table.loc[table["depth"] <= max(SHALLOW, table["depth"].min())]
    ranges = accuracy_range(shallow, "activation", ["norm", "depth", "seed"])
    return mean_over_cells(-by_depth(ranges, ranges["range"]), "percentage points")
