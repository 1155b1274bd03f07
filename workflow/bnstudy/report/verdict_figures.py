"""The figures of claims and verdicts: the scorecard, and the cells behind the claims of a study.

Effects in different units are drawn on one axis, each divided by the smallest effect that matters
for its claim. That axis is linear where an effect is too small to matter and logarithmic beyond.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from bnstudy import statistics
from bnstudy.report.figures import (
    GRID,
    INK,
    MUTED,
    PAPER,
    Drawing,
    Layout,
    arm_legend,
)
from bnstudy.report.results import MINUS, SPACE, counted, decimal, listed
from bnstudy.report.study_figures import FIGURES
from bnstudy.report.verdicts import (
    STATISTICAL,
    Claims,
    Judged,
    cell_name,
    heading,
    short_name,
    typographic,
    verdict_word,
)

FARTHEST = 100.0  # smallest effects that matter; what lies beyond is drawn at the edge, as an arrow
DEFINITE = ("supported", "refuted")


@dataclass(frozen=True)
class Line:
    """A row of a ratio plot: effects in units of the smallest that matters."""

    name: str
    effects: np.ndarray  # of the seeds
    word: str = ""
    definite: bool = False
    heads: bool = False  # a claim among its cells

    @property
    def mean(self) -> float:
        return statistics.mean(self.effects)

    @property
    def interval(self) -> tuple[float, float]:
        return statistics.t_interval(self.effects)


def line_of(claim: Judged) -> Line:
    return Line(
        short_name(claim),
        claim.effects / claim.smallest_effect,
        verdict_word(claim),
        claim.word in DEFINITE,
    )


def ratio_table(found: Sequence[tuple[Judged, str, np.ndarray]]) -> pd.DataFrame:
    """The data behind a ratio plot: a row per claim, cell and seed."""
    rows = [
        (claim.id, cell, rank, effect, claim.unit, effect / claim.smallest_effect)
        for claim, cell, effects in found
        for rank, effect in enumerate(effects)
    ]
    columns = ["claim", "cell", "seed", "effect", "unit", "effect / smallest that matters"]
    return pd.DataFrame(rows, columns=columns)


def ratio_rows(lines: Sequence[Line], layout: Layout, breaks: Sequence[int] = ()) -> Figure:
    """Rows of seeds, mean and interval over the zone of effects that are too small to matter.

    On a phone a row's name stands above it; `breaks` are rows that a thin line sets off.
    """
    pitch = 0.37 if layout.narrow else 0.225
    figure = Figure(figsize=(layout.width, pitch * len(lines) + 0.95))
    ax = figure.subplots()
    far = reach(lines)
    ax.set_xscale("symlog", linthresh=1, linscale=0.8)
    ax.set_xlim(-far * 1.35, far * 1.35)
    ax.axvspan(-1, 1, color=GRID, alpha=0.6, lw=0, zorder=0)
    ax.axvline(0, color=MUTED, lw=0.8, zorder=1)
    for y, line in enumerate(lines):
        ratio_row(ax, y, line, far)
        weight = "bold" if line.definite or line.heads else "normal"
        if layout.narrow:
            place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            small = {"fontsize": 7.2, "va": "center"}
            heavy = "bold" if line.heads else "normal"
            ax.annotate(line.name, (0, y), (2, 9), **place, **small, weight=heavy)
            ax.annotate(line.word, (1, y), (0, 9), ha="right", **place, **small, weight=weight)
        elif line.word:
            ax.text(
                1.01, y, line.word, transform=ax.get_yaxis_transform(), va="center", weight=weight
            )
    for y in breaks:
        ax.axhline(y - (0.72 if layout.narrow else 0.5), color=MUTED, lw=0.6)
    if layout.narrow:
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
    else:
        ax.set_yticks(range(len(lines)), [line.name for line in lines])
        for label, line in zip(ax.get_yticklabels(), lines, strict=True):
            label.set_fontweight("bold" if line.heads else "normal")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(lines) - 0.4, -0.95 if layout.narrow else -0.6)
    ax.grid(axis="y", visible=False)
    ticks = [t for t in (-100, -10, -1, 0, 1, 10, 100) if abs(t) <= far]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}".replace("-", MINUS)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(
        "effect / smallest that matters" if layout.narrow
        else "effect in units of the smallest that matters (to the right: as claimed)"
    )  # fmt: skip
    handles = [
        Line2D([], [], color=INK, marker="o", ms=5, label=f"mean and 95{SPACE}% interval"),
        Line2D([], [], color=MUTED, ls="none", marker="o", ms=2.4, alpha=0.6, label="one seed"),
        Line2D([], [], color=GRID, lw=7, label="too small to matter"),
    ]
    arm_legend(figure, (), layout, handles)
    return figure


def reach(lines: Sequence[Line]) -> float:
    """How far the axis goes: 10, or 100 where an effect is larger."""
    largest = max(abs(line.mean) for line in lines)
    return 10.0 if largest <= 10 else FARTHEST


def ratio_row(ax: Axes, y: int, line: Line, far: float) -> None:
    seeds = np.clip(line.effects, -far, far)
    spread = np.linspace(-0.17, 0.17, len(seeds)) if len(seeds) > 1 else np.zeros(1)
    ax.plot(seeds, y + spread, ls="none", marker="o", color=MUTED, ms=2.1, alpha=0.5, mew=0)
    low, high = line.interval
    if not np.isnan(low):
        ax.plot(np.clip([low, high], -far, far), [y, y], color=INK, lw=1.5, zorder=3)
    outside = abs(line.mean) > far
    marker = "o" if not outside else (">" if line.mean > 0 else "<")
    ax.plot(
        np.clip(line.mean, -far, far),
        y,
        marker=marker,
        color=INK,
        mfc=INK if line.definite else PAPER,
        ms=5.6 if outside else 5,
        mew=1.1,
        zorder=4,
    )
    if outside:
        ax.annotate(
            f"{line.mean:,.0f}".replace("-", MINUS),
            (np.sign(line.mean) * far, y),
            (-6 * np.sign(line.mean), 0),
            textcoords="offset points",
            ha="right" if line.mean > 0 else "left",
            va="center",
            fontsize=7,
        )


def seeds_range(lines: Sequence[Line]) -> str:
    counts = sorted({len(line.effects) for line in lines})
    if len(counts) == 1:
        return f"n = {counts[0]}"
    return f"n = {counts[0]} to {counts[-1]}"


HOW_TO_READ = (
    "Large marks are means, bars their 95 % t-intervals, small dots seeds ({n}). In the shaded zone "
    "an effect is too small to matter; beyond it the axis is logarithmic, and an arrow with its "
    "number stands for a mean beyond its end."
)


def of_study(claims: Claims, study: str) -> list[Drawing]:
    """The figures of a study's own table."""
    functions = FIGURES.get(study, [])
    if not functions or study not in claims.studies:
        return []
    table, options = claims.table(study), claims.studies[study]["options"]
    drawings = (function(table, options) for function in functions)
    return [drawing for drawing in drawings if drawing is not None]


