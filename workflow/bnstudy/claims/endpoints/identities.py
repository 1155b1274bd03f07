"""From exact checks to M1 to M9, L3, L5 and the erratum."""

import pandas as pd

from bnstudy.claims.endpoints.base import Exact


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Exact]:
    """One endpoint per check, by its name: it holds if all of its rows do.

    `value` and `tolerance` are those of the row that is furthest off for its tolerance.
    """
    return {name: worst(rows) for name, rows in table.groupby("check", sort=False)}


def worst(rows: pd.DataFrame) -> Exact:
    error = (rows.value - rows.reference).abs()
    # A tolerance of zero is no scale; there any error counts as it is, after a row that fails.
    relative = error / rows.tolerance.where(rows.tolerance > 0, 1.0)
    order = pd.DataFrame({"fails": rows.holds == 0, "relative": relative})
    index = order.sort_values(["fails", "relative"], kind="stable").index[-1]
    row = rows.loc[index]
    note = "" if pd.isna(row.note) else str(row.note)
    return Exact(
        holds=bool((rows.holds == 1).all()),
        value=float(error[index]),
        tolerance=float(row.tolerance),
        note=f"{row.quantity}: {row.value:.3g}. {note}".strip(),
    )
