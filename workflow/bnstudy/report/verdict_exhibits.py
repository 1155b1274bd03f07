"""The tables and figures of claims and verdicts: scorecard, cells, errata, published values and more.

In figures effects of different units share an axis, each divided by the smallest effect that matters for its claim.
That axis is linear where an effect is too small to matter and logarithmic beyond.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bnstudy import statistics
from bnstudy.claims.endpoints.base import page_test
from bnstudy.claims.endpoints.inference import errors
from bnstudy.claims.endpoints.initialization import growth_by_network
from bnstudy.claims.judge import Measured, git_blob_hash
from bnstudy.claims.listed import CORE, complete
from bnstudy.config import ALPHA
from bnstudy.errors import UserError
from bnstudy.provenance import came_before, last_commit
from bnstudy.report import marks
from bnstudy.report.exhibits import DECLARED, Cell, Exhibit, exhibit
from bnstudy.report.figures import FIGURES
from bnstudy.report.look import GRID, INK, MUTED, Drawing, Look
from bnstudy.report.marks import Plot, note
from bnstudy.report.measures import SPACE, capitalized, decimal, listed, p_text
from bnstudy.report.panels import plain
from bnstudy.report.plots import plot
from bnstudy.report.rendering import slug
from bnstudy.report.verdicts import LOOKED, QUOTES, SIGNS, Claims, Judged, quoted
from bnstudy.report.words import INTERVAL, Words, effect_cell, interval, say, small, threshold, typographic
from bnstudy.settings import Settings

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


def scorecard(claims: Claims) -> Exhibit | None:
    """A row per statistical claim that was run."""
    statistical = claims.kind("statistical")
    found = [claim for claim in statistical if claim.was_run]
    rows = [
        {
            "claim": Cell(claim.name, slug(claim.heading)),
            "verdict": claim.word,
            "effect": effect_cell(claim.effect, claim.unit),
            INTERVAL: interval(claim.ci_low, claim.ci_high, claim.unit),
            "smallest that matters": threshold(claim.smallest_effect, claim.unit, short=True),
            "p": claim.p,
            "prior": claim.prior,
            "n": claim.n,
        }
        for claim in found
    ]
    looked = say("verdicts", "looked", mark=LOOKED) if any(c.looked for c in found) else ""
    return exhibit("scorecard", rows, family=len(statistical), looked=looked)


def exact(claims: Claims, study: str) -> Exhibit | None:
    """The exact statements of a study: a row each, with its error and what was seen."""
    found = [claim for claim in claims.of(study) if claim.kind == "exact"]
    rows = [
        {
            "statement": typographic(f"{claim.id}: {claim.claim}") + quoted(claim, str),
            "verdict": claim.verdict,
            "largest error": claim.effect,
            "allowed": claim.smallest_effect,
            "prior": claim.prior,
            "what was seen": capitalized(typographic(claim.note)),
        }
        for claim in found
    ]
    holding = sum(claim.verdict == "holds" for claim in found)
    return exhibit("exact", rows, label=f"exact-{study.replace('_', '-')}", holding=holding)


def not_run(claims: Claims) -> Exhibit | None:
    """The studies that were not run, or lack jobs, with the claims that wait for them."""
    rows = []
    for study in dict.fromkeys([*claims.headings, *(claim.study for claim in claims.judged)]):
        waiting = [c.id for c in claims.judged if c.study == study and not c.was_run]
        if waiting or study not in (*claims.studies, CORE):
            why = "jobs are missing" if study in claims.incomplete else "not part of this run"
            rows.append([claims.headings.get(study, study), listed(waiting), why])
    return exhibit("not-run", rows)


def further(claims: Claims, study: str) -> Exhibit | None:
    """What a study measures besides its claims, with uncorrected p-values; folded behind claims.

    None where its grid was cut too far, and without what cannot be known, such as seconds per step where every run
    diverged.
    """
    if study not in claims.studies:
        return None
    measured = Measured(study, claims.studies[study], claims.config, claims.tables)
    further = [complete(one, claims.config) for one in claims.listed["further"]]
    asked = [one for one in further if one["study"] == study]
    try:
        found = {one["short"]: measured.endpoint(one) for one in asked}
    except UserError:
        return None
    rows = []
    for title, endpoint in found.items():
        d = np.zeros(0) if endpoint is None else endpoint.effect.to_numpy(float)
        if not len(d) or not np.isfinite(d).all():
            continue
        row = {"measure": typographic(title)}
        row["effect"] = effect_cell(statistics.mean(d), endpoint.unit)
        test = statistics.sign_flip(d)
        low, high = test.interval()
        row[INTERVAL] = "n/a" if math.isnan(low) else interval(low, high, endpoint.unit)
        row["p"] = test.p() if len(d) > 1 else math.nan
        rows.append(row | {"above zero": f"{int((d > 0).sum())}/{len(d)}"})
    words = {"code": claims.headings[study].split()[0]}
    words |= {"fold": "Further measures" if claims.of(study) else ""}
    return exhibit("further", rows, label=f"further-{study}", **words)


def checks(table: pd.DataFrame) -> Exhibit:
    """Every row of the identities, folded away."""
    frame = table[["quantity", "check", "value", "reference", "tolerance"]]
    result = np.where(table["holds"] == 1, "holds", "does not hold")
    frame = frame.assign(quantity=table["quantity"].map(typographic), result=result)
    return exhibit("checks", frame.rename(columns={"reference": "should be"}))


def errata(claims: Claims) -> Exhibit:
    """Wrong or imprecise statements, their corrections, and what shows them here."""
    rows = []
    for erratum in QUOTES["errata"]:
        claim, (line, said) = claims[erratum["shown"]], erratum.get("quote", ("", ""))
        found = Cell("both arms, every seed", erratum["shown"])
        if claim is not None:
            text = f"{claim.id}: {claim.word}"
            found = Cell(text, slug(claim.heading)) if claim.was_run else text
        row = {"erratum": erratum["id"]}
        row["the text"] = f"“{said}” (line{SPACE}{line})" if said else ""
        rows.append(row | {"what is right": typographic(erratum["right"]), "shown by": found})
    return exhibit("errata", rows, source=QUOTES["source"])


def published(claims: Claims) -> Exhibit:
    """Published values beside ours, as declared in report/tables.yaml."""
    rows, columns = [], ("quantity", "source", "published", "ours", "accepted")
    for said in DECLARED["rows of published"]:
        claim = claims[said.get("claim")]
        row = Words().filled({key: said.get(key, "") for key in columns}, {}) | {"outcome": "not run"}
        ran = said.get("study") in claims.studies or (claim is not None and claim.was_run)
        rows += [row | one for one in (READ[said["read"]](claims, claim, said) if ran else [{}])]
    return exhibit("published", rows)


def outcome(agrees: bool, seen: bool = True) -> str:
    return "cannot be seen" if not seen else "agrees" if agrees else "does not agree"


def growth(claims: Claims, _: None, said: dict) -> Iterator[dict]:
    """The growth of gradients at initialization, a row per network and batch size."""
    options = claims.studies["init_gradients"]["options"]
    found = growth_by_network(claims.table("init_gradients"), options)
    for network, kind in (("batch_relu", "ReLU"), ("batch_linear", "linear")):
        for size, row in found[found.index.get_level_values(0) == network].droplevel(0).iterrows():
            error = decimal(100 * (row["measured"] / row["theory"] - 1), 1, signed=True)
            yield {
                "quantity": f"{said['quantity']}, {kind}, B = {size}",
                "published": f"{row['theory']:.4g}",
                "ours": f"{row['measured']:.3f} ({error}{SPACE}%)",
                "outcome": outcome(abs(row["z"]) <= row["limit"]),
            }


def stated(claims: Claims, claim: Judged, said: dict) -> Iterator[dict]:
    """A claim that is a statement, in the words declared for one that was checked."""
    checked = Words().filled(said["checked"], {"claim": claim})
    yield checked | {"outcome": outcome(claim.verdict == "holds")}


def direction(claims: Claims, claim: Judged, said: dict) -> Iterator[dict]:
    """Nothing but the sign of a claim's effect is compared, mean and interval."""
    ends = (claim.ci_low, claim.ci_high)
    low, high = sorted(said["sign"] * end for end in ends)
    ours = f"{effect_cell(claim.effect, claim.unit)} ({interval(*ends, claim.unit)})"
    yield {"ours": ours, "outcome": outcome(low > 0, seen=low > 0 or high < 0)}


