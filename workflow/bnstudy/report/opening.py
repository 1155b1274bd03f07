"""The first screen: the finding as title, what it rests on in two sentences, tiles, and the verdicts.

All of it comes from the tables, for any treatment; of several levels it speaks of the most accurate.
"""

import html
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bnstudy import settings, statistics
from bnstudy.report.design import why_no_comparison
from bnstudy.report.findings import epoch_time_ratios, factor, lost_arm
from bnstudy.report.reading import read_table
from bnstudy.report.results import (
    MINUS,
    SPACE,
    Comparison,
    Level,
    Results,
    capitalized,
    counted,
    decimal,
    listed,
)

# Ratios that have a name, up to a tenth of themselves.
SHARES = {1 / 2: "half", 1 / 3: "a third", 1 / 4: "a quarter", 1 / 5: "a fifth", 1 / 10: "a tenth"}
# Studies of what is left of the effect, and which of their runs count.
REMAINS = {
    "centred input": ("input_scaling", "standardize"),
    "long training": ("long_training", "symmetric"),
    "both": ("long_training", "standardize"),
}
SIGNS = {  # how a verdict is shown without words
    "supported": "\N{CHECK MARK}",
    "holds": "\N{CHECK MARK}",
    "refuted": "\N{MULTIPLICATION X}",
    "does not hold": "\N{MULTIPLICATION X}",
    "not supported": MINUS,
    "inconclusive": "?",
}


@dataclass(frozen=True)
class Tile:
    """A number, what it is, and what stands behind it."""

    value: str
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Opening:
    """The first screen, for the page and for Jupyter."""

    kicker: str
    title: str
    sentences: str
    tiles: list[Tile]

    @property
    def html(self) -> str:
        tiles = "".join(
            f"<div><dt>{html.escape(one.label)}</dt><dd><b>{html.escape(one.value)}</b> "
            f"<span>{html.escape(one.detail)}</span></dd></div>"
            for one in self.tiles
        )
        parts = (
            f'<p class="kicker">{html.escape(self.kicker)}</p>' if self.kicker else "",
            f"<h1>{html.escape(self.title)}</h1>",
            f'<p class="lead">{html.escape(self.sentences)}</p>',
            f'<dl class="tiles">{tiles}</dl>' if tiles else "",
        )
        return f'<header class="opening">{"".join(parts)}</header>'

    @property
    def plain(self) -> list[str]:
        """The same in paragraphs of text, without the title."""
        tiles = [f"{one.value} {one.label}: {one.detail}." for one in self.tiles]
        return [self.sentences, *tiles]


def first_screen(results: Results, tables: Path, question: str) -> Opening:
    """What came out on the first dataset; a title that asks where nothing can be said."""
    dataset = results.datasets[0]
    if reason := why_no_comparison(results):
        return Opening("", question, reason, [])
    found = {
        level: results.comparisons(dataset, level, ("ln_steps_to_target", "test_accuracy"))
        for level in results.treatments
    }
    complete = {level: pair for level, pair in found.items() if len(pair) == 2}
    if not complete:
        return Opening("", question, "No pair of runs is complete yet, so nothing is compared.", [])
    level = max(complete, key=lambda level: complete[level][1].difference)
    speed, accuracy = complete[level]
    left = remaining(results, Path(tables), level)
    tiles = [*main_tiles(results, speed, accuracy), *cost(results, dataset, level, left)]
    if left:
        name, gain = list(left.items())[-1]
        others = [f"{one}: {points(left[one])}" for one in left if one != name]
        tiles.append(Tile(points(gain), f"of test accuracy {conditions(name)}", "; ".join(others)))
    sentences = f"{setting_sentence(results, dataset)} {certainty(speed, accuracy, left)}"
    return Opening(question, finding(results, speed, accuracy), sentences, tiles)


def conditions(name: str) -> str:
    return "with centred input and long training" if name == "both" else f"with {name}"


def points(share: float) -> str:
    return f"{decimal(100 * share, 2, signed=True)}{SPACE}points"


def finding(results: Results, speed: Comparison, accuracy: Comparison) -> str:
    """The title: what was shown of speed and of accuracy."""
    name = capitalized(results.level_name(accuracy.level))
    other = results.level_name(accuracy.baseline)
    parts = []
    if speed.shown:
        lost = lost_arm(speed)
        alone = f"is the only one to reach {speed.of.target}" if speed.shown == "better" else ""
        parts.append(alone if lost else f"reaches {speed.of.target} in {share(speed.difference)}")
    if accuracy.shown:
        size = abs(100 * accuracy.difference)
        word = "more" if accuracy.shown == "better" else "less"
        digits = 1 if size >= 0.95 else 2
        parts.append(f"ends {decimal(size, digits)} points {word} accurate")
    if parts := [part for part in parts if part]:
        several = len(results.treatments) > 1
        beside = f" than {other}" if accuracy.shown and several else ""
        return f"{name} {listed(parts)}{beside}"
    if accuracy.n < 2:
        return f"{name} or {other}: one pair of runs is too few to tell"
    return f"No difference between {results.level_name(accuracy.level)} and {other} could be shown"


def share(ln_ratio: float) -> str:
    """`a quarter of the steps`, `45 % fewer steps`."""
    ratio = math.exp(ln_ratio)
    named = [word for value, word in SHARES.items() if abs(ratio / value - 1) <= 0.1]
    return f"{named[0]} of the steps" if named else factor(ln_ratio)


