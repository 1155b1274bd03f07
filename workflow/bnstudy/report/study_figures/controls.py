"""Figures of the controls of the verdict rule (S15) and of its errors (S16)."""

import math

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from bnstudy.claims.endpoints.scoring import accuracy
from bnstudy.report.look import (
    DASH_DOT,
    DASHED,
    DOTTED,
    INK,
    MUTED,
    PINK,
    RED,
    RULE,
    Drawing,
    Layout,
    Look,
    series,
    t_interval,
)
from bnstudy.report.marks import fit, rows
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import counted, decimal, listed
from bnstudy.report.study_figures.tables import NONE
from bnstudy.report.words import seeds_of, unrounded


def controls(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Differences that must be nothing, and differences that must be something."""
    scored = table.assign(value=accuracy(table, "test_accuracy"))
    values = scored.pivot(index="seed", columns="learning_rate", values="value")
    rates = sorted(values.columns)
    usual = values[rates[-1]]
    half = len(usual) // 2
    if half == 0:
        return None
    first, second = usual.iloc[:half], usual.iloc[half : 2 * half]
    titles = {"same": "same settings, other seeds"}
    differences = {"same": first - second.set_axis(first.index)}
    compared = f"seeds {first.index[0]} to {first.index[-1]}" if half > 1 else "one seed"
    notes = f"*Same settings:* {compared} minus as many other seeds, which must not be told apart. "
    if len(rates) > 1:
        low, high = unrounded(rates[0]), unrounded(rates[-1])
        titles["learning_rate"] = f"learning rate {high} or {low}"
        differences["learning_rate"] = first - values[rates[0]].iloc[:half]
        notes += f"*Learning rate:* {high} minus {low}, which must be. "
    data = pd.DataFrame(differences).rename_axis(index="seed", columns="control")
    data = data.unstack().rename("difference").reset_index()

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            data, None, "control", layout, x="percentage points of test accuracy", yscale=None,
            sharex=False, col_name=titles, height=0.75, wrap=(2, 1),
        )  # fmt: skip
        for ax, part in panels:
            ax.axvline(0, **RULE)
            control = part["control"].iat[0]
            rows(ax, part, "difference", "control", NONE, order=[control], names={control: ""})
            fit(ax, "x", [0, *part["difference"], *t_interval(part["difference"])])
            ax.spines["left"].set_visible(False)
        return panels.finish()

    def said(control: str, found: pd.Series) -> str:
        mean, low, high = (decimal(v, 2, signed=True) for v in (found.mean(), *t_interval(found)))
        between = f", interval {low} to {high}" if math.isfinite(t_interval(found)[0]) else ""
        return f"{titles[control]} {mean} percentage points{between}"

    return Drawing(
        "controls",
        f"Mean differences: {'; '.join(said(*pair) for pair in differences.items())}.",
        "Differences in test accuracy of networks without normalization after "
        f"{counted(options['epochs'], 'epoch')} at batch size {options['batch_size']}. {notes}"
        f"{seeds_of(data, noun='pair')}",
        data,
        draw,
    )


VERDICTS = {
    "supported": Look("supported", INK),
    "not supported": Look("not supported", MUTED, DASHED, "s"),
    "inconclusive": Look("inconclusive", PINK, DASH_DOT, "D"),
    "refuted": Look("refuted", RED, DOTTED, "v"),
}


def verdict_shares(table: pd.DataFrame, options: dict) -> Drawing | None:
    """How often each verdict comes out against the true effect, by simulation; normal differences."""
    normal = table[table["distribution"] == "normal"]
    if normal.empty:
        return None
    shares = 100 * normal.groupby(["spread", "effect"])[list(VERDICTS)].mean()
    data = shares.rename_axis(columns="verdict").stack().rename("percent").reset_index()
    names = {spread: f"standard deviation {spread:g}" for spread in data["spread"].unique()}

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            data, None, "spread", layout, x="true effect / smallest that matters",
            y="share of the claims (%)", col_name=names, height=2.2, wrap=(3, 1),
        )  # fmt: skip
        for ax, part in panels:
            style = series(VERDICTS, "verdict") | {"clip_on": False, "ax": ax}
            sns.lineplot(part, x="effect", y="percent", **style)
            ax.set_ylim(0, 100)
        return panels.finish(VERDICTS)

    def said(pair: tuple[float, float]) -> str:
        found = listed(f"{decimal(shares.loc[pair, v], 1)} percent {v}" for v in VERDICTS)
        return f"at {pair[1]:g} times the smallest effect that matters, spread {pair[0]:g}, {found}"

    ends = [
        (spread, effect)
        for spread in names
        for effect in (0, 3)
        if (spread, effect) in shares.index
    ]
    return Drawing(
        "calibration",
        f"Verdicts on simulated claims: {'; '.join(map(said, ends))}.",
        f"How often each verdict comes out by true effect and by the standard deviation of its "
        f"{options['n']} seeds, both in units of the smallest effect that matters. Judged in "
        f"{int(table['studies'].min()):,} families of {options['family_size']} claims each.",
        data,
        draw,
    )
