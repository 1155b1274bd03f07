"""The written analysis: what the comparison found, why by the evidence of the studies, how sure it is.

Effects come first, each with one phrase of uncertainty; which words are used, the numbers decide.
"""

import math
from collections.abc import Sequence

from bnstudy import settings
from bnstudy.report.amounts import effect_cell, interval, shown
from bnstudy.report.findings import (
    brief,
    caveats,
    contrasts,
    gap_sentence,
    parameter_cost,
    time_cost,
)
from bnstudy.report.measures import SPOKEN, Comparison, capitalized, listed, p_value
from bnstudy.report.results import Level, Results
from bnstudy.report.tables import Exhibit, exhibit
from bnstudy.report.verdicts import QUOTES, Claims, Judged
from bnstudy.report.words import INTERVAL, say

LIMITS = ("L1", "L2", "L3", "L4")  # claims about what the method costs, or where it fails


def short_verdict(claim: Judged) -> str:
    """`[B3](#its-section) faster convergence: **supported**, +1.4 pp (+1.3 to +1.5)`, as Markdown."""
    name = shown(claim.short or claim.claim).rstrip(".")
    found = f"[{claim.id}](#{claim.heading.replace(' ', '-')}) {name}: **{claim.word}**"
    if claim.exact:
        return found
    size = effect_cell(claim.effect, claim.unit)
    around = f" ({interval(claim.ci_low, claim.ci_high, claim.unit)})" if claim.n > 1 else ""
    return f"{found}, {size}{around}"


def evidence(claims: Claims, names: Sequence[str]) -> str:
    """The verdicts on those claims that were measured; empty where none was."""
    found = [claim for name in names if (claim := claims[name]) and claim.was_run]
    verdicts = "; ".join(map(short_verdict, found))
    return say("analysis", "found here", verdicts=verdicts) if found else ""


def benefit(claims: Claims, said: dict) -> tuple[str, ...]:
    """A benefit of `verdicts.QUOTES` with the words of the text, and what was found of it."""
    line, words = QUOTES["claims"][said["quote"]]
    told = say("analysis", "benefit", **said | {"quote": shown(words), "line": line})
    lacking = [n for n in said["claims"] if (claim := claims[n]) and not claim.was_run]
    missing = say("analysis", "not measured", claims=lacking) if lacking else ""
    return told, f"{evidence(claims, said['claims'])} {missing}".strip()


def sure(c: Comparison) -> str:
    """How many seeds agree, and the p value that carries the finding."""
    if c.n < 2 or c.outcome in ("missing", "censored", "untested"):
        return ""
    most = max(c.seeds_in_favour, c.n - c.seeds_in_favour)
    agree = f"All {c.n} seeds" if most == c.n else f"{most} of {c.n} seeds"
    return say("analysis", "agree", agree=agree, p=p_value(c.p))


def remaining_table(results: Results, level: Level) -> Exhibit | None:
    """`Results.remaining` as a table; None where neither study was run."""
    titles = {"ratio of steps": "", "test accuracy": " (pp)"}
    rows, text = [], [f"{INTERVAL} of the {title}" for title in titles]
    for one in results.remaining(level):
        rows.append({"condition": one.condition, "seeds": one.effects[0].n})
        for c, (title, unit), head in zip(one.effects, titles.items(), text, strict=True):
            rows[-1] |= {title + unit: c.of.difference(c.difference), head: c.interval}
    label = results.label("remaining", results.datasets[0], level)
    return exhibit("remaining", rows, label=label, text=text, level=results.level_name(level))


def remains(results: Results, level: Level) -> str:
    """What is left of the difference in accuracy with centred input and with long training."""
    left = ((one.effects[1], one.condition) for one in results.remaining(level))
    parts = [f"{c.of.difference(c.difference)} points with {condition}" for c, condition in left]
    return say("analysis", "remains", parts=parts) if parts else ""


def answer(
    results: Results, claims: Claims, dataset: str, level: Level, question: str
) -> list[str]:
    """What was found and how sure it is, and why by the evidence of the studies."""
    asked = QUOTES["questions"][question]
    told = evidence(claims, asked["claims"])
    if asked["why"]:
        told = f"{asked['why']} {told or say('analysis', 'elsewhere')}"
    return [" ".join(filter(None, found(results, dataset, level, question))), told]


def found(results: Results, dataset: str, level: Level, question: str) -> list[str]:
    """The sentences that answer a question of report/quotes.yaml by what the tables say."""
    match question:
        case "Speed":  # how much, how sure, and at which batch sizes
            if c := results.compare(dataset, level, "ln_steps_to_target"):
                ratios = across(results, dataset, level)
                return [f"{capitalized(brief(c))}.", sure(c), ratios, *caveats(c)]
        case "Accuracy":
            pair = results.comparisons(dataset, level, ("test_accuracy", "test_loss"))
            for c in pair[:1]:
                return [f"{capitalized(listed(map(brief, pair)))}.", sure(c), *caveats(c)]
        case "Generalization gap":
            if c := results.gap(dataset, level):
                return [gap_sentence(c)]
        case "Batch size":
            if "batch_size" in results.cell_axes:
                return list(contrasts(results, dataset, "batch_size", [level]))
            only = settings.level_name("batch_size", results.values("batch_size")[0])
            return [say("analysis", "one batch size", size=only)]
        case "Cost":
            _, time = time_cost(results, dataset, level)
            caution = say("cost", "caution") if time else ""
            return [time, caution, *parameter_cost(results, dataset, level)]
    return []


def across(results: Results, dataset: str, level: Level) -> str:
    """The smallest and the largest ratio of steps among the cells."""
    found = [results.compare(dataset, level, "ln_steps_to_target", cell) for cell in results.cells]
    found = [c for c in found if c and not math.isnan(c.difference) and c.outcome != "censored"]
    if len(found) < 2:
        return ""
    first, last = (
        f"{c.of.difference(c.difference)} at {results.cell_title(c.cell)}"
        for c in (pick(found, key=lambda c: c.difference) for pick in (min, max))
    )
    return say("analysis", "across", first=first, last=last)


def balance(results: Results, claims: Claims, dataset: str, level: Level) -> Exhibit | None:
    """Advantages and limitations side by side, measure by measure, as far as they were shown."""
    slower, time = time_cost(results, dataset, level)
    said = [(c.of.title, c.shown, brief(c)) for c in results.comparisons(dataset, level, SPOKEN)]
    if gap := results.gap(dataset, level):
        said.append(("generalization gap", gap.shown, gap_sentence(gap)))
    said.append(("time of an epoch", slower, time))
    said += [("parameters", "worse", one) for one in parameter_cost(results, dataset, level)]
    for claim in filter(None, map(claims.__getitem__, LIMITS)):
        if claim.verdict in ("supported", "holds", "refuted"):
            words = f"{claim.short or claim.claim} ({claim.id}): {claim.word}"
            way = "better" if claim.verdict == "refuted" else "worse"
            said.append((f"claim {claim.id}", way, words))
    sides = {"better": "advantage", "worse": "limitation"}
    rows = [
        {"measure": topic, "advantage": "", "limitation": ""}
        | {sides[way]: capitalized(words).rstrip(".")}
        for topic, way, words in said
        if way
    ]
    label, names = results.label("balance", dataset, level), results.level_name(level)
    return exhibit("balance", rows, label=label, level=names, dataset=results.title(dataset))
