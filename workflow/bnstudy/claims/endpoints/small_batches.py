"""Endpoints of S8: claim L1, and what of it lies in the statistics of evaluation."""

from dataclasses import replace

import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, accuracy, page_test, wide

POINTS = "percentage points"


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Effects in percentage points of validation error; cells are the sizes.

    `small_groups` (L1) needs a `trend` over all groups besides. What the smallest batches cost is counted
    from the largest of them.
    """
    ghost, precise, batch = (
        errors(table, "groups", "ghost", statistics, "group_size")
        for statistics in ("running", "precise", "batch")
    )
    reference, smallest = options["reference_group_size"], ghost.columns[0]
    cost, remaining, as_trained = (
        (one[smallest] - one[reference]).mean() for one in (ghost, precise, batch)
    )
    small_groups = beyond(ghost.loc[:, :reference], "groups")
    trend = Endpoint(small_groups.effect, POINTS, p=page_test(ghost[ghost.columns[::-1]]))
    by_evaluation = (ghost - precise).rename(columns="groups of {:g}".format)
    results = {
        "small_groups": replace(
            small_groups,
            conditions={"trend": trend},
            note=f"With precise statistics {remaining:+.2f} of the {cost:+.2f} points remain, and "
            f"with the statistics of groups as in training it would be {as_trained:+.2f}.",
        ),
        "evaluation_statistics": Endpoint(by_evaluation.iloc[:, 0], POINTS, dict(by_evaluation)),
    }
    batch_norm = errors(table, "batches", "batch", "running", "batch_size")
    for name, norm in (("small_batches", "none"), ("small_batches_layer", "layer")):
        control = errors(table, "batches", norm, "running", "batch_size")
        results[name] = beyond(batch_norm - control, "batches")
    return results


def beyond(values: pd.DataFrame, what: str) -> Endpoint:
    """What the smallest size costs beyond the largest; cells are all sizes but that."""
    costs = values.iloc[:, :-1].sub(values.iloc[:, -1], axis=0)
    costs = costs.rename(columns=f"{what} of {{:g}}".format)
    return Endpoint(costs.iloc[:, 0], POINTS, dict(costs))


def errors(
    table: pd.DataFrame, design: str, norm: str, statistics: str, sizes: str
) -> pd.DataFrame:
    """Validation error in percent, one row per seed and one column per group or batch size."""
    rows = table.query("design == @design and norm == @norm and statistics == @statistics")
    return wide(rows, 100 - accuracy(rows), sizes)