def groups(claims: Claims, _: None, said: dict) -> Iterator[dict]:
    """Error against the number of images normalized together."""
    table = errors(claims.table("small_batches"), "groups", "ghost", "running", "group_size")
    falling = table[[size for size in sorted(table, reverse=True) if size <= 32]]
    if len(falling.columns) < 3 or len(falling) < 2:
        yield {"ours": "too few groups or seeds", "outcome": outcome(False, seen=False)}
        return
    means, p = falling.mean(), page_test(falling)
    sizes = ", ".join(f"{size:g}" for size in means.index)
    ours = f"{', '.join(decimal(x, 2) for x in means)}{SPACE}% at {sizes}; p {p_text(p)}"
    yield {"ours": ours, "outcome": outcome(means.iloc[-1] > means.iloc[0], seen=p < ALPHA)}


def exactly(claims: Claims, _: Judged, said: dict) -> Iterator[dict]:
    """The identities, which have no error at all on paper."""
    run = [claim for name in said["claims"] if (claim := claims[name]) and claim.was_run]
    failed = [claim.id for claim in run if claim.verdict != "holds"]
    largest = max(run, key=lambda claim: claim.effect)
    ours = f"{len(run) - len(failed)} of {len(run)} hold"
    ours += f", not {listed(failed)}" if failed else ""
    ours += f"; largest error {small(largest.effect)} ({largest.id})"
    yield {"ours": ours, "outcome": outcome(not failed)}


