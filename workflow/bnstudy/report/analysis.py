"""The written analysis: what the comparison found, why by the evidence of the studies, how sure it is.

Effects come first, each with one phrase of uncertainty; which words are used, the numbers decide.
"""

import math
from collections.abc import Sequence

from bnstudy import settings
from bnstudy.report.amounts import effect_cell, interval, shown
from bnstudy.report.findings import (
    CAUTION,
    INTERVAL,
    brief,
    caveats,
    gap_sentence,
    parameter_cost,
    time_cost,
)
from bnstudy.report.interactions import contrasts
from bnstudy.report.measures import SPACE, SPOKEN, Comparison, capitalized, listed, p_value
from bnstudy.report.remaining import remaining
from bnstudy.report.results import Level, Results
from bnstudy.report.tables import Exhibit, exhibit
from bnstudy.report.verdicts import Claims, Judged, quotes, verdict_word

LIMITS = ("L1", "L2", "L3", "L4")  # claims about what the method costs, or where it fails


def place(claim: Judged) -> str:
    """The link to the section of a claim, for Jupyter and for the page."""
    return f"[{claim.id}](#{claim.heading.replace(' ', '-')})"


def short_verdict(claim: Judged) -> str:
    """`[B3](#...) faster convergence: **supported**, +1.4 pp (+1.3 to +1.5)`, as Markdown."""
    found = (
        f"{place(claim)} {shown(claim.short or claim.claim).rstrip('.')}: **{verdict_word(claim)}**"
    )
    if claim.exact:
        return found
    size = effect_cell(claim.effect, claim.unit)
    around = f" ({interval(claim.ci_low, claim.ci_high, claim.unit)})" if claim.n > 1 else ""
    return f"{found}, {size}{around}"


def verdicts_on(claims: Claims, names: Sequence[str]) -> str:
    """The verdicts on some claims in one sentence, and which of them were not measured."""
    found = [claim for name in names if (claim := claims[name])]
    rest = [claim.id for claim in found if not claim.was_run]
    parts = [evidence(claims, names)]
    parts += [f"*Not measured in this run:* {listed(rest)}."] if rest else []
    return " ".join(filter(None, parts))


def benefit(claims: Claims, said: dict) -> tuple[str, str]:
    """A benefit of `verdicts.quotes` with the words of the text, and the verdicts on it."""
    line, words = quotes()["claims"][said["quote"]]
    begin = f"**{said['title']}:** “{shown(words)}” (line{SPACE}{line})."
    return f"{begin} {said['why']}", verdicts_on(claims, said["claims"])


def evidence(claims: Claims, names: Sequence[str]) -> str:
    """The verdicts on those claims that were measured; empty where none was."""
    found = [claim for name in names if (claim := claims[name]) and claim.was_run]
    return f"*Found here:* {'; '.join(map(short_verdict, found))}." if found else ""


def sure(c: Comparison) -> str:
    """How many seeds agree, and the p value that carries the finding."""
    if c.n < 2 or c.outcome in ("missing", "censored", "untested"):
        return ""
    better, n = c.seeds_in_favour, c.n
    agree = f"All {n} seeds" if better in (0, n) else f"{max(better, n - better)} of {n} seeds"
    return f"{agree} agree ({p_value(c.p)})."


def remaining_table(results: Results, level: Level) -> Exhibit | None:
    """`remaining` as a table; None where neither study was run."""
    titles = {"ln_steps_to_target": "ratio of steps", "test_accuracy": "test accuracy"}
    rows = []
    for one in remaining(results, level):
        cells: dict[str, object] = {"condition": one.condition, "seeds": one.effects[0].n}
        for c in one.effects:
            title = titles[c.of.name]
            cells[title + " (pp)" * (c.of.kind == "accuracy")] = c.of.difference(c.difference)
            cells[f"{INTERVAL} of the {title}"] = c.interval
        rows.append(cells)
    label = results.label("remaining", results.datasets[0], level)
    text = [column for row in rows[:1] for column in row if column.startswith(INTERVAL)]
    return exhibit("remaining", rows, label=label, text=text, level=results.level_name(level))


