"""The figures of claims and verdicts: the scorecard, and the cells behind the claims of a study.

Effects in different units are drawn on one axis, each divided by the smallest effect that matters
for its claim. That axis is linear where an effect is too small to matter and logarithmic beyond.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bnstudy.report import marks
from bnstudy.report.amounts import typographic
from bnstudy.report.look import GRID, INK, MUTED, Drawing, Look
from bnstudy.report.marks import Plot, note
from bnstudy.report.measures import SPACE, decimal, listed
from bnstudy.report.panels import plain
from bnstudy.report.plots import plot
from bnstudy.report.study_figures import FIGURES
from bnstudy.report.verdicts import STATISTICAL, Claims, Judged, short_name, verdict_word
from bnstudy.report.words import say

FARTHEST = 100.0  # smallest effects that matter; what lies beyond is drawn at the edge, as an arrow
NAMED = 30  # claims that an alternative text names one by one
MOST_ROWS = 24  # of a picture
DEFINITE = ("supported", "refuted")
RATIO = "effect / smallest that matters"
LEGEND = [
    Line2D([], [], color=INK, marker="o", ms=5, label=f"mean and 95{SPACE}% interval"),
    Line2D([], [], color=MUTED, ls="none", marker="o", ms=2.6, label="one seed"),
    Line2D([], [], color=GRID, lw=7, label="too small to matter"),
]


class Line(NamedTuple):
    """A row of a ratio plot: a claim, or a cell of it, in units of the smallest effect that matters."""

    claim: Judged
    cell: str = ""

    @property
    def name(self) -> str:
        return typographic(self.cell) or short_name(self.claim)

    @property
    def effects(self) -> np.ndarray:
        return self.claim.cells.get(self.cell, self.claim.effects)

    @property
    def mean(self) -> float:
        return float((self.effects / self.claim.smallest_effect).mean())


def ratio_plot(
    label: str, finding: str, caption: str, lines: Sequence[Line], group: Callable[[Line], str]
) -> Drawing:
    """Rows of seeds, mean and interval over the zone of effects that are too small to matter.

    A thin line stands between groups; where there are cells, claims are bold. Many rows are divided
    among pictures.
    """
    rows = [
        {"claim": claim.id, "cell": cell or "all", "seed": seed, "effect": effect}
        | {"unit": claim.unit, RATIO: effect / claim.smallest_effect, "row": row}
        for row, (claim, cell) in enumerate(lines)
        for seed, effect in enumerate(lines[row].effects)
    ]
    frame = pd.DataFrame(rows)
    with_cells = any(line.cell for line in lines)
    pairs = math.ceil(len(lines) / (2 * MOST_ROWS))  # of pictures, which stand side by side
    each = len(lines) if len(lines) <= MOST_ROWS else math.ceil(len(lines) / (2 * pairs))
    frame["part"] = frame["row"] // each
    far = 10.0 if max(abs(line.mean) for line in lines) <= 10 else FARTHEST

    def mark(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
        here = {row: plot.looks[row] for row in part["row"].unique()}
        bold = [with_cells and not lines[row].cell for row in here]
        marks.rows(ax, part, replace(plot, looks=here, bold=bold, above=True))
        ax.set_xscale("symlog", linthresh=1, linscale=0.8)
        ax.axvspan(-1, 1, color=GRID, alpha=0.6, lw=0, zorder=0)
        for place, row in enumerate(here):
            line = lines[row]
            if place and group(line) != group(lines[row - 1]):
                ax.axhline(place - 0.72, color=MUTED, lw=0.6)
            side = np.sign(line.mean)
            if abs(line.mean) > far:  # it stands at the edge, as an arrow with its number
                arrow = Look("", INK, marker=">" if side > 0 else "<").point(5.6)
                ax.plot(side * far, place, **arrow | {"zorder": 4})
                align = {"ha": "right" if side > 0 else "left", "va": "center", "fontsize": 7}
                note(ax, plain(round(line.mean)), (side * far, place), (-6 * side, 0), **align)
            if not line.cell:
                weight = "bold" if with_cells or line.claim.verdict in DEFINITE else "normal"
                style = {"ha": "right", "va": "center", "fontsize": 7.2, "weight": weight}
                note(ax, verdict_word(line.claim), (1, place), (0, 8), "axes data", **style)
        ticks = [t for t in (-100, -10, -1, 0, 1, 10, 100) if abs(t) <= far]
        ax.set_xticks(ticks, map(plain, ticks))
        ax.set(xlim=(-far * 1.35, far * 1.35))
        ax.minorticks_off()

    counts = sorted({len(line.effects) for line in lines})
    n = f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "")
    caption = f"{caption} {say('ratios', 'reading', n=n)}"
    return plot(
        "figure", label, frame.assign(value=frame[RATIO]), caption, mark=mark, hue="row",
        looks={i: Look(line.name, INK) for i, line in enumerate(lines)}, col="part", col_name=None,
        value=RATIO, scale=None, yscale=None, sharex=False, sharey=False, flat=True, rule=0,
        legend=LEGEND, wrap=1, height=0.37 * each + 0.2, finding=finding, data=frame.drop(columns=["row", "part"]),
    )  # fmt: skip


def of_study(claims: Claims, study: str) -> list[Drawing | None]:
    """The figures of a study's own table, and at the end the cells behind its claims."""
    own = FIGURES.get(study, {}) if study in claims.studies else {}
    measured = (claims.table(study), claims.studies[study]["options"]) if own else ()
    return [*(figure(*measured) for figure in own.values()), cells(claims.of(study), study)]


def scorecard(claims: Claims) -> Drawing | None:
    """A row per statistical claim that was run."""
    found = [c for c in claims.kind("statistical") if c.was_run and len(c.effects)]
    if not found:
        return None
    named = {word: [c.id for c in found if c.verdict == word] for word in STATISTICAL}
    parts = "; ".join(
        f"{word}: {listed(names) if len(found) <= NAMED else len(names)}"
        for word, names in named.items()
        if names
    )
    finding = say("ratios", "scorecard finding", n=len(found), parts=parts)
    lines = list(map(Line, found))
    caption = say("ratios", "scorecard")
    return ratio_plot("scorecard", finding, caption, lines, lambda line: line.claim.id[0])


def cells(claims: Sequence[Judged], study: str) -> Drawing | None:
    """The claims of a study and the cells behind them; None where there are no cells."""
    lines, extremes = [], []
    for claim in claims:
        if len(claim.cells) < 2 or not len(claim.effects):
            continue
        inside = [Line(claim, cell) for cell, effects in claim.cells.items() if len(effects)]
        lines += [Line(claim), *inside]
        ends = (f(inside, key=lambda line: line.mean) for f in (min, max))
        said = " to ".join(f"{decimal(end.mean, 1, signed=True)} ({end.name})" for end in ends)
        extremes.append(f"{claim.id} from {said}")
    if not lines:
        return None
    label = f"cells-{study.replace('_', '-')}"
    finding = say("ratios", "cells finding", extremes="; ".join(extremes))
    caption = say("ratios", "cells", study=claims[0].heading.split()[0])
    return ratio_plot(label, finding, caption, lines, lambda line: line.claim.id)