READ = {f.__name__: f for f in (growth, stated, direction, groups, exactly)}


def accuracies(claims: Claims) -> Exhibit | None:
    """Published test accuracies of plain networks beside ours, in percent; None where none was run."""
    rows = []
    for said in DECLARED["rows of accuracies"]:
        declared, cells = claims.studies.get(said["study"]), said["cells"]
        first = claims.config["grid"]["dataset"][:1]
        if declared is None or said["dataset"] not in declared["grid"].get("dataset", first):
            continue
        table = claims.table(said["study"])
        table = table[(table[list(cells)] == pd.Series(cells)).all(axis=1)]
        ours = 100 * table.groupby("norm")["test_accuracy"].mean()
        ran = declared["settings"] | cells
        row = {"network": said["network"], "source": said["source"]}
        row["published (%)"] = decimal(said["published"], 2)
        row |= {f"ours, {norm} (%)": decimal(ours[norm], 2) for norm in ("none", "batch")}
        network = "-".join(map(str, (784, *ran.get("hidden", Settings().hidden), 10)))
        row["ours"] = f"{network}, {ran['epochs']} epochs at batch size {ran['batch_size']}"
        rows.append(row | {"the other": said["differs"]})
    return exhibit("accuracies", rows)


def history(claims: Claims) -> Exhibit | None:
    """What was changed in the list of claims after results had been seen."""
    changed = defaultdict(list)
    for claim in claims.judged:
        for text in claim.history:
            changed[text].append(claim.id)
    return exhibit("history", [(", ".join(ids), typographic(text)) for text, ids in changed.items()])


def registration(claims: Claims) -> Exhibit:
    """Which list of claims was judged, and whether it was committed before the runs that judge it."""
    listed_at = last_commit(claims.path)
    ran_at = sorted(set(claims.table("runs")["git_commit"]))
    first = sorted({came_before(listed_at, commit) for commit in ran_at})
    looked = ", ".join(claim.id for claim in claims.judged if claim.looked) or "none"
    rows = {
        "version of the list of claims": claims.listed["version"],
        "its hash by `git hash-object`": Cell(git_blob_hash(claims.path)),
        "its commit": Cell(listed_at),
        "commit of the runs": Cell(", ".join(ran_at)),
        "is the first an ancestor of the second?": ", ".join(first),
        "entries written or changed knowing the results of earlier seeds": looked,
    }
    return exhibit("registration", rows.items())


# Figures


class Line(NamedTuple):
    """A row of a ratio plot: a claim, or a cell of it, in units of the smallest effect that matters."""

    claim: Judged
    effects: np.ndarray
    name: str
    cell: str = "all"

    @property
    def mean(self) -> float:
        return float((self.effects / self.claim.smallest_effect).mean())


