"""What the tables say, in words that the numbers choose.

Nothing here is decided in advance: a difference is called higher or lower only where the
Holm-adjusted p is below 0.05 and the 95 % interval excludes zero, and every other case has its
own wording.
"""

import math
from collections.abc import Sequence
from typing import Literal

import pandas as pd

from bnstudy import settings, statistics
from bnstudy.report.design import averaging, why_no_comparison
from bnstudy.report.measures import (
    ALPHA,
    SPACE,
    SPOKEN,
    Comparison,
    Metric,
    capitalized,
    counted,
    decimal,
    listed,
)
from bnstudy.report.results import Level, Results

INTERVAL = f"95{SPACE}% interval"
CAUTION = "The runs shared the machine with one another, so take this as a rough figure."
NO_COMPLETE_SEED = (
    "no seed has finished in both arms at every {} yet, so the averages cannot be compared"
)


def lost_arm(c: Comparison) -> str:
    """That one arm never reached the target where the other did, which leaves no ratio to speak of."""
    lost = (c.censored_level == c.runs, c.censored_baseline == c.runs)
    if c.of.kind != "ratio" or not c.runs or lost[0] == lost[1]:
        return ""
    arms = [(c.with_level, c.censored_level), (c.with_baseline, c.censored_baseline)]
    (name, _), (other, n) = arms if lost[0] else reversed(arms)
    return (
        f"none of {counted(c.runs, 'run')} {name} reached {c.of.target} validation accuracy, which "
        f"{c.runs - n} of {c.runs} did {other}"
    )


def factor(ln_ratio: float) -> str:
    """A ratio of steps in words: `45 % fewer steps`, `20 % more steps`, `3.0 times the steps`."""
    ratio = math.exp(ln_ratio)
    if ratio >= 2:
        return f"{ratio:.1f} times the steps"
    word = "fewer" if ratio < 1 else "more"
    return f"{abs(100 * (ratio - 1)):.0f}{SPACE}% {word} steps"


def with_unit(metric: Metric, written: str) -> str:
    return f"{written} {metric.unit}".rstrip()


def brief(c: Comparison) -> str:
    """A comparison for the headline: the effect first, then one phrase of uncertainty."""
    of, name = c.of, c.of.title
    ratio = of.kind == "ratio"
    if lost := lost_arm(c):
        return lost
    match c.outcome:
        case "missing":
            return f"{name} could not be compared"
        case "censored":
            return f"no run reached {of.target} validation accuracy"
        case "equal":
            return f"{name} {were([name])} the same in all {counted(c.n, 'seed')}"
        case "untested":
            values = f"{of.value(c.mean_level)} against {of.value(c.mean_baseline)}"
            few = (
                "one pair of runs, so without an interval"
                if c.n == 1
                else f"{counted(c.n, 'seed')}, too few for an interval"
            )
            return f"{name} {were([name])} {values} ({few})"
        case "unclear":
            kind = "a ratio of " if ratio else ""
            difference = with_unit(of, of.difference(c.difference))
            return (
                f"no difference in {name} could be shown ({kind}{difference}, {INTERVAL} "
                f"{c.interval})"
            )
    if ratio:
        return f"it took {factor(c.difference)} to {of.target} (ratio {c.interval})"
    size = with_unit(of, of.difference(abs(c.difference), signed=False))
    low, high = sorted(abs(end) for end in (c.ci_low, c.ci_high))
    ends = (of.difference(low, signed=False), of.difference(high, signed=False))
    return f"{name} was {size} {c.outcome} ({INTERVAL} {f'{SPACE}to{SPACE}'.join(ends)})"


def caveats(c: Comparison) -> list[str]:
    """Sentences that limit what a comparison can say."""
    sentences = []
    attainable = c.family * statistics.smallest_p(c.n) if c.n else 1.0
    if c.outcome in ("unclear", "equal") and attainable >= ALPHA:
        sentences.append(out_of_reach(c.n, c.family))
    elif c.outcome == "unclear" and (c.ci_low > 0 or c.ci_high < 0):
        sentences.append(
            "The interval by itself excludes zero, but the test corrected for the number of "
            "comparisons does not reject."
        )
    if c.of.kind == "ratio" and c.outcome != "censored" and not lost_arm(c):
        sentences += censoring(c)
    return sentences


