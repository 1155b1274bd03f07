"""The first screen: the finding as title, what it rests on in two sentences, tiles, and the verdicts.

All of it comes from the tables, for any treatment; of several levels it speaks of the most accurate.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from bnstudy import settings
from bnstudy.report.design import why_no_comparison
from bnstudy.report.findings import epoch_time_ratios, lost_arm, main_pair
from bnstudy.report.measures import SPACE, Comparison, capitalized, counted, decimal, listed
from bnstudy.report.results import Results
from bnstudy.report.tables import PARTS
from bnstudy.report.verdicts import SIGNS, tally
from bnstudy.report.words import say

# Ratios that have a name, up to a tenth of themselves.
SHARES = {1 / 2: "half", 1 / 3: "a third", 1 / 4: "a quarter", 1 / 5: "a fifth", 1 / 10: "a tenth"}
# What the conditions of `Results.remaining` are called; the last one that was run is the hardest.
HARDER = {
    ("input_scaling", "standardize"): "centred input",
    ("long_training", "symmetric"): "long training",
    ("long_training", "standardize"): "centred input and long training",
}
TIMES = f"\N{MULTIPLICATION SIGN}{SPACE}"


class Tile(NamedTuple):
    """A number, what it is, and what stands behind it."""

    value: str
    label: str
    detail: str = ""


class Opening(NamedTuple):
    """The first screen, for the page and for Jupyter."""

    kicker: str
    title: str
    sentences: str
    tiles: list[Tile]


def first_screen(results: Results, question: str) -> Opening:
    """What came out on the first dataset; a title that asks where nothing can be said."""
    dataset = results.datasets[0]
    found = [main_pair(results, dataset, level) for level in results.treatments]
    complete = [pair for pair in found if len(pair) == 2]
    if not complete:
        said = why_no_comparison(results) or say("opening", "incomplete")
        return Opening("", question, said, [])
    speed, accuracy = max(complete, key=lambda pair: pair[1].difference)
    left = {
        HARDER[key]: one.effects[1].difference
        for one in results.remaining(accuracy.level)
        if (key := (one.study, one.scaling)) in HARDER
    }
    words = {"dataset": results.title(dataset), "axis": settings.label(results.axis)}
    runs = len(results.select(results.runs, dataset=dataset))
    sentences = [say("opening", "setting", runs=runs, **words), certainty(speed, accuracy, left)]
    shown = list(tiles(results, speed, accuracy, left))
    return Opening(question, finding(results, speed, accuracy), " ".join(sentences), shown)


def points(share: float) -> str:
    return f"{decimal(100 * share, 2, signed=True)}{SPACE}points"


def finding(results: Results, speed: Comparison, accuracy: Comparison) -> str:
    """The title: what was shown of speed and of accuracy."""
    names = {
        "level": results.level_name(accuracy.level),
        "baseline": results.level_name(accuracy.baseline),
    }
    parts = []
    if speed.shown and not lost_arm(speed):
        parts.append(f"reaches {speed.of.target} in {share(speed)}")
    elif speed.shown == "better":
        parts.append(f"is the only one to reach {speed.of.target}")
    if accuracy.shown:
        size = abs(100 * accuracy.difference)
        word = "more" if accuracy.shown == "better" else "less"
        parts.append(f"ends {decimal(size, 1 if size >= 0.95 else 2)} points {word} accurate")
    if not parts:
        return say("opening", "one pair" if accuracy.n < 2 else "nothing shown", **names)
    several = len(results.treatments) > 1
    beside = f" than {names['baseline']}" if accuracy.shown and several else ""
    return f"{capitalized(names['level'])} {listed(parts)}{beside}"


def share(speed: Comparison) -> str:
    """`a quarter of the steps`, `45 % fewer steps`."""
    ratio = math.exp(speed.difference)
    named = [word for value, word in SHARES.items() if abs(ratio / value - 1) <= 0.1]
    return f"{named[0]} of the steps" if named else speed.factor


def certainty(speed: Comparison, accuracy: Comparison, left: Mapping[str, float]) -> str:
    """How sure it is, or of what it is made."""
    if left and accuracy.shown == "better":
        conditions, gain = list(left.items())[-1]
        rest = "most is gone" if gain < accuracy.difference / 2 else "much remains"
        return say("opening", rest, conditions=conditions)
    agreeing = min(max(c.seeds_in_favour, c.n - c.seeds_in_favour) for c in (speed, accuracy))
    kind = "all agree" if agreeing == accuracy.n else "some agree"
    return say("opening", "single" if accuracy.n < 2 else kind, n=accuracy.n, agreeing=agreeing)


def tiles(
    results: Results, speed: Comparison, accuracy: Comparison, left: Mapping[str, float]
) -> Iterator[Tile]:
    """Speed and accuracy with their intervals, the price in time and gap, and what remains."""

    def arms(c: Comparison) -> str:
        return c.values if math.isnan(c.ci_low) else f"{c.values} ({c.interval})"

    if speed.outcome not in ("missing", "censored") and not lost_arm(speed):
        value = f"{TIMES}{speed.of.difference(speed.difference)}"
        yield Tile(value, f"the steps to {speed.of.target} accuracy", arms(speed))
    if accuracy.outcome != "missing":
        label = f"of test accuracy after {counted(results.epochs, 'epoch')}"
        yield Tile(points(accuracy.difference), label, arms(accuracy))
    if len(ratios := epoch_time_ratios(results, accuracy.dataset, accuracy.level)):
        said = ""
        if gap := results.gap(accuracy.dataset, accuracy.level):
            after, before = (decimal(x, 3) for x in (gap.mean_level, gap.mean_baseline))
            said = f"gap to the training loss {after} against {before}{SPACE}nats"
        yield Tile(f"{TIMES}{decimal(ratios.median(), 2)}", "the time of an epoch", said)
    if left:  # the hardest conditions, with the others
        *others, (name, gain) = left.items()
        rest = "; ".join(f"{one}: {points(share)}" for one, share in others)
        yield Tile(points(gain), f"of test accuracy with {name}", rest)


def verdicts(rows: pd.DataFrame, anchors: Mapping[str, str]) -> str:
    """The claims of claims.csv that were judged, a mark each with its verdict; no text without any.

    The mark of a claim leads to its anchor.
    """
    found = rows[rows["id"].isin(list(anchors)) & rows["verdict"].isin(list(SIGNS))]
    if found.empty:
        return ""
    claims = found.assign(anchor=found["id"].map(anchors), sign=found["verdict"].map(SIGNS))
    return str(PARTS.verdicts(tally(found["verdict"]), claims.to_dict("records")))
