"""Endpoints of S8: claim L1, and what of it lies in the statistics of evaluation."""

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.scoring import accuracy
from bnstudy.claims.endpoints.trend import page_test

POINTS = "percentage points"


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Effects in percentage points of validation error.

    - `small_groups`: error with the smallest group minus error with groups of
      `reference_group_size`, all with the same batch of the gradient. Condition
      `trend`: Page's test of a trend over all groups.
      Cells are the groups in between.
    - `evaluation_statistics`: error with running minus error with precise statistics, for the
      smallest group; cells are all groups.
    - `small_batches`, `small_batches_layer`: how much more the smallest batch costs a network with
      batch normalization than one without any, or one with layer normalization; costs are counted
      from the largest of the small batches. Cells are the batch sizes.
    """
    ghost = errors(table, "groups", "ghost", "running", "group_size")
    reference = options["reference_group_size"]
    smallest = min(ghost)
    effect = ghost[smallest] - ghost[reference]
    falling = ghost[sorted(ghost, reverse=True)]
    precise, batch = (
        errors(table, "groups", "ghost", statistics, "group_size")
        for statistics in ("precise", "batch")
    )
    remaining = precise[smallest] - precise[reference]
    as_trained = batch[smallest] - batch[reference]
    results = {
        "small_groups": Endpoint(
            effect,
            {
                f"groups of {size:g}": ghost[size] - ghost[reference]
                for size in sorted(ghost)
                if size < reference
            },
            POINTS,
            conditions={"trend": Endpoint(effect, {}, POINTS, p=page_test(falling))},
            note=f"With precise statistics {remaining.mean():+.2f} of the "
            f"{effect.mean():+.2f} points remain, and with the statistics of groups as in training "
            f"it would be {as_trained.mean():+.2f}.",
        ),
        "evaluation_statistics": Endpoint(
            ghost[smallest] - precise[smallest],
            {f"groups of {size:g}": ghost[size] - precise[size] for size in sorted(ghost)},
            POINTS,
        ),
    }
    batch_norm = errors(table, "batches", "batch", "running", "batch_size")
    for name, norm in (("small_batches", "none"), ("small_batches_layer", "layer")):
        control = errors(table, "batches", norm, "running", "batch_size")
        excess = batch_norm - control
        largest = max(excess)
        costs = {
            f"batches of {size}": excess[size] - excess[largest]
            for size in sorted(excess)
            if size < largest
        }
        results[name] = Endpoint(excess[min(excess)] - excess[largest], costs, POINTS)
    return results


def errors(
    table: pd.DataFrame, design: str, norm: str, statistics: str, sizes: str
) -> pd.DataFrame:
    """Validation error in percent, one row per seed and one column per group or batch size."""
    wanted = (
        (table["design"] == design) & (table["norm"] == norm) & (table["statistics"] == statistics)
    )
    rows = table[wanted]
    return rows.assign(error=100 - accuracy(rows)).pivot(
        index="seed", columns=sizes, values="error"
    )