def setting_sentence(results: Results, dataset: str) -> str:
    """What was compared on what."""
    runs = len(results.select(results.runs, dataset=dataset))
    return (
        f"{counted(runs, 'network')} learned {results.title(dataset)}, in pairs that share all but "
        f"the {settings.label(results.axis)}, down to the random numbers."
    )


def certainty(speed: Comparison, accuracy: Comparison, left: Mapping[str, float]) -> str:
    """How sure it is, or of what it is made."""
    if left and accuracy.shown == "better":
        name, gain = list(left.items())[-1]
        if gain < accuracy.difference / 2:
            return f"Most of the lead in accuracy is gone {conditions(name)}."
        return f"Much of the lead in accuracy remains {conditions(name)}."
    agreeing = min(max(c.seeds_in_favour, c.n - c.seeds_in_favour) for c in (speed, accuracy))
    if accuracy.n < 2:
        return "A single pair has neither an interval nor a test."
    if agreeing == accuracy.n:
        return f"All {counted(accuracy.n, 'seed')} agree."
    return f"At least {agreeing} of {counted(accuracy.n, 'seed')} agree on each measure."


def main_tiles(results: Results, speed: Comparison, accuracy: Comparison) -> list[Tile]:
    """Speed and accuracy with their intervals."""
    tiles = []
    if speed.outcome not in ("missing", "censored") and not lost_arm(speed):
        of = speed.of
        values = f"{of.value(speed.mean_level)} against {of.value(speed.mean_baseline)}"
        tiles.append(
            Tile(
                f"\N{MULTIPLICATION SIGN}{SPACE}{of.difference(speed.difference)}",
                f"the steps to {of.target} accuracy",
                values + interval_of(speed),
            )
        )
    if accuracy.outcome != "missing":
        of = accuracy.of
        level, baseline = of.value(accuracy.mean_level), of.value(accuracy.mean_baseline)
        epochs = counted(results.epochs, "epoch")
        tiles.append(
            Tile(
                points(accuracy.difference),
                f"of test accuracy after {epochs}",
                f"{level} against {baseline}{interval_of(accuracy)}",
            )
        )
    return tiles


def interval_of(c: Comparison) -> str:
    return "" if math.isnan(c.ci_low) else f" ({c.interval})"


def cost(results: Results, dataset: str, level: Level, left: Mapping) -> list[Tile]:
    """The price: time per epoch, and the gap between training and validation loss."""
    ratios = epoch_time_ratios(results, dataset, level)
    gaps = results.scored("val_loss")
    gaps["value"] -= results.scored("train_loss")["value"]
    by = results.over_cells(gaps, dataset, "value", [results.baseline, level])
    gap = ""
    if len(by[level]):
        before, after = (statistics.mean(by[one]) for one in (results.baseline, level))
        gap = (
            f"gap to the training loss {decimal(after, 3)} against {decimal(before, 3)}{SPACE}nats"
        )
    if ratios.empty:
        return []
    value = f"\N{MULTIPLICATION SIGN}{SPACE}{decimal(ratios.median(), 2)}"
    return [Tile(value, "the time of an epoch", gap)]


def remaining(results: Results, tables: Path, level: Level) -> dict[str, float]:
    """The lead in test accuracy under harder conditions, from the studies that were run.

    Paired by seed; as a share of the images, nothing where a study has no such runs.
    """
    found = {}
    for name, (study, scaling) in REMAINS.items():
        path = tables / f"{study}.csv"
        if not results.config["studies"].get(study, {}).get("enabled") or not path.exists():
            continue
        runs = pd.read_csv(path, keep_default_na=False, na_values=[""])
        if not {results.axis, "scaling", "test_accuracy"} <= set(runs):
            continue
        wide = runs[runs["scaling"] == scaling].pivot_table(
            index="seed", columns=results.axis, values="test_accuracy"
        )
        if {level, results.baseline} <= set(wide):
            differences = (wide[level] - wide[results.baseline]).dropna()
            if len(differences):
                found[name] = statistics.mean(differences)
    return found


def verdicts(tables: Path, anchors: Mapping[str, str], results: Results) -> str:
    """The claims that were judged, a mark each with its verdict; no text without any.

    Parameters
    ----------
    anchors : mapping
        The anchor to which the mark of a claim leads.
    """
    path = Path(tables) / "claims.csv"
    rows = read_table(path, results.config) if path.exists() else pd.DataFrame(columns=["id"])
    rows = rows[rows["id"].isin(list(anchors))]
    rows = rows[rows["verdict"].isin(list(SIGNS))] if len(rows) else rows
    if rows.empty:
        return ""
    counts = Counter(rows["verdict"])
    verbs = {"holds": "hold", "does not hold": "do not hold"}
    said = listed(f"{n} {verbs.get(word, word)}" for word in SIGNS if (n := counts[word]))
    marks = "".join(
        mark(row["id"], row["claim"], row["verdict"], anchors[row["id"]])
        for row in rows.to_dict("records")
    )
    heading = f"{counted(len(rows), 'claim')} judged: {said}."
    return (
        f'<nav class="verdicts" aria-label="Verdicts"><p>{html.escape(heading)}</p>'
        f"<ul>{marks}</ul></nav>"
    )


def mark(name: str, claim: str, verdict: str, anchor: str) -> str:
    kind = verdict.replace(" ", "-")
    said = html.escape(f"{claim}: {verdict}")
    return (
        f'<li><a class="{kind}" href="#{html.escape(anchor)}" title="{said}">'
        f'<span aria-hidden="true">{SIGNS[verdict]}</span> {html.escape(name)}'
        f'<span class="hidden"> {html.escape(verdict)}</span></a></li>'
    )
