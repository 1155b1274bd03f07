"""Endpoints of the rank of random networks (S23)."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.endpoints.scoring import mean_over_cells


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Ratios of ranks, natural logarithms.

    - `kept`: rank in the last layer, `batch` over `none`, mean over widths. Cells are widths.
    - `width`: rank in the last layer, the widest over the narrowest networks, `batch` alone.
    - `collapse`: rank in the first layer over that in the last, `none` alone, mean over widths.
    """
    logs = np.log(table.pivot(index="seed", columns=["norm", "width", "layer"], values="rank"))
    first, last = (
        logs.xs(layer, axis=1, level="layer")
        for layer in (table["layer"].min(), table["layer"].max())
    )
    widths = last["batch"].columns
    collapse = named(first["none"] - last["none"])
    return {
        "kept": mean_over_cells(named(last["batch"] - last["none"]), "ln ratio"),
        "width": Endpoint(
            last["batch"][widths.max()] - last["batch"][widths.min()], {}, "ln ratio"
        ),
        "collapse": mean_over_cells(collapse, "ln ratio"),
    }


def named(by_width: pd.DataFrame) -> pd.DataFrame:
    return by_width.rename(columns="width {}".format)