def out_of_reach(n: int, family: int) -> str:
    """Why n seeds cannot show any difference in a family of tests."""
    smallest = statistics.smallest_p(n)
    corrected = min(1.0, family * smallest)
    after = (
        "" if family == 1 else f", and {corrected:.3g} after Holm's correction for {family} tests"
    )
    return (
        f"With {counted(n, 'seed')} the smallest p that the test can give is "
        f"{smallest:.3g}{after}; no difference, however large, could have been shown."
    )


def censoring(c: Comparison) -> list[str]:
    """How runs that never reached the target bend a ratio of steps."""
    if not c.censored_baseline + c.censored_level:
        return []
    parts = [
        f"{count} of {c.runs} runs {at}"
        for at, count in (
            (c.with_baseline, c.censored_baseline),
            (c.with_level, c.censored_level),
        )
        if count
    ]
    if not c.censored_level:
        consequence = "so the true ratio is smaller still"
    elif not c.censored_baseline:
        consequence = "so the true ratio is larger still"
    else:
        consequence = "so the true ratio may be larger or smaller"
    unreached = f"{capitalized(listed(parts))} never reached {c.of.target}"
    return [f"{unreached} and {all_steps(c.censored_baseline + c.censored_level)}, {consequence}."]


def all_steps(n: int) -> str:
    return "counts with all the steps it had" if n == 1 else "count with all the steps they had"


def headline(results: Results, dataset: str) -> tuple[str, str]:
    """The answer on speed and on accuracy, and apart from it what limits it."""
    if reason := why_no_comparison(results):
        return reason, " ".join(divergence(results, dataset))
    found = [
        (level, results.comparisons(dataset, level, ("ln_steps_to_target", "test_accuracy")))
        for level in results.treatments
    ]
    if all(len(pair) < 2 for _, pair in found):
        return f"On {results.title(dataset)}, {NO_COMPLETE_SEED.format(every(results))}.", ""
    notes = [note for _, pair in found for c in pair for note in caveats(c)]
    limits = dict.fromkeys([*notes, *divergence(results, dataset)])
    begin = f"On {results.title(dataset)}, {averaging(results)}"
    sentences = [
        f"{results.arm(level)} instead of {bare(results)}, {listed(map(brief, reversed(pair)))}."
        for level, pair in found
        if pair
    ]
    answer = " ".join([f"{begin[:-2]}: {sentences[0]}", *map(capitalized, sentences[1:])])
    return answer, " ".join(limits)


def bare(results: Results) -> str:
    """The baseline without its preposition, such as `no normalization`."""
    return results.level_name(results.baseline)


def every(results: Results) -> str:
    """What a seed must be complete in."""
    names = [settings.label(axis) for axis in results.cell_axes]
    return listed(names) or "setting"


def divergence(results: Results, dataset: str) -> list[str]:
    """A sentence per arm in which runs diverged."""
    sentences = []
    for level in results.levels:
        diverged = results.diverged(dataset, level)
        total = len(results.at(results.runs, dataset, level))
        if diverged:
            verb = "diverged and counts" if diverged == 1 else "diverged and count"
            sentences.append(
                f"{diverged} of the {counted(total, 'run')} {results.arm(level)} {verb} as "
                f"guessing: accuracy 1/{results.facts[dataset].n_classes}, the full number of "
                "steps."
            )
    return sentences


