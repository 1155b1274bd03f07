"""What the tables say, in words that the numbers choose.

Nothing here is decided in advance: a difference is called higher or lower only where the
Holm-adjusted p is below 0.05 and the 95 % interval excludes zero, and every other case has its
own wording, in report/sentences.yaml.
"""

from typing import Literal

import pandas as pd

from bnstudy import settings, statistics
from bnstudy.report.design import averaging, why_no_comparison
from bnstudy.report.measures import ALPHA, SPOKEN, Comparison, capitalized, counted, decimal, listed
from bnstudy.report.results import Level, Results
from bnstudy.report.words import say

CAUTION = "The runs shared the machine with one another, so take this as a rough figure."


def lost_arm(c: Comparison) -> str:
    """That one arm never reached the target where the other did, which leaves no ratio to speak of."""
    unreached = {c.with_level: c.censored_level, c.with_baseline: c.censored_baseline}
    arms = sorted(unreached, key=unreached.get, reverse=True)
    if c.of.kind != "ratio" or [unreached[arm] == c.runs for arm in arms] != [True, False]:
        return ""
    reached = c.runs - unreached[arms[1]]
    return say("brief", "lost", c=c, arm=arms[0], other=arms[1], reached=reached)


def brief(c: Comparison) -> str:
    """A comparison for the headline: the effect first, then one phrase of uncertainty."""
    kind = c.outcome
    if kind in ("higher", "lower"):
        kind = "ratio" if c.of.kind == "ratio" else "shown"
    few = f"{counted(c.n, 'seed')}, too few for an interval"
    few = "one pair of runs, so without an interval" if c.n == 1 else few
    ratio = "a ratio of " if c.of.kind == "ratio" else ""
    return lost_arm(c) or say("brief", kind, c=c, few=few, ratio=ratio)


def caveats(c: Comparison) -> list[str]:
    """Sentences that limit what a comparison can say."""
    sentences = []
    if c.outcome in ("unclear", "equal") and c.family * statistics.smallest_p(c.n) >= ALPHA:
        sentences.append(out_of_reach(c.n, c.family))
    elif c.outcome == "unclear" and (c.ci_low > 0 or c.ci_high < 0):
        sentences.append(say("limits", "interval alone"))
    unreached = {c.with_baseline: c.censored_baseline, c.with_level: c.censored_level}
    total = sum(unreached.values())
    if c.of.kind == "ratio" and total and c.outcome != "censored" and not lost_arm(c):
        arms = listed(f"{n} of {c.runs} runs {arm}" for arm, n in unreached.items() if n)
        way = "may be larger or smaller"
        if total in unreached.values():  # runs of one arm alone
            way = f"is {'smaller' if c.censored_baseline else 'larger'} still"
        words = {"arms": arms, "target": c.of.target, "total": total, "way": way}
        sentences.append(say("limits", "censored", **words))
    return sentences


def out_of_reach(n: int, family: int) -> str:
    """Why n seeds cannot show any difference in a family of tests."""
    smallest = statistics.smallest_p(n)
    corrected = min(1.0, family * smallest)
    after = say("limits", "corrected", corrected=corrected, family=family) if family > 1 else ""
    return say("limits", "out of reach", n=n, smallest=smallest, after=after)


def headline(results: Results, dataset: str) -> tuple[str, str]:
    """The answer on speed and on accuracy, and apart from it what limits it."""
    limits = divergence(results, dataset)
    if reason := why_no_comparison(results):
        return reason, " ".join(limits)
    found = {level: main_pair(results, dataset, level) for level in results.treatments}
    if all(len(pair) < 2 for pair in found.values()):
        return f"On {results.title(dataset)}, {incomplete(results)}.", ""
    notes = [note for pair in found.values() for c in pair for note in caveats(c)]
    begin = f"On {results.title(dataset)}, {averaging(results)}"
    baseline = results.level_name(results.baseline)
    first, *others = (
        f"{results.arm(level)} instead of {baseline}, {listed(map(brief, reversed(pair)))}."
        for level, pair in found.items()
        if pair
    )
    answer = " ".join([f"{begin[:-2]}: {first}", *map(capitalized, others)])
    return answer, " ".join(dict.fromkeys([*notes, *limits]))


def main_pair(results: Results, dataset: str, level: Level) -> list[Comparison]:
    """The comparisons of speed and of accuracy over all cells, as far as there are."""
    return results.comparisons(dataset, level, ("ln_steps_to_target", "test_accuracy"))


def incomplete(results: Results) -> str:
    """That no seed has all its runs yet."""
    every = listed(map(settings.label, results.cell_axes)) or "setting"
    return say("limits", "incomplete", every=every)


def divergence(results: Results, dataset: str) -> list[str]:
    """A sentence per arm in which runs diverged."""
    return [
        say(
            "limits", "diverged", diverged=diverged, arm=results.arm(level),
            runs=len(results.at(results.runs, dataset, level)), classes=results.facts[dataset].n_classes,
        )
        for level in results.levels
        if (diverged := results.diverged(dataset, level))
    ]  # fmt: skip


def parameter_cost(results: Results, dataset: str, level: Level) -> list[str]:
    """How many trainable parameters a level adds."""
    counts = [
        results.at(results.runs, dataset, one)["n_parameters"] for one in (results.baseline, level)
    ]
    if (
        any(count.empty for count in counts)
        or (added := counts[1].iloc[0] - counts[0].iloc[0]) <= 0
    ):
        return []
    plain = counts[0].iloc[0]
    share, name = decimal(100 * added / plain, 2), results.level_name(level)
    return [say("cost", "parameters", level=name, added=added, plain=plain, share=share)]


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
    shown = "worse" if low > 1 else "better" if high < 1 else None
    pairs = say("cost", "pairs", n=len(ratios), low=low, high=high)
    arms = {"arm": results.arm(level), "baseline": results.arm(results.baseline)}
    return shown, say("cost", shown or "neither", ratio=ratio, pairs=pairs, **arms)


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
        return [why_no_comparison(results) or f"{capitalized(incomplete(results))}."]
    groups = {kind: [c.of for c in found if c.shown == kind] for kind in ("better", "worse", None)}
    words = {"arm": results.arm(level), "level": results.level_name(level)}
    words |= {"dataset": results.title(dataset)}
    sentences = []
    for kind, measures in groups.items():
        words["measures"] = [of.title for of in measures]
        if measures and kind:
            were = "were" if len(measures) > 1 else measures[0].were
            sentences.append(say("conclusion", "found", were=were, kind=kind, **words))
        elif measures:
            which = "not shown" if sentences else "nothing shown"
            sentences.append(say("conclusion", which, **words))
    return sentences


def gap_sentence(c: Comparison) -> str:
    """How much wider the gap between validation and training loss is than the baseline's."""
    values = [decimal(mean, 4) for mean in (c.mean_level, c.mean_baseline)]
    words = {"c": c, "arms": f"{values[0]} against {values[1]} nats {c.with_baseline}"}
    words |= {"size": decimal(abs(c.difference), 4)}
    words |= {"wider": "wider" if c.difference > 0 else "narrower"}
    return say("gap", "single" if c.n < 2 else "shown" if c.shown else "unclear", **words)
