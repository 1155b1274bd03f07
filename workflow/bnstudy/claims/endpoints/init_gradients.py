"""From gradients at initialization to B7 and B8 (there), to Yang et al.'s growth a layer, and to H1."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from bnstudy.claims.endpoints.base import Endpoint, Exact, mean_over_cells
from bnstudy.config import ALPHA

# What a theory that is wrong would say of the growth a layer, beside the right one.
WRONG = {
    "batch_linear": ("no growth", lambda _: 1.0),
    "batch_relu": ("that of large batches", lambda _: math.pi / (math.pi - 1)),
    "none_he": ("a ReLU that lets everything pass", lambda theory: 2 * theory),
    "none_default": ("a ReLU that lets everything pass", lambda theory: 2 * theory),
}


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """Sizes are log10 of the norm of the gradient by all hidden weights; cells are gains of the weights.

    `vanishing` (B7 at initialization) and `exploding` (B8) need `growth`, that the gradient changes
    less from layer to layer: |ln growth|, none minus batch. `options` has `theory_depth` and `middle`
    (first and last layer compared with theory).
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
    return mean_over_cells(
        cells.rename(columns="{:g} times He's weights".format),
        "decades",
        conditions={"growth": mean_over_cells(condition, "ln ratio")},
    )


def growth_by_network(table: pd.DataFrame, options: dict) -> pd.DataFrame:
    """Growth a layer against theory, by network and batch size.

    Columns: measured, the geometric mean over middle layers and seeds; theory; z, the deviation of the
    ln growth in its standard errors over seeds; limit, the |z| that all of a theory's comparisons
    together exceed by chance in 5 %; z_wrong, the deviation from a wrong theory.
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