def scorecard(claims: Claims) -> Drawing | None:
    """A row per statistical claim that was run."""
    found = [c for c in claims.kind("statistical") if c.was_run and len(c.effects)]
    if not found:
        return None
    lines = [line_of(claim) for claim in found]
    kinds = [claim.id[0] for claim in found]
    breaks = [i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]]
    parts = [
        f"{word}: {listed(c.id for c in found if c.word == word)}"
        for word in STATISTICAL
        if any(c.word == word for c in found)
    ]
    return Drawing(
        "scorecard",
        f"A dot with its interval for each of {counted(len(found), 'claim')}. {'; '.join(parts)}.",
        "Every statistical claim that was measured, its effect in units of the smallest that "
        "matters, and its verdict. To the right of the shaded zone the effect is as claimed, to the "
        f"left it is the opposite. {HOW_TO_READ.format(n=seeds_range(lines))} Filled marks are "
        "supported or refuted, open ones neither.",
        ratio_table([(claim, "all", claim.effects) for claim in found]),
        lambda layout: ratio_rows(lines, layout, breaks),
    )


def cells(claims: Sequence[Judged], study: str) -> Drawing | None:
    """The claims of a study and the cells behind them; None where there are no cells."""
    lines, rows, breaks, extremes = [], [], [], []
    for claim in claims:
        if len(claim.cells) < 2 or not len(claim.effects):
            continue
        if lines:
            breaks.append(len(lines))
        head = line_of(claim)
        lines.append(Line(head.name, head.effects, head.word, head.definite, heads=True))
        rows.append((claim, "all", claim.effects))
        means = {}
        for cell, effects in claim.cells.items():
            if len(effects) == 0:
                continue
            line = Line(
                typographic(cell_name(study, cell)), effects / claim.smallest_effect, definite=True
            )
            means[line.name] = line.mean
            lines.append(line)
            rows.append((claim, cell, effects))
        low, high = min(means, key=means.get), max(means, key=means.get)
        extremes.append(
            f"{claim.id} from {decimal(means[low], 1, signed=True)} ({low}) to "
            f"{decimal(means[high], 1, signed=True)} ({high})"
        )
    if not lines:
        return None
    return Drawing(
        f"cells-{study.replace('_', '-')}",
        f"Rows of means with intervals. In units of the smallest effect that matters: "
        f"{'; '.join(extremes)}.",
        f"What the effects of {heading(study).split()[0]} are made of: each claim in bold with its "
        "verdict, and under it the cells of the study. Cells are exploratory, their intervals are "
        f"not corrected. {HOW_TO_READ.format(n=seeds_range(lines))}",
        ratio_table(rows),
        lambda layout: ratio_rows(lines, layout, breaks),
    )