def ratio_plot(label: str, finding: str, caption: str, lines: Sequence[Line]) -> Drawing:
    """Rows of seeds, mean and interval over the zone of effects that are too small to matter.

    A thin line stands between groups of claims; where there are cells, they are the groups, and claims are bold. Many
    rows are divided among pictures.
    """
    rows = [
        {"claim": line.claim.id, "cell": line.cell, "seed": seed, "effect": effect}
        | {"unit": line.claim.unit, RATIO: effect / line.claim.smallest_effect, "row": row}
        for row, line in enumerate(lines)
        for seed, effect in enumerate(line.effects)
    ]
    frame = pd.DataFrame(rows)
    with_cells = any(line.cell != "all" for line in lines)
    groups = [line.claim.id if with_cells else line.claim.id[0] for line in lines]
    pairs = math.ceil(len(lines) / (2 * MOST_ROWS))  # of pictures, which stand side by side
    each = len(lines) if len(lines) <= MOST_ROWS else math.ceil(len(lines) / (2 * pairs))
    frame["part"] = frame["row"] // each
    far = 10.0 if max(abs(line.mean) for line in lines) <= 10 else FARTHEST

    def mark(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
        here = {row: plot.looks[row] for row in part["row"].unique()}
        bold = [with_cells and lines[row].cell == "all" for row in here]
        marks.rows(ax, part, replace(plot, looks=here, bold=bold, above=True))
        ax.set_xscale("symlog", linthresh=1, linscale=0.8)
        ax.axvspan(-1, 1, color=GRID, alpha=0.6, lw=0, zorder=0)
        for place, row in enumerate(here):
            line = lines[row]
            if place and groups[row] != groups[row - 1]:
                ax.axhline(place - 0.72, color=MUTED, lw=0.6)
            side = np.sign(line.mean)
            if abs(line.mean) > far:  # it stands at the edge, as an arrow with its number
                arrow = Look("", INK, marker=">" if side > 0 else "<").point(5.6)
                ax.plot(side * far, place, **arrow | {"zorder": 4})
                align = {"ha": "right" if side > 0 else "left", "va": "center", "fontsize": 7}
                note(ax, plain(round(line.mean)), (side * far, place), (-6 * side, 0), **align)
            if line.cell == "all":
                weight = "bold" if with_cells or line.claim.verdict in DEFINITE else "normal"
                style = {"ha": "right", "va": "center", "fontsize": 7.2, "weight": weight}
                note(ax, line.claim.word, (1, place), (0, 8), "axes data", **style)
        ticks = [t for t in (-100, -10, -1, 0, 1, 10, 100) if abs(t) <= far]
        ax.set_xticks(ticks, map(plain, ticks))
        ax.set_xlim(-far * 1.35, far * 1.35)
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


def ratios(claims: Claims) -> Drawing | None:
    """The scorecard as a figure: a row per statistical claim that was run."""
    found = [c for c in claims.kind("statistical") if c.was_run and len(c.effects)]
    if not found:
        return None
    parts = []
    for word in SIGNS:
        if names := [c.id for c in found if c.verdict == word]:
            parts.append(f"{word}: {listed(names) if len(found) <= NAMED else len(names)}")
    finding = say("ratios", "scorecard finding", n=len(found), parts="; ".join(parts))
    lines = [Line(claim, claim.effects, claim.name) for claim in found]
    return ratio_plot("scorecard", finding, say("ratios", "scorecard"), lines)


def cells(claims: Sequence[Judged], study: str) -> Drawing | None:
    """The claims of a study and the cells behind them; None where there are no cells."""
    lines, extremes = [], []
    for claim in claims:
        if len(claim.cells) < 2 or not len(claim.effects):
            continue
        inside = [Line(claim, e, typographic(cell), cell) for cell, e in claim.cells.items() if len(e)]
        lines += [Line(claim, claim.effects, claim.name), *inside]
        ends = (f(inside, key=lambda line: line.mean) for f in (min, max))
        said = " to ".join(f"{decimal(end.mean, 1, signed=True)} ({end.name})" for end in ends)
        extremes.append(f"{claim.id} from {said}")
    if not lines:
        return None
    label = f"cells-{study.replace('_', '-')}"
    finding = say("ratios", "cells finding", extremes="; ".join(extremes))
    caption = say("ratios", "cells", study=claims[0].heading.split()[0])
    return ratio_plot(label, finding, caption, lines)
