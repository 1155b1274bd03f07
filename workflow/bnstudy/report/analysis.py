"""The written analysis: what the comparison found, why by the evidence of the studies, how sure it is.

Effects come first, each with one phrase of uncertainty; which words are used, the numbers decide.
"""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnstudy import statistics
from bnstudy.report.amounts import effect_cell, interval, shown
from bnstudy.report.findings import (
    CAUTION,
    INTERVAL,
    brief,
    caveats,
    gap_sentences,
    parameter_cost,
    time_cost,
)
from bnstudy.report.interactions import axis_sentences
from bnstudy.report.results import (
    SPACE,
    SPOKEN,
    Comparison,
    Level,
    Results,
    capitalized,
    counted,
    decimal,
    level_name,
    listed,
    p_value,
)
from bnstudy.report.tables import Exhibit
from bnstudy.report.verdicts import Claims, Judged, verdict_word

CONTROLS = ("input_scaling", "long_training")  # the main comparison again, under other conditions
LIMITS = ("L1", "L2", "L3", "L4")  # claims about what the method costs, or where it fails


def place(claim: Judged) -> str:
    """The link to the section of a claim, for Jupyter and for the page."""
    return f"[{claim.id}](#{claim.heading.replace(' ', '-')})"


def short_verdict(claim: Judged) -> str:
    """`[B3](#...) faster convergence: **supported**, +1.4 pp (+1.3 to +1.5)`, as Markdown."""
    words = claim.short or textwrap.shorten(claim.claim, 60, placeholder="…")
    found = f"{place(claim)} {shown(words)}: **{verdict_word(claim)}**"
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


def evidence(claims: Claims, names: Sequence[str]) -> str:
    """The verdicts on those claims that were measured; empty where none was."""
    found = [claim for name in names if (claim := claims[name]) and claim.was_run]
    return f"*Found here:* {'; '.join(map(short_verdict, found))}." if found else ""


def explained(claims: Claims, why: str, names: Sequence[str]) -> str:
    """An explanation with the evidence for it, or that this run cannot tell."""
    return f"{why} {evidence(claims, names) or 'The studies that would tell are not in this run.'}"


def sure(c: Comparison) -> str:
    """How many seeds agree, and the p value that carries the finding."""
    if c.n < 2 or c.outcome in ("missing", "censored", "untested"):
        return ""
    better, n = c.seeds_in_favour, c.n
    agree = f"All {n} seeds" if better in (0, n) else f"{max(better, n - better)} of {n} seeds"
    return f"{agree} agree ({p_value(c.p)})."


def remaining(claims: Claims) -> pd.DataFrame:
    """The effect of batch normalization in the studies that repeat the main comparison.

    Returns
    -------
    pandas.DataFrame
        A row per study and scaling: the ratio of steps to the target and the difference of test
        accuracy in percentage points, paired by seed, with 95 % intervals.
    """
    rows = []
    for study in CONTROLS:
        if study not in claims.studies:
            continue
        said = claims.config["studies"][study]
        table = claims.table(study).sort_values("seed")
        steps = table["steps_to_target"].fillna(table["n_steps"])
        table = table.assign(ln_steps=np.log(steps), points=100 * table["test_accuracy"])
        for scaling, part in table.groupby("scaling", sort=False):
            row: dict = {"study": study, "scaling": scaling}
            row["epochs"] = said["settings"].get("epochs", claims.config["training"]["epochs"])
            for name in ("ln_steps", "points"):
                wide = part.pivot(index="seed", columns="norm", values=name).dropna()
                d = (wide["batch"] - wide["none"]).to_numpy()
                low, high = statistics.interval(d)
                ends = (statistics.mean(d), low, high)
                change = math.exp if name == "ln_steps" else float
                columns = (name, f"{name}_low", f"{name}_high")
                row |= dict(zip(columns, map(change, ends), strict=True)) | {"n": len(d)}
            rows.append(row)
    return pd.DataFrame(rows)


def condition(row: pd.Series) -> str:
    """`standardized pixels, 25 epochs`."""
    return f"{level_name('scaling', row['scaling'])}, {counted(int(row['epochs']), 'epoch')}"


def remaining_table(claims: Claims) -> Exhibit | None:
    """`remaining` as a table; None where neither study was run."""
    found = remaining(claims)
    if found.empty:
        return None
    spans = {"ln_steps": "ratio of steps", "points": "test accuracy (pp)"}
    rows = []
    for _, row in found.iterrows():
        cells: dict[str, object] = {"condition": condition(row), "seeds": row["n"]}
        for name, title in spans.items():
            signed = name == "points"
            ends = [decimal(row[f"{name}_{end}"], 2, signed=signed) for end in ("low", "high")]
            cells[title] = decimal(row[name], 2, signed=signed)
            cells[f"{INTERVAL} of the {title.split(' (')[0]}"] = f"{SPACE}to{SPACE}".join(ends)
        rows.append(cells)
    return Exhibit(
        "remaining",
        "What batch normalization does to the number of steps to the target and to the test "
        "accuracy under other conditions, paired by seed at batch size 64. A ratio below 1 means "
        "fewer steps.",
        pd.DataFrame(rows),
        words=[column for column in rows[0] if column.startswith(INTERVAL)],
    )


