"""Endpoints of networks at initialization, and of how training depends on it."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from bnstudy.claims.endpoints.base import (
    POINTS,
    Endpoint,
    Exact,
    accuracy,
    failures,
    level_minus_baseline,
    mean_over_cells,
    wide,
)
from bnstudy.config import ALPHA

BEYOND = "he2"  # twice He's weights
SHALLOW = 5  # hidden layers up to which activations are compared
SUFFIXES = {"default": "", "he": "_he", BEYOND: "_beyond"}  # of the endpoints' names
DEEP = 5  # hidden layers from which gradients are


def depth(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """B7 in training, B14, B15: for every initialization, its name behind that of the endpoint.

    ReLU unless activations are compared. The assignment uses PyTorch's default, which has no suffix. Cells are the
    depths.
    """
    found: dict[str, Endpoint] = {}
    for initialization, suffix in SUFFIXES.items():
        chosen = table[table["initialization"] == initialization]
        if chosen.empty:
            continue
        relu = chosen[chosen["activation"] == "relu"]
        deepest = relu["depth"].max()
        deep = relu[relu["depth"] >= min(DEEP, deepest)]
        size = by_depth(deep, deep["gradient_size"]) * (-1 if initialization == BEYOND else 1)
        found["gradient_size" + suffix] = mean_over_cells(size, "decades")
        if initialization == BEYOND:
            continue
        ranges = -by_depth(deep, deep["gradient_range"])
        found["gradient_range" + suffix] = mean_over_cells(ranges, "decades")
        untrained = failures(relu[relu["depth"] == deepest])
        accuracies = by_depth(relu, accuracy(relu))
        # A run that broke off has rank 0, its activations being no use.
        ranks = by_depth(relu, relu["soft_rank"].fillna(0))
        at_depth = f"{deepest} layers"
        note = (
            f"With {deepest} hidden layers {untrained['none']} runs without and "
            f"{untrained['batch']} with batch normalization did not train."
        )
        accurate = Endpoint(accuracies[at_depth], POINTS, dict(accuracies), note=note)
        found["deepest_accuracy" + suffix] = accurate
        found["soft_rank" + suffix] = Endpoint(ranks[at_depth], "singular values", dict(ranks))
        shallow = chosen[chosen["depth"] <= max(SHALLOW, chosen["depth"].min())]
        ranges = accuracy_range(shallow, "activation", ["norm", "depth", "seed"])
        narrower = -by_depth(ranges, ranges["range"])
        found["activation_range" + suffix] = mean_over_cells(narrower, POINTS)
    return found


def by_depth(table: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """`batch` minus `none`, a column per depth."""
    differences = level_minus_baseline(table, values, ["depth"])
    return differences.rename(columns=lambda name: f"{name.removeprefix('depth ')} layers")


def init_gains(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """B13, the range of the final accuracy over gains of the initial weights; cells are the optimizers."""
    ranges = accuracy_range(table, "gain", ["norm", "optimizer", "seed"])
    narrower = -level_minus_baseline(ranges, ranges["range"], ["optimizer"])
    failed = failures(table)
    note = f"{failed['none']} runs without and {failed['batch']} with batch normalization diverged."
    return {"accuracy_range": mean_over_cells(narrower, POINTS, note=note)}


def accuracy_range(table: pd.DataFrame, factor: str, keys: list[str]) -> pd.DataFrame:
    """Largest minus smallest accuracy in percent over the values of `factor`, a row per `keys`."""
    values = table.assign(accuracy=accuracy(table)).groupby(keys, sort=False)["accuracy"]
    return (values.max() - values.min()).rename("range").reset_index()


# What a theory that is wrong would say of the growth a layer, beside the right one.
WRONG = {
    "batch_linear": ("no growth", lambda _: 1.0),
    "batch_relu": ("that of large batches", lambda _: math.pi / (math.pi - 1)),
    "none_he": ("a ReLU that lets everything pass", lambda theory: 2 * theory),
    "none_default": ("a ReLU that lets everything pass", lambda theory: 2 * theory),
}


def init_gradients(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """B7 and B8 at initialization, Yang et al.'s growth a layer, and H1; cells are gains of the weights.

    Sizes are log10 of the norm of the gradient by all hidden weights. `vanishing` (B7) and `exploding` (B8) need
    `growth`, that the gradient changes less from layer to layer: |ln growth|, none minus batch. `options` has
    `theory_depth` and `middle` (first and last layer compared with theory).
    """
    growth = growth_by_network(table, options)
    scaled = table[table["network"].str.endswith("_scaled")]
    keys = [scaled["network"].str.removesuffix("_scaled"), scaled["gain"], scaled["seed"]]
    size = np.log10((scaled["weight_gradient"] ** 2).groupby(keys).sum()) / 2
    a_layer = np.log(scaled["growth"]).groupby(keys).mean()
    gains = sorted(scaled["gain"].unique())
    below, beyond = [g for g in gains if g <= 1], [g for g in gains if g >= 1]
    he = a_layer.xs(1.0, level="gain") / math.log(10)
    return {
        "growth_with_batch": against_theory(growth.filter(like="batch_", axis=0)),
        "growth_without": against_theory(growth.filter(like="none_", axis=0)),
        "vanishing": over_gains(size["batch"] - size["none"], a_layer, below),
        "exploding": over_gains(size["none"] - size["batch"], a_layer, beyond),
        "growth_a_layer": Endpoint(he["batch"] - he["none"], "decades"),
    }


def over_gains(difference: pd.Series, a_layer: pd.Series, gains: list[float]) -> Endpoint:
    """The mean over gains, its cells; and the condition that gradients change less from layer to layer."""
    steadier = a_layer["none"].abs() - a_layer["batch"].abs()
    cells, condition = (one.unstack("gain")[gains] for one in (difference, steadier))
    cells = cells.rename(columns="{:g} times He's weights".format)
    conditions = {"growth": mean_over_cells(condition, "ln ratio")}
    return mean_over_cells(cells, "decades", conditions=conditions)


def growth_by_network(table: pd.DataFrame, options: dict) -> pd.DataFrame:
    """Growth a layer against theory, by network and batch size.

    Columns: measured, the geometric mean over middle layers and seeds; theory; z, the deviation of the ln growth in its
    standard errors over seeds; limit, the |z| that all of a theory's comparisons together exceed by chance in 5 %;
    z_wrong, the deviation from a wrong theory.
    """
    first, last = options["middle"]
    middle = table[(table.depth == options["theory_depth"]) & table.layer.between(first, last)]
    middle = middle[middle["network"].isin(WRONG)]
    keys = ["network", "batch_size"]
    seeds = middle.assign(ln=np.log(middle["growth"])).groupby([*keys, "seed"])["ln"].mean()
    by_seed = seeds.groupby(keys).agg(["mean", "std", "size"])
    found = pd.DataFrame({"measured": np.exp(by_seed["mean"])})
    found["theory"] = middle.groupby(keys)["theory"].first()
    error = by_seed["std"] / np.sqrt(by_seed["size"])
    found["z"] = (by_seed["mean"] - np.log(found["theory"])) / error
    wrong = [WRONG[network][1](theory) for (network, _), theory in found["theory"].items()]
    found["z_wrong"] = (by_seed["mean"] - np.log(wrong)) / error
    kinds = found.index.get_level_values("network").map(lambda name: name.partition("_")[0])
    tests = kinds.map(kinds.value_counts())
    found["limit"] = stats.t.isf(ALPHA / 2 / tests, by_seed["size"] - 1)
    return found


def against_theory(growth: pd.DataFrame) -> Exact:
    """Whether the theory is within its standard error everywhere, and a wrong one nowhere."""
    z, limit = growth["z"].abs(), growth["limit"]
    off = growth["z_wrong"].abs()
    network, batch_size = z.idxmax()
    worst = growth.loc[(network, batch_size)]
    wrong = ", ".join(dict.fromkeys(WRONG[name][0] for name, _ in growth.index))
    note = (
        f"Furthest from theory in standard errors: {network.replace('_', ', ')} at batch size "
        f"{batch_size}, {worst.measured:.3f} against {worst.theory:.3f} a layer. Wrong theories "
        f"({wrong}) are off by at least {off.min():.0f}."
    )
    holds = bool((z <= limit).all() and (off > limit).all())
    return Exact(holds, float(z.max()), float(limit.max()), note)


# Relative; the law of De and Smith without the reflection is off by 1 at the first block.
TOLERANCE = 0.15


def residual_init(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """S21, what grows from the first to the last block of the first stage, against `skip_in_theory`."""
    table = table.assign(ratio=table["skip"] / table["branch"])
    ratio, skip = doublings(table, "ratio"), doublings(table, "skip")
    means = table[table["norm"] == "batch"].groupby("block")["ratio"].mean()
    theory = pd.Series({block: skip_in_theory(block) for block in means.index})
    off = (means / theory - 1).abs()
    worst = off.idxmax()
    note = f"The worst is block {worst}: {means[worst]:.2f} against {theory[worst]:.2f}."
    return {
        "identity": Endpoint(ratio["batch"] - ratio["none"], "doublings"),
        "explosion": Endpoint(skip["none"] - skip["batch"], "doublings"),
        "random_walk": Exact(bool(off.max() <= TOLERANCE), float(off.max()), TOLERANCE, note),
    }


def doublings(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """log2 of the last block's value over the first one's: a row per seed, a column per norm."""
    values = wide(table, column, "block", "norm")
    return np.log2(values[table["block"].max()] / values[table["block"].min()])


def skip_in_theory(block: int) -> float:
    """Mean square of the skip path of a wide network before block l, branches having variance 1.

    The first block gets max(0, z) with z normal, and every block makes max(0, x + z) of x: a random walk reflected at
    zero, distributed as the largest of 0 and its first l sums. By Spitzer's identity (1956, theorem 3.1) its second
    moment is

        l / 2 + sum over i + j <= l of 1 / (2 pi sqrt(i j)),

    which tends to l. Our own derivation; De and Smith (2020) have l for networks that have no nonlinearity on the skip
    path.
    """
    pairs = ((i, j) for i in range(1, block) for j in range(1, block - i + 1))
    return block / 2 + sum(1 / math.sqrt(i * j) for i, j in pairs) / (2 * math.pi)


def rank(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """S23, ln of ratios of the effective ranks of random networks; cells are the widths."""
    logs = np.log(wide(table, "rank", "layer", "norm", "width"))
    first, last = logs[table["layer"].min()], logs[table["layer"].max()]
    widths = last["batch"].columns
    effects = {"kept": last["batch"] - last["none"], "collapse": first["none"] - last["none"]}
    width = last["batch", widths.max()] - last["batch", widths.min()]
    return {"width": Endpoint(width, "ln ratio")} | {
        name: mean_over_cells(effect.rename(columns="width {}".format), "ln ratio") for name, effect in effects.items()
    }