def remains(results: Results, level: Level) -> str:
    """What is left of the difference in accuracy with centred input and with long training."""
    parts = [
        f"{accuracy.of.difference(accuracy.difference)} points with {one.condition}"
        for one in remaining(results, level)
        for _, accuracy in [one.effects]
    ]
    return (
        f"Under other conditions the difference in test accuracy was {listed(parts)}."
        if parts
        else ""
    )


def answer(
    results: Results, claims: Claims, dataset: str, level: Level, question: str
) -> list[str]:
    """What was found and how sure it is, and why by the evidence of the studies."""
    asked = quotes()["questions"][question]
    told = evidence(claims, asked["claims"])
    if asked["why"]:
        told = f"{asked['why']} {told or 'The studies that would tell are not in this run.'}"
    return [" ".join(filter(None, QUESTIONS[question](results, dataset, level))), told]


def speed(results: Results, dataset: str, level: Level) -> list[str]:
    """Steps to the target: how much, how sure, and at which batch sizes."""
    c = results.compare(dataset, level, "ln_steps_to_target")
    if c is None:
        return []
    return [f"{capitalized(brief(c))}.", sure(c), across(results, dataset, level), *caveats(c)]


def across(results: Results, dataset: str, level: Level) -> str:
    """The smallest and the largest ratio of steps among the cells."""
    found = [results.compare(dataset, level, "ln_steps_to_target", cell) for cell in results.cells]
    found = [c for c in found if c and not math.isnan(c.difference) and c.outcome != "censored"]
    if len(found) < 2:
        return ""
    ends = (pick(found, key=lambda c: c.difference) for pick in (min, max))
    said = (f"{c.of.difference(c.difference)} at {results.cell_title(c.cell)}" for c in ends)
    return f"The ratio of steps runs from {' to '.join(said)}."


def accuracy(results: Results, dataset: str, level: Level) -> list[str]:
    """Test accuracy and loss after the last epoch."""
    found = results.comparisons(dataset, level, ("test_accuracy", "test_loss"))
    if not found:
        return []
    return [f"{capitalized(listed(map(brief, found)))}.", sure(found[0]), *caveats(found[0])]


def gap(results: Results, dataset: str, level: Level) -> list[str]:
    """Validation against training loss."""
    c = results.gap(dataset, level)
    return [gap_sentence(c)] if c else []


def batch_size(results: Results, dataset: str, level: Level) -> list[str]:
    """Whether the effect depends on the batch size."""
    if "batch_size" in results.cell_axes:
        return list(contrasts(results, dataset, "batch_size", [level]))
    only = settings.level_name("batch_size", results.values("batch_size")[0])
    return [f"Only {only} was trained, so the effect of the batch size cannot be seen."]


def cost(results: Results, dataset: str, level: Level) -> list[str]:
    """Time and parameters."""
    _, time = time_cost(results, dataset, level)
    return [time, CAUTION if time else "", *parameter_cost(results, dataset, level)]


QUESTIONS = {
    "Speed": speed,
    "Accuracy": accuracy,
    "Generalization gap": gap,
    "Batch size": batch_size,
    "Cost": cost,
}


def balance(results: Results, claims: Claims, dataset: str, level: Level) -> Exhibit | None:
    """Advantages and limitations side by side, measure by measure, as far as they were shown."""
    sides = {"better": "advantage", "worse": "limitation"}
    gap = results.gap(dataset, level)
    slower, time = time_cost(results, dataset, level)
    said = [(c.of.title, c.shown, brief(c)) for c in results.comparisons(dataset, level, SPOKEN)]
    said += [("generalization gap", gap.shown, gap_sentence(gap))] if gap else []
    said += [("time of an epoch", slower, time)]
    said += [("parameters", "worse", one) for one in parameter_cost(results, dataset, level)]
    for claim in filter(None, map(claims.__getitem__, LIMITS)):
        if claim.verdict in ("supported", "holds", "refuted"):
            words = f"{claim.short or claim.claim} ({claim.id}): {verdict_word(claim)}"
            way = "better" if claim.verdict == "refuted" else "worse"
            said.append((f"claim {claim.id}", way, words))
    rows = [
        {"measure": topic, "advantage": "", "limitation": ""}
        | {sides[way]: capitalized(words).rstrip(".")}
        for topic, way, words in said
        if way
    ]
    label, names = results.label("balance", dataset, level), results.level_name(level)
    return exhibit("balance", rows, label=label, level=names, dataset=results.title(dataset))