def remains(claims: Claims, name: str) -> str:
    """What is left of an effect with centred input and with long training, in one sentence."""
    found = remaining(claims)
    if found.empty:
        return ""
    write = {
        "ln_steps": lambda x: f"a ratio of {decimal(x, 2)}",
        "points": lambda x: f"{decimal(x, 2, signed=True)} points",
    }[name]
    parts = [f"{write(row[name])} with {condition(row)}" for _, row in found.iterrows()]
    return f"What remains of it under other conditions: {listed(parts)} (means over the seeds)."


def speed(results: Results, claims: Claims, dataset: str, level: Level) -> list[str]:
    """Steps to the target: how much, why, how sure."""
    c = results.compare(dataset, level, "ln_steps_to_target")
    if c is None:
        return []
    paragraph = [f"{capitalized(brief(c))}.", sure(c), across(results, dataset, level)]
    why = (
        "The first explanation was that covariate shift gets less, the second that the loss gets "
        "smoother, the third that larger steps can be taken."
    )
    why = explained(claims, why, ("B1a", "B1b", "B2", "B9", "B4", "B5"))
    return [" ".join(filter(None, paragraph)), why, remains(claims, "ln_steps"), *caveats(c)]


def across(results: Results, dataset: str, level: Level) -> str:
    """The smallest and the largest ratio of steps among the cells."""
    found = [results.compare(dataset, level, "ln_steps_to_target", cell) for cell in results.cells]
    found = [c for c in found if c and not math.isnan(c.difference) and c.outcome != "censored"]
    if len(found) < 2:
        return ""
    ends = (pick(found, key=lambda c: c.difference) for pick in (min, max))
    said = (f"{c.of.difference(c.difference)} at {results.cell_title(c.cell)}" for c in ends)
    return f"The ratio of steps runs from {' to '.join(said)}."


def accuracy(results: Results, claims: Claims, dataset: str, level: Level) -> list[str]:
    """Test accuracy and loss after the last epoch."""
    found = results.comparisons(dataset, level, ("test_accuracy", "test_loss"))
    if not found:
        return []
    paragraph = [f"{capitalized(listed(map(brief, found)))}.", sure(found[0])]
    why = (
        "At a fixed number of epochs a faster network is also a better one, so a part of this is "
        "speed once more; what is more than speed should last in longer training."
    )
    why = explained(claims, why, ("B18", "B10b", "M3b"))
    return [" ".join(filter(None, paragraph)), why, remains(claims, "points"), *caveats(found[0])]


def gap(results: Results, claims: Claims, dataset: str, level: Level) -> list[str]:
    """Validation against training loss."""
    sentences = gap_sentences(results, dataset, level)
    why = (
        "A network that fits its training images better has a wider gap at the same number of "
        "epochs, so B10a compares the gap where the training loss is the same, and B10b asks "
        "whether noise in the statistics narrows it."
    )
    return [" ".join(sentences), explained(claims, why, ("B10a", "B10b", "B11", "B12"))]


def batch_size(results: Results, claims: Claims, dataset: str, level: Level) -> list[str]:
    """What the batch size does to the arms and to the difference between them."""
    sentences = axis_sentences(results, dataset, "batch_size", level)
    why = (
        "A larger batch means fewer steps with less noise, for both arms alike; only with "
        "normalization does the noise of the statistics change as well."
    )
    return [" ".join(sentences), explained(claims, why, ("B17", "L1"))]


def cost(results: Results, claims: Claims, dataset: str, level: Level) -> list[str]:
    """Time and parameters."""
    _, time = time_cost(results, dataset, level)
    sentences = [time, CAUTION if time else "", *parameter_cost(results, dataset, level)]
    return [" ".join(filter(None, sentences)), evidence(claims, ("L2", "M9"))]


PARAGRAPHS = {
    "Speed": speed,
    "Accuracy": accuracy,
    "Generalization gap": gap,
    "Batch size": batch_size,
    "Cost": cost,
}


def balance(results: Results, claims: Claims, dataset: str, level: Level) -> Exhibit | None:
    """Advantages and limitations side by side, measure by measure, as far as they were shown."""
    rows: list[dict[str, str]] = []

    def add(topic: str, said: str, side: str | None) -> None:
        cells = {"advantage": "", "limitation": ""} | ({side: said} if side else {})
        rows.append({"measure": topic} | cells)

    sides = {"better": "advantage", "worse": "limitation"}
    for c in results.comparisons(dataset, level, SPOKEN):
        if c.shown:
            add(c.of.title, capitalized(brief(c)), sides[c.shown])
    if gaps := gap_sentences(results, dataset, level):
        way = {"wider": "limitation", "narrower": "advantage"}
        side = next((way[word] for word in way if f" {word} " in gaps[0]), None)
        if side:
            add("generalization gap", gaps[0].rstrip("."), side)
    shown_time, time = time_cost(results, dataset, level)
    if shown_time:
        add("time of an epoch", time.rstrip("."), sides[shown_time])
    for sentence in parameter_cost(results, dataset, level):
        add("parameters", sentence.rstrip("."), "limitation")
    for claim in (claims[name] for name in LIMITS):
        if claim and claim.verdict in ("supported", "holds", "refuted"):
            side = "advantage" if claim.verdict == "refuted" else "limitation"
            word = f"{capitalized(claim.short or claim.claim)} ({claim.id}): {verdict_word(claim)}"
            add(f"claim {claim.id}", word, side)
    if not rows:
        return None
    return Exhibit(
        results.label("balance", dataset, level),
        f"Advantages and limitations of {results.level_name(level)} on {results.title(dataset)}: "
        "what was shown, averaged over all cells. A measure without a row was not shown to differ.",
        pd.DataFrame(rows),
        words=("advantage", "limitation"),
    )