def parameter_cost(results: Results, dataset: str, level: Level) -> list[str]:
    """How many trainable parameters a level adds."""
    counts = [
        results.at(results.runs, dataset, one)["n_parameters"] for one in (results.baseline, level)
    ]
    if any(count.empty for count in counts):
        return []
    plain, changed = (int(count.iloc[0]) for count in counts)
    if changed <= plain:
        return []
    added = f"{changed - plain:,} trainable parameters to {plain:,}"
    share = decimal(100 * (changed / plain - 1), 2)
    return [f"{capitalized(results.level_name(level))} adds {added}, {share}{SPACE}% more."]


def time_cost(
    results: Results, dataset: str, level: Level
) -> tuple[Literal["better", "worse"] | None, str]:
    """Whether an epoch takes more or less time, by the middle half of the ratios of paired runs.

    The sentence is empty where no pair was timed.
    """
    ratios = epoch_time_ratios(results, dataset, level)
    if ratios.empty:
        return None, ""
    ratio, low, high = (ratios.quantile(q) for q in (0.5, 0.25, 0.75))
    pairs = f"median of {counted(len(ratios), 'pair')} of runs, middle half {low:.2f} to {high:.2f}"
    at_level, at_baseline = results.arm(level), results.arm(results.baseline)
    shown: Literal["better", "worse"] | None = None
    if low > 1:
        shown = "worse"
        finding = f"An epoch took {ratio:.2f} times as long {at_level} as {at_baseline}"
    elif high < 1:
        shown = "better"
        finding = f"An epoch took less time {at_level}: {ratio:.2f} times as long"
    else:
        finding = f"An epoch took about as long {at_level} as {at_baseline}: a ratio of {ratio:.2f}"
    return shown, f"{finding} ({pairs})."


def epoch_time_ratios(results: Results, dataset: str, level: Level) -> pd.Series:
    """Seconds per epoch over the baseline's, one ratio per cell and seed."""
    times = results.select(results.timings, dataset=dataset).set_index([*results.cell_axes, "seed"])
    changed, plain = (
        results.select(times, **{results.axis: one})["seconds_per_epoch"]
        for one in (level, results.baseline)
    )
    return (changed / plain).dropna()


def conclusion(results: Results, dataset: str, level: Level) -> list[str]:
    """The verdict over all measures: how many were shown better, worse, or neither."""
    found = results.comparisons(dataset, level, SPOKEN)
    if not found:
        reason = NO_COMPLETE_SEED.format(every(results))
        return [why_no_comparison(results) or f"{capitalized(reason)}."]
    groups: dict[str | None, list[str]] = {
        kind: [c.of.title for c in found if c.shown == kind] for kind in ("better", "worse", None)
    }
    sentences = [
        f"{capitalized(results.arm(level))}, {listed(groups[kind])} {were(groups[kind])} {kind}."
        for kind in ("better", "worse")
        if groups[kind]
    ]
    if groups[None]:
        begin = "No" if sentences else f"{capitalized(results.arm(level))}, no"
        sentences.append(f"{begin} difference could be shown in {listed(groups[None])}.")
    if not groups["better"] and not groups["worse"]:
        sentences.append(
            f"On this evidence nothing can be said for or against {results.level_name(level)} on "
            f"{results.title(dataset)}; that is not the same as showing that it does nothing."
        )
    return sentences


def were(items: Sequence[str]) -> str:
    return "were" if len(items) > 1 or items[0].startswith("steps") else "was"


def gap_sentence(c: Comparison) -> str:
    """How much wider the gap between validation and training loss is than the baseline's."""
    values = [decimal(mean, 4) for mean in (c.mean_level, c.mean_baseline)]
    arms = f"{values[0]} against {values[1]} nats {c.with_baseline}"
    name = f"the {c.of.title}"
    if c.n < 2:
        return f"{capitalized(name)} was {arms} (one pair of runs, so without an interval)."
    around = f"({INTERVAL} {c.interval}): {arms}"
    if c.shown:
        size = f"{decimal(abs(c.difference), 4)} nats {'wider' if c.difference > 0 else 'narrower'}"
        return f"{capitalized(name)} was {size} {c.with_level} {around}."
    return f"No difference in {name} could be shown {c.with_level} {around}."
