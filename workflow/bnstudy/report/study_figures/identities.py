"""Figures of the exact identities (S0)."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from bnstudy.report.figures import GRID, INK, MUTED, PAPER, Drawing, Layout, panels
from bnstudy.report.results import SPACE, counted, decimal, listed
from bnstudy.report.study_figures.looks import (
    BATCH,
    BLUE,
    DOTTED,
    RED,
    Look,
    bands_of,
    curve,
    doubling_axis,
    fit,
    name_rows,
    note,
    plain,
    power,
    power_ticks,
    significant,
)

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
    passed = data.groupby("check", sort=False)["holds"].min()
    passed = passed.loc[sorted(passed.index, key=lambda name: [*CHECKS, name].index(name))]
    checks = [*passed[passed == 1].index, *passed[passed == 0].index]
    kept = int((passed == 1).sum())
    smallest = data["ratio"].where(data["ratio"] > 0).min()
    zero = 10 ** (math.floor(math.log10(1e-3 if math.isnan(smallest) else smallest)) - 1)

    def draw(layout: Layout) -> Figure:
        step = 0.3 if layout.narrow else 0.2
        figure, axes = panels(
            1, 1, layout, height=step * len(checks) - 0.1, sharex=False, sharey=False
        )
        ax = axes[0, 0]
        figure.set_size_inches(layout.width if layout.narrow else 6.4, figure.get_size_inches()[1])
        ax.set_xscale("log")
        high = max(10.0, data["ratio"].max()) * 10
        ax.set_xlim(zero / 4, high)
        ax.axvspan(1, high, color=GRID, alpha=0.45, lw=0, zorder=0)
        ax.axvline(1, color=INK, lw=0.8, zorder=1)
        for y, name in enumerate(checks):
            some = data[data["check"] == name]
            ax.axhline(y, color=GRID, lw=0.6, zorder=0.5)
            for holds, marker, color in ((1, "o", BLUE), (0, "X", RED)):
                part = some[some["holds"] == holds]["ratio"]
                none = part == 0
                ax.plot(
                    part[~none],
                    [y] * (~none).sum(),
                    ls="none",
                    marker=marker,
                    color=color,
                    ms=4.6,
                    mec=PAPER,
                    mew=0.5,
                    zorder=3,
                )
                ax.plot(
                    [zero] * none.sum(),
                    [y] * none.sum(),
                    ls="none",
                    marker=marker,
                    mec=color,
                    mfc=PAPER,
                    ms=4.2,
                    mew=1.1,
                    zorder=3,
                )
        names = [f"{name}  {CHECKS[name]}" if name in CHECKS else name for name in checks]
        name_rows(ax, [""] * len(names) if layout.narrow else names)
        if layout.narrow:
            for y, name in enumerate(names):
                note(ax, name, (0, y), (0, 4), "axes data", fontsize=7)
            ax.set_ylim(len(names) - 0.5, -0.9)
        if 0 < kept < len(checks):
            ax.axhline(kept - (0.85 if layout.narrow else 0.5), color=MUTED, lw=0.6)
        power_ticks(ax, "x", 4)
        powers = [tick for tick in ax.get_xticks() if tick > 100 * zero]
        ax.xaxis.set_major_locator(FixedLocator([zero, *powers]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: "0" if v == zero else power(v)))
        ax.set_xlabel("error, in multiples of the tolerance")
        note(ax, "holds", (1, 1), (-4, 3), "data axes", ha="right", color=MUTED)
        note(ax, "does not hold", (1, 1), (4, 3), "data axes", color=MUTED)
        ax.spines["left"].set_visible(False)
        return figure

    held = data[data["check"].isin(passed[passed == 1].index)]
    failing = listed(passed[passed == 0].index)
    return Drawing(
        "identities",
        f"{kept} of {counted(len(checks), 'check')} {'holds' if kept == 1 else 'hold'} in all parts"
        + (f", the largest error of them being {worst_of(held)}" if kept else "")
        + (f"; in {failing} at least one part does not." if failing else "."),
        "Error of every check that has a tolerance, divided by the tolerance (logarithmic scale); "
        "a mark is one quantity of the check, an open one has no error at all. Right of the line "
        "the statement, as it is written, does not hold. Checks of counts and of equality are not drawn. Formulas in double, networks in single precision; "
        f"{counted(data['seed'].nunique(), 'seed')}.",
        data,
        draw,
    )


def worst_of(held: pd.DataFrame) -> str:
    """The largest error in multiples of its tolerance, and whose it is."""
    row = held.loc[held["ratio"].idxmax()]
    return f"{significant(row['ratio'])} times its tolerance ({row['check']})"


def last_number(quantity: pd.Series) -> pd.Series:
    """The number at the end of each text."""
    return quantity.str.extract(r"([0-9.e+-]+)$")[0].astype(float)


def identity_sweeps(table: pd.DataFrame, options: dict) -> Drawing | None:
    """How an output depends on its batch, and on the scale of the weights before the layer."""
    output = table["quantity"].str.startswith("relative change of the output")
    parts = {
        "batch": table[table["check"] == "M4 in training"],
        "epsilon": table[table["check"] == "M7 with epsilon"],
        "no epsilon": table[(table["check"] == "M7") & output],
    }
    data = pd.concat(
        rows[["seed"]].assign(sweep=name, x=last_number(rows["quantity"]), value=rows["value"])
        for name, rows in parts.items()
    )
    if parts["batch"].empty or parts["epsilon"].empty:
        return None
    slope = table[table["check"] == "M4 slope"]["value"].mean()
    least = 1e-17  # an error of exactly zero is drawn here

    def draw(layout: Layout) -> Figure:
        shape = (2, 1) if layout.narrow else (1, 2)
        figure, axes = panels(*shape, layout, height=1.9, sharex=False, sharey=False)
        ax, right = axes.flat
        noise = data[data["sweep"] == "batch"].assign(value=lambda rows: 100 * rows["value"])
        means = np.exp(np.log(noise["value"]).groupby(noise["x"]).mean())
        sizes = means.index.to_numpy()
        ideal = np.exp(np.log(means * np.sqrt(sizes)).mean()) / np.sqrt(sizes)
        ax.plot(sizes, ideal, color=MUTED, ls=DOTTED, lw=1.2)
        curve(ax, noise, "x", BATCH, size=5)
        fit(ax, "y", [*noise["value"], *ideal], log=True)
        doubling_axis(ax, sizes)
        ax.set_title("training mode")
        ax.set_xlabel("batch size")
        ax.set_ylabel("deviation of the logits (%)")
        note(
            ax,
            f"measured slope {decimal(slope, 2)}\ndotted: 1 / √B",
            (1, 1),
            (-2, -2),
            "axes",
            ha="right",
            va="top",
        )
        for name, look in EPSILON.items():
            some = data[data["sweep"] == name]
            curve(right, some.assign(value=some["value"].clip(lower=least)), "x", look, size=5)
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_ylim(least, 30)
        power_ticks(right, "x", 2 if layout.narrow else 1)
        power_ticks(right, "y", 4)
        right.set_title("scale of the weights")
        right.set_xlabel("weights multiplied by")
        right.set_ylabel("relative change of the output")
        for name, look in EPSILON.items():
            some = data[data["sweep"] == name]
            if len(some):
                x = some["x"].min()
                y = some[some["x"] == x]["value"].clip(lower=least).mean()
                below = name == "epsilon"
                note(
                    right,
                    look.name,
                    (x, y),
                    (0, -8 if below else 8),
                    va="top" if below else "bottom",
                )
        return figure

    batch, scales = data[data["sweep"] == "batch"], data[data["sweep"] == "epsilon"]
    deviations = batch.groupby("x")["value"].mean()
    changes = scales.groupby("x")["value"].mean()
    return Drawing(
        "identities-sweeps",
        f"In training mode the logits of an image deviate by {percent(deviations.iloc[0])} between "
        f"batches of {deviations.index[0]:g} and by {percent(deviations.iloc[-1])} between batches "
        f"of {deviations.index[-1]:g}, a slope of {decimal(slope, 2)}. With epsilon the output "
        f"changes by {percent(changes.iloc[0])} where weights are multiplied by "
        f"{plain(changes.index[0])}, and by {percent(changes.iloc[-1])} at {plain(changes.index[-1])}.",
        "*Training mode:* relative deviation of an image's logits over batches that it shares with "
        "different other images, against the batch size; the dotted line falls as one over the "
        "root of the batch size. *Scale of the weights:* relative change of the layer's output in "
        "training mode when the weights before it are multiplied, with epsilon as it is in PyTorch "
        f"(0.00001) and with none. All axes are logarithmic. {bands_of(data)}",
        data,
        draw,
    )


EPSILON = {
    "epsilon": Look("with epsilon", BLUE, "solid", "o"),
    "no epsilon": Look("without", BLUE, DOTTED, "o", filled=False),
}


def percent(share: float) -> str:
    """A share in percent, to two significant digits where it is small."""
    shown = 100 * share
    text = decimal(shown, 1) if shown >= 1 else f"{shown:.2g}"
    return f"{text}{SPACE}%"
