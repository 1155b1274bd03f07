"""What the axes beside the treatment do: to each arm, and to the effect of the treatment."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import pandas as pd

from bnstudy import settings, statistics
from bnstudy.report.findings import out_of_reach
from bnstudy.report.results import (
    ALPHA,
    Level,
    Metric,
    Results,
    arm,
    capitalized,
    listed,
    p_value,
    short_name,
)


@dataclass(frozen=True)
class Change:
    """How a metric changes along another axis than the treatment, paired by seed."""

    metric: Metric
    level: str  # of the treatment, in words: "with dropout 0.5"
    start: Level
    end: Level
    mean_start: float
    mean_end: float
    difference: float
    ci_low: float
    ci_high: float
    p_holm: float
    n: int

    @property
    def verb(self) -> str:
        """`rose` or `fell` where the test and the interval show it."""
        if self.n < 2 or math.isnan(self.p_holm):
            return "not tested"
        if self.p_holm < ALPHA and (self.ci_low > 0 or self.ci_high < 0):
            return "rose" if self.difference > 0 else "fell"
        return "not shown"


def steps_along(results: Results, axis: str) -> list[tuple[Level, Level]]:
    """What is compared along an axis: smallest and largest number, or the first word and the others."""
    values = results.values(axis)
    if all(isinstance(value, str) for value in values):
        return [(values[0], value) for value in values[1:]]
    numbers = sorted(value for value in values if not isinstance(value, str))
    return [(numbers[0], numbers[-1])] if len(numbers) > 1 else []


def along(
    results: Results, dataset: str, metric: str, axis: str, levels: Sequence[Level]
) -> dict[tuple[Level, Level], pd.Series]:
    """A metric by level of the treatment and value of an axis, per seed complete in all of it.

    The mean over the other axes.
    """
    wide = results.paired(results.scored(metric), dataset, "value", levels)
    place = 1 + results.cell_axes.index(axis)
    return {
        (level, value): wide[[c for c in wide.columns if (c[0], c[place]) == (level, value)]].mean(
            axis=1
        )
        for level, value in product(levels, results.values(axis))
    }


def changes(results: Results, dataset: str, axis: str) -> list[Change]:
    """The change of each metric along an axis in each arm; Holm's correction spans all of them."""
    if axis not in results.cell_axes:
        return []
    found, p_values = [], []
    for name, level in product(effect_metrics(results, dataset), results.levels):
        by = along(results, dataset, name, axis, [level])
        for start, end in steps_along(results, axis):
            before, then = by[level, start], by[level, end]
            if before.empty:
                continue
            s = statistics.paired_summary((then - before).to_numpy())
            means = statistics.mean(before), statistics.mean(then)
            numbers = (*means, s.mean, s.ci_low, s.ci_high, math.nan, s.n)
            metric = results.metric(name)
            found.append(Change(metric, results.arm(level), start, end, *numbers))
            p_values.append(s.p if s.n > 1 else math.nan)
    return [
        replace(change, p_holm=p)
        for change, p in zip(found, statistics.holm(p_values), strict=True)
    ]


def change_sentence(found: Sequence[Change], axis: str) -> str:
    """How a metric changes in several arms, of those that were shown; empty where none was."""
    parts = [
        f"{c.verb} from {c.metric.value(c.mean_start)} to {c.metric.value(c.mean_end)} {c.level}"
        for c in found
        if c.verb in ("rose", "fell")
    ]
    if not parts:
        return ""
    metric = found[0].metric
    name = f"the number of {metric.title}" if metric.kind == "ratio" else metric.title
    return f"From {span(axis, found[0])} {name} {listed(parts)}."


def span(axis: str, change: Change) -> str:
    """`batch size 32 to 64`, `no normalization to batch normalization`."""
    first = settings.level_name(axis, change.start)
    return f"{first} to {short_name(axis, change.end)}"


def contrasts(
    results: Results, dataset: str, axis: str, levels: Sequence[Level] | None = None
) -> Iterator[str]:
    """Whether the effect of each treatment, or of some, depends on another axis, by metric."""
    label = settings.label(axis)
    treatments = results.treatments if levels is None else levels
    for level, name in product(treatments, effect_metrics(results, dataset)):
        of = results.metric(name)
        by = along(results, dataset, name, axis, [level, results.baseline])
        effects = {v: by[level, v] - by[results.baseline, v] for v in results.values(axis)}
        for start, end in steps_along(results, axis):
            if effects[start].empty:
                continue
            s = statistics.paired_summary((effects[end] - effects[start]).to_numpy())
            subject = f"the effect of {results.level_name(level)} on {of.title}"
            first, last = (of.difference(statistics.mean(effects[v])) for v in (start, end))
            kind = "a ratio of " if of.kind == "ratio" else ""
            values = f"{kind}{first} {at(axis, start)} and {last} {of.unit}".rstrip()
            values += f" {at(axis, end)}"
            if s.n < 2:
                yield f"{capitalized(subject)} was {values} (one seed, so without a test)."
                continue
            numbers = f"{values} (unadjusted {p_value(s.p)})"
            if s.p < ALPHA and (s.ci_low > 0 or s.ci_high < 0):
                yield f"{capitalized(subject)} depends on the {label}: {numbers}."
            else:
                yield f"That {subject} depends on the {label} could not be shown: {numbers}."


def at(axis: str, value: Level) -> str:
    return arm(value, axis) if isinstance(value, str) else f"at {short_name(axis, value)}"


def effect_metrics(results: Results, dataset: str) -> tuple[str, ...]:
    """The measures in which the effect of another axis can be seen."""
    reached = results.select(results.runs, dataset=dataset)["steps_to_target"].notna().any()
    return ("test_accuracy", "test_loss", "ln_steps_to_target")[: 3 if reached else 2]


def axis_sentences(results: Results, dataset: str, axis: str, level: Level) -> list[str]:
    """What another axis does to a level, to the baseline, and to the difference between them."""
    label = settings.label(axis)
    if axis not in results.cell_axes:
        only = settings.level_name(axis, results.values(axis)[0])
        return [f"Only {only} was trained, so the effect of the {label} cannot be seen."]
    found = changes(results, dataset, axis)
    arms = (results.arm(results.baseline), results.arm(level))
    groups: dict[tuple, list[Change]] = {}
    for change in found:
        if change.level in arms:
            groups.setdefault((change.metric.name, change.start, change.end), []).append(change)
    told = [text for group in groups.values() if (text := change_sentence(group, axis))]
    n = len(results.seeds)
    if n > 1 and found and not told:
        spans = listed(dict.fromkeys(span(axis, c) for c in found))
        told = [f"No change from {spans} could be shown in either arm."]
        if len(found) * statistics.smallest_p(n) >= ALPHA:
            told.append(out_of_reach(n, len(found)))
    return [*told, *contrasts(results, dataset, axis, [level])]
