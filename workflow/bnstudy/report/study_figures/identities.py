"""Figures of the exact identities (S0)."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnstudy.report.look import BLUE, DOTTED, GRID, MUTED, ORANGE, RED, RULE, Drawing, Layout, Look
from bnstudy.report.marks import note, row_names
from bnstudy.report.measures import counted, decimal, listed
from bnstudy.report.panels import power, small_multiples
from bnstudy.report.plots import curves
from bnstudy.report.study_figures.tables import BATCH
from bnstudy.report.words import significant

CHECKS = {
    "M1": "formulas of both passes",
    "M2": "mean and variance of a batch",
    "M3a": "scale and shift undo it",
    "M4": "inference ignores the batch",
    "M5": "averages span an epoch",
    "M6": "gradient of the bias is zero",
    "M7": "scale of weights cancels",
    "M8": "two samples become ±1",
    "M9": "folds into the Linear layer",
    "S4.1": "smoothness bound",
    "E4": "variance that is stored",
    "E5": "conventions of momentum",
    "E6": "every variance is 1",
    "E7": "gradient without statistics",
    "E8": "mean of the batch losses",
    "E10": "pixels are standardized",
    "E18": "statistics are updated",
    "MNIST pixels": "as published",
    "L5 epsilon": "change of accuracy",
    "L5 momentum": "change of accuracy",
}
SWEEPS = ("M4 in training", "M4 slope", "M7 with epsilon")  # have a figure of their own


def identity_errors(table: pd.DataFrame, options: dict) -> Drawing | None:
    """The error of every check that has a tolerance, in multiples of it."""
    rows = table[(table["tolerance"] > 0) & ~table["check"].isin(SWEEPS)]
    if rows.empty:
        return None
    errors = (rows["value"] - rows["reference"]).abs()
    data = rows[["seed", "check", "quantity", "tolerance", "holds"]].assign(
        error=errors, ratio=errors / rows["tolerance"]
    )
    passed = data.groupby("check")["holds"].min()
    checks = sorted(passed.index, key=lambda name: (-passed[name], [*CHECKS, name].index(name)))
    kept = int(passed.sum())
    zero = 10.0 ** (math.floor(math.log10(data["ratio"].replace(0, 1e-3).min())) - 1)
    high = max(10.0, data["ratio"].max()) * 10
    powers = [10.0**e for e in range(-40, 40, 4) if 100 * zero < 10.0**e < high]
    places = data["check"].map({check: row for row, check in enumerate(checks)})
    shown = data.assign(place=places, ratio=data["ratio"].clip(lower=zero))
    names = [f"{name}  {CHECKS[name]}" if name in CHECKS else name for name in checks]

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            shown, None, None, layout, x="error, in multiples of the tolerance", xscale=None,
            yscale=None, height=(0.2 * len(checks), 0.3 * len(checks)), width=6.4,
        )  # fmt: skip
        for ax, part in panels:
            ax.set(xscale="log", xlim=(zero / 4, high))
            ax.axvspan(1, high, color=GRID, alpha=0.45, lw=0, zorder=0)
            ax.axvline(1, **RULE)
            ax.hlines(range(len(checks)), 0, 1, GRID, lw=0.6, transform=ax.get_yaxis_transform())
            for holds, color, marker in ((1, BLUE, "o"), (0, RED, "X")):
                one = part[part["holds"] == holds]
                ax.plot(one["ratio"], one["place"], **Look("", color, marker=marker).point(5))
            row_names(ax, names, layout)
            if 0 < kept < len(checks):
                ax.axhline(kept - (0.85 if layout.narrow else 0.5), color=MUTED, lw=0.6)
            ax.set_xticks([zero, *powers], ["0", *map(power, powers)])
            ax.minorticks_off()
            note(ax, "holds", (1, 1), (-4, 3), "data axes", ha="right", color=MUTED)
            note(ax, "does not hold", (1, 1), (4, 3), "data axes", color=MUTED)
            ax.spines["left"].set_visible(False)
        return panels.finish()

    finding = f"{kept} of {counted(len(checks), 'check')} {'holds' if kept == 1 else 'hold'}"
    finding += " in all parts"
    if kept:
        worst = data.loc[data[data["check"].isin(checks[:kept])]["ratio"].idxmax()]
        times = f"{significant(worst['ratio'])} times its tolerance ({worst['check']})"
        finding += f", the largest error of them being {times}"
    if kept < len(checks):
        finding += f"; in {listed(checks[kept:])} at least one part does not"
    return Drawing(
        "identities",
        f"{finding}.",
        "Error of every check that has a tolerance, divided by the tolerance (logarithmic scale); "
        "a mark is one quantity of the check, at the left edge one without any error. Right of the "
        "line the statement, as it is written, does not hold. Checks of counts and of equality are not "
        f"drawn. Formulas in double, networks in single precision; "
        f"{counted(data['seed'].nunique(), 'seed')}.",
        data,
        draw,
    )


LOOKS = {
    "batch": BATCH,
    "epsilon": Look("with epsilon", BLUE),
    "no epsilon": Look("without epsilon", ORANGE, DOTTED, "s"),
}
LEAST = 1e-17  # an error of exactly zero is drawn here


def identity_sweeps(table: pd.DataFrame, options: dict) -> Drawing | None:
    """How an output depends on its batch, and on the scale of the weights before the layer."""
    output = table["quantity"].str.startswith("relative change of the output")
    parts = {
        "batch": table[table["check"] == "M4 in training"],
        "epsilon": table[table["check"] == "M7 with epsilon"],
        "no epsilon": table[(table["check"] == "M7") & output],
    }
    if parts["batch"].empty or parts["epsilon"].empty:
        return None
    data = pd.concat(
        rows[["seed"]].assign(sweep=name, size=last_number(rows["quantity"]), value=rows["value"])
        for name, rows in parts.items()
    )
    of_batch = data["sweep"] == "batch"
    data["panel"] = np.where(of_batch, "batch", "weights")
    data["value"] = data["value"].mask(of_batch, 100 * data["value"]).clip(lower=LEAST)
    means = np.exp(np.log(data["value"][of_batch]).groupby(data["size"]).mean())
    sizes = means.index.to_numpy()
    ideal = np.exp(np.log(means * np.sqrt(sizes)).mean()) / np.sqrt(sizes)
    slope = table[table["check"] == "M4 slope"]["value"].mean()

    def theory(ax: Axes, part: pd.DataFrame) -> None:
        if part["panel"].iat[0] == "batch":
            ax.plot(sizes, ideal, color=MUTED, ls=(0, DOTTED), lw=1.2)
            words = f"measured slope {decimal(slope, 2)}\ndotted: 1 / √B"
            note(ax, words, (1, 1), (-2, -2), "axes", ha="right", va="top")

    return curves(
        "identities-sweeps",
        data,
        "*Training mode:* relative deviation of an image's logits over batches that it shares with "
        "different other images, against the batch size; the dotted line falls as one over the "
        "root of the batch size. *Scale of the weights:* relative change of the layer's output in "
        "training mode when the weights before it are multiplied, with epsilon as it is in PyTorch "
        "(0.00001) and with none. All axes are logarithmic.",
        x="size", hue="sweep", looks=LOOKS, col="panel", sharex=False, sharey=False, height=1.9,
        other={"batch": "batch size", "weights": "weights multiplied by"}, wrap=(2, 1),
        value={"batch": "deviation of the logits (%)", "weights": "relative change of the output"},
        xscale="log", scale="log", then=theory, what="change of the output",
        col_name={"batch": "training mode", "weights": "scale of the weights"},
    )  # fmt: skip


def last_number(quantity: pd.Series) -> pd.Series:
    """The number at the end of each text."""
    return quantity.str.extract(r"([0-9.e+-]+)$")[0].astype(float)
