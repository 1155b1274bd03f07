"""From gradients at initialization to B7 (at initialization), B8 and H1."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, Exact

TOLERANCE = 0.05  # relative; for 10 networks of width 512


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """Endpoints of the study.

    `growth_with_batch` and `growth_without`: measured against theoretical growth (exact).
    `vanishing` (B7): log10(largest / smallest weight gradient of the hidden layers), none with
    PyTorch's default weights minus batch, in decades. `exploding` (B8): log10(first / last hidden
    layer's weight gradient), none with He's weights minus batch.

    `options` has `theory_depth`, `middle` (first and last layer compared with theory) and
    `claim_depth`.
    """
    claim = table[table.depth == options["claim_depth"]]
    unequal, first_to_last = (
        claim.groupby(["network", "batch_size", "seed"]).apply(function, include_groups=False)
        for function in (dynamic_range, explosion)
    )
    growth = growth_by_network(table, options)
    he = unequal["none_he"] - unequal["batch_relu"]
    return {
        "growth_with_batch": against_theory(growth.filter(like="batch_", axis=0)),
        "growth_without": against_theory(growth.filter(like="none_", axis=0)),
        "vanishing": paired(
            unequal["none_default"] - unequal["batch_relu"],
            note=(
                "Against He's initialization instead of PyTorch's default the same difference is "
                f"{he.mean():+.2f} decades."
            ),
        ),
        "exploding": paired(
            first_to_last["none_he"] - first_to_last["batch_relu"],
            note=(
                "From the last hidden layer to the first, weight gradients grow by a factor of "
                f"{10 ** first_to_last['batch_relu'].mean():.3g} with batch normalization, "
                f"{10 ** first_to_last['none_he'].mean():.3g} without (He) and "
                f"{10 ** first_to_last['none_default'].mean():.3g} without (default)."
            ),
        ),
    }


def dynamic_range(layers: pd.DataFrame) -> float:
    gradient = layers.weight_gradient
    return float(np.log10(gradient.max() / gradient.min()))


def explosion(layers: pd.DataFrame) -> float:
    gradient = layers.set_index("layer").weight_gradient.sort_index()
    return float(np.log10(gradient.iloc[0] / gradient.iloc[-1]))


def growth_by_network(table: pd.DataFrame, options: dict) -> pd.DataFrame:
    """Geometric mean of the growth over middle layers and seeds; columns measured, theory.

    Indexed by network and batch size.
    """
    first, last = options["middle"]
    middle = table[(table.depth == options["theory_depth"]) & table.layer.between(first, last)]
    groups = middle.groupby(["network", "batch_size"])
    return pd.DataFrame(
        {
            "measured": groups.growth.apply(lambda growth: float(np.exp(np.log(growth).mean()))),
            "theory": groups.theory.first(),
        }
    )


def against_theory(growth: pd.DataFrame) -> Exact:
    error = (growth.measured / growth.theory - 1).abs()
    network, batch_size = error.idxmax()
    worst = growth.loc[(network, batch_size)]
    return Exact(
        holds=bool(error.max() <= TOLERANCE),
        value=float(error.max()),
        tolerance=TOLERANCE,
        note=(
            f"Furthest from theory: {network.replace('_', ', ')} at batch size {batch_size}, "
            f"{worst.measured:.3f} against {worst.theory:.3f} a layer."
        ),
    )


def paired(difference: pd.Series, note: str) -> Endpoint:
    """An endpoint from differences indexed by batch size and seed."""
    cells = difference.unstack("batch_size")
    return Endpoint(
        effect=cells.mean(axis=1),
        cells={f"batch size {batch_size}": cells[batch_size] for batch_size in cells},
        unit="decades",
        note=note,
    )
