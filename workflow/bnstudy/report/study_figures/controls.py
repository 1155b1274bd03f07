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
from bnstudy.report.marks import fit, note, rows
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import ALPHA, SPACE, counted, decimal, listed
from bnstudy.report.study_figures.tables import NONE
from bnstudy.report.words import in_order, seeds_of, unrounded


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
    """How often each verdict comes out against the true effect, by simulation."""
    shares = 100 * table.groupby("effect")[list(VERDICTS)].mean().rename_axis(columns="verdict")
    if shares.empty:
        return None
    studies = table.groupby("effect")["studies"].sum()
    data = shares.unstack().rename("percent").reset_index()
    data = data.assign(studies=data["effect"].map(studies))

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            data, None, None, layout, x="true effect / smallest that matters",
            y="share of the studies (%)", height=2.2, width=5.6,
        )  # fmt: skip
        for ax, part in panels:
            level = 100 * ALPHA
            ax.axhline(level, color=MUTED, lw=0.8, ls=":")
            note(ax, f"{level:g}{SPACE}%", (1, level), (-2, 2), "axes data", ha="right")
            style = series(VERDICTS, "verdict") | {"clip_on": False, "ax": ax}
            sns.lineplot(part, x="effect", y="percent", **style)
            ax.set_ylim(0, 100)
        return panels.finish(VERDICTS)

    def said(effect: float) -> str:
        found = listed(f"{decimal(shares.loc[effect, v], 1)} percent {v}" for v in VERDICTS)
        return f"at {effect:g} times the smallest effect that matters, {found}"

    ends = in_order(shares.index, (0, 1, shares.index.max()))
    return Drawing(
        "calibration",
        f"Verdicts of simulated studies: {'; '.join(map(said, dict.fromkeys(ends)))}.",
        f"How often each verdict comes out in {int(studies.min()):,} simulated studies of "
        f"{options['n']} seeds for each true effect, whose differences between seeds have a "
        f"standard deviation of {options['deviation']:g} times the smallest effect that matters. "
        "The dotted line marks the level of the test; at no true effect, the share of *supported* "
        "must stay below it.",
        data,
        draw,
    )
