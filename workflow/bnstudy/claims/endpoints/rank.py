"""Endpoints of the rank of random networks (S23)."""

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, mean_over_cells, wide


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """ln of ratios of effective ranks; cells are the widths."""
    logs = np.log(wide(table, "rank", "layer", "norm", "width"))
    first, last = logs[table["layer"].min()], logs[table["layer"].max()]
    widths = last["batch"].columns
    effects = {"kept": last["batch"] - last["none"], "collapse": first["none"] - last["none"]}
    width = last["batch", widths.max()] - last["batch", widths.min()]
    return {"width": Endpoint(width, "ln ratio")} | {
        name: mean_over_cells(effect.rename(columns="width {}".format), "ln ratio")
        for name, effect in effects.items()
    }
