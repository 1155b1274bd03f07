"""Figures of the controls of the verdict rule (S15) and of its errors (S16)."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bnstudy.report.results import ALPHA, SPACE, counted, decimal, listed
from bnstudy.report.study_figures.looks import (
    DASH_DOT,
    DASHED,
    DOTTED,
    NONE,
    PINK,
    RED,
    Look,
    dot_row,
    estimate,
    fit,
    in_order,
    legend,
    name_rows,
    note,
    plain,
    seeds_of,
)
from bnstudy.report.study_figures.toolkit import INK, MUTED, Drawing, Layout, panels


def controls(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Differences that must be nothing, and differences that must be something."""
    accuracy = 100 * table.pivot(index="seed", columns="learning_rate", values="test_accuracy")
    rates = sorted(accuracy.columns)
    usual = accuracy[rates[-1]]
    half = len(usual) // 2
    if half == 0:
        return None
    first, second = usual.iloc[:half], usual.iloc[half : 2 * half]
    differences = {"same": first - second.set_axis(first.index)}
    if len(rates) > 1:
        differences["learning_rate"] = first - accuracy[rates[0]].iloc[:half]
    titles = {
        "same": "same settings, other seeds",
        "learning_rate": f"learning rate {plain(rates[-1])} or {plain(rates[0])}",
    }
    data = pd.concat(
        d.rename("difference").reset_index().assign(control=name) for name, d in differences.items()
    )[["control", "seed", "difference"]]

    def draw(layout: Layout) -> Figure:
        shape = (len(differences), 1) if layout.narrow else (1, len(differences))
        figure, axes = panels(*shape, layout, height=0.75, sharex=False, sharey=False)
        for ax, (name, d) in zip(axes.flat, differences.items(), strict=True):
            ax.axvline(0, color=INK, lw=0.8, zorder=1)
            dot_row(ax, 0, d, NONE, spread=0.3)
            fit(ax, "x", [0, *d, *(v for v in estimate(d, log=False) if np.isfinite(v))])
            name_rows(ax, [""])
            ax.spines["left"].set_visible(False)
            ax.set_title(titles[name])
        for ax in axes.flat if not layout.narrow else axes[-1]:
            ax.set_xlabel("percentage points of test accuracy")
        return figure

    parts = []
    for name, d in differences.items():
        mean, low, high = estimate(d, log=False)
        between = (
            f", interval {decimal(low, 2, signed=True)} to {decimal(high, 2, signed=True)}"
            if not math.isnan(low)
            else ""
        )
        parts.append(f"{titles[name]} {decimal(mean, 2, signed=True)} percentage points{between}")
    compared = f"seeds {first.index[0]} to {first.index[-1]}" if half > 1 else "one seed"
    return Drawing(
        "controls",
        f"Mean differences: {'; '.join(parts)}.",
        "Differences in test accuracy of networks without normalization after "
        f"{counted(options['epochs'], 'epoch')} at batch size {options['batch_size']}. *Same "
        f"settings:* {compared} minus as many other seeds, which must not be told apart. "
        + (
            f"*Learning rate:* {plain(rates[-1])} minus {plain(rates[0])}, which must be. "
            if len(rates) > 1
            else ""
        )
        + seeds_of(data, noun="pair"),
        data,
        draw,
    )


VERDICTS = {
    "supported": Look("supported", INK, "solid", "o"),
    "not supported": Look("not supported", MUTED, DASHED, "s"),
    "inconclusive": Look("inconclusive", PINK, DASH_DOT, "D"),
    "refuted": Look("refuted", RED, DOTTED, "v"),
}


def verdict_shares(table: pd.DataFrame, options: dict) -> Drawing | None:
    """How often each verdict comes out against the true effect, by simulation."""
    shares = table.groupby("effect")[list(VERDICTS)].mean().sort_index()
    if shares.empty:
        return None
    studies = table.groupby("effect")["studies"].sum()
    data = (
        (100 * shares)
        .rename(columns=str)
        .reset_index()
        .melt("effect", var_name="verdict", value_name="percent")
        .assign(studies=lambda rows: rows["effect"].map(studies))
    )

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(1, 1, layout, height=2.3, sharex=False, sharey=False)
        figure.set_size_inches(layout.width if layout.narrow else 5.6, figure.get_size_inches()[1])
        ax = axes[0, 0]
        ax.axhline(100 * ALPHA, color=MUTED, lw=0.8, ls=DOTTED)
        for verdict, look in VERDICTS.items():
            y = 100 * shares[verdict]
            ax.plot(y.index, y, **look.point(4.5) | {"ls": look.dash, "lw": 1.6}, clip_on=False)
        ax.set_xlim(shares.index.min(), max(shares.index.max(), shares.index.min() + 0.1))
        ax.set_ylim(0, 103)
        ax.set_xticks(shares.index if not layout.narrow else shares.index[::2])
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.set_xlabel("true effect, in units of the smallest effect that matters")
        if layout.narrow:
            ax.set_xlabel("true effect / smallest that matters")
        ax.set_ylabel("share of the studies (%)")
        if layout.narrow:
            legend(figure, list(VERDICTS.values()), layout, wide=4, narrow=2)
        else:
            label_verdicts(ax, shares)
        note(ax, f"{100 * ALPHA:g}{SPACE}%", (1, 100 * ALPHA), (-2, 2), "axes data", ha="right")
        return figure

    ends = []
    for effect in in_order(shares.index, (0, 1, shares.index.max())) or [shares.index[0]]:
        row = 100 * shares.loc[effect]
        verdicts = listed(f"{decimal(row[v], 1)} percent {v}" for v in VERDICTS)
        ends.append(f"at {effect:g} times the smallest effect that matters, {verdicts}")
    return Drawing(
        "calibration",
        f"Verdicts of simulated studies: {'; '.join(ends)}.",
        f"How often each verdict comes out in {int(studies.min()):,} simulated studies of "
        f"{options['n']} seeds for each true effect, whose differences between seeds have a "
        f"standard deviation of {options['deviation']:g} times the smallest effect that matters. "
        "The dotted line marks the level of the test; at no true effect, the share of *supported* "
        "must stay below it.",
        data,
        draw,
    )


def label_verdicts(ax: Axes, shares: pd.DataFrame) -> None:
    """Write the verdicts beside their lines, where the lines are usually apart."""
    end = shares.index[-1]
    for verdict, share, side in (
        ("supported", 60, "left"),
        ("not supported", 60, "right"),
        ("inconclusive", 25, "right"),
    ):
        line = 100 * shares[verdict]
        x = crossing(line, share)
        y = share if x is not None else line[end]
        sideways = side if x is not None else "left"
        offset = (9 if sideways == "left" else -9, 0)
        place = (end if x is None else x, y)
        note(ax, verdict, place, offset, ha=sideways, va="center", fontsize=8)
    note(ax, "refuted", (end, 100 * shares["refuted"][end]), (9, 0), va="center", fontsize=8)


def crossing(line: pd.Series, share: float) -> float | None:
    """Where a line first crosses a share, None where it does not."""
    above = line.to_numpy() >= share
    steps = np.flatnonzero(above[1:] != above[:-1])
    if len(steps) == 0:
        return None
    (x0, x1), (y0, y1) = (np.asarray(v)[steps[0] : steps[0] + 2] for v in (line.index, line))
    return float(x0 + (x1 - x0) * (share - y0) / (y1 - y0))
